package cluster

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// TestConfinedProcessCanOnlyAsk runs itself in a child process: a process cannot regain what
// it has dropped.
func TestConfinedProcessCanOnlyAsk(t *testing.T) {
	if abi, err := landlocksys.LandlockGetABIVersion(); err != nil || abi < 4 {
		t.Skipf("this kernel's Landlock is of version %d, %v; 4 is needed", abi, err)
	}
	const child = "CONFINED_CHILD"
	if os.Getenv(child) != "" {
		tryWhatIsDropped(t)
		return
	}
	c := exec.Command(os.Args[0], "-test.run=^TestConfinedProcessCanOnlyAsk$", "-test.v")
	c.Env = append(os.Environ(), child+"="+t.TempDir())
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "all tried") {
		t.Errorf("%v\n%s", err, out)
	}
}

func tryWhatIsDropped(t *testing.T) {
	member, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &options{listen: served.Addr().String()}
	o.fetcher.targets = []target{{"127.0.0.1", uint16(member.Addr().(*net.TCPAddr).Port)}}
	if err := o.confine(); err != nil {
		t.Fatal(err)
	}
	connect := func(to net.Listener) error {
		conn, err := net.Dial("tcp", to.Addr().String())
		if err == nil {
			conn.Close()
		}
		return err
	}
	bindErr := func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		return unix.Bind(fd, &unix.SockaddrInet4{Port: 43334, Addr: [4]byte{127, 0, 0, 1}})
	}()
	_, statErr := os.ReadFile("/proc/stat")
	_, readErr := os.ReadFile("/usr/bin/env")
	_, hostsErr := os.ReadFile("/etc/hosts")
	for what, c := range map[string]struct {
		err     error
		allowed bool
	}{
		"connect to a member":        {connect(member), true},
		"connect to another port":    {connect(other), false},
		"listen":                     {bindErr, false},
		"read what its metrics have": {statErr, true},
		"read a file":                {readErr, false},
		"read what the resolver has": {hostsErr, true},
		"write a file":               {os.WriteFile(os.Getenv("CONFINED_CHILD")+"/x", nil, 0o600), false},
		"execute":                    {unix.Exec("/proc/self/exe", []string{"x"}, nil), false},
	} {
		if denied := errors.Is(c.err, unix.EACCES); denied == c.allowed {
			t.Errorf("%s: %v", what, c.err)
		}
	}
	t.Log("all tried")
}
