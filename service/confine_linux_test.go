package service

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"nowd/config"
	"nowd/socket"
)

// TestConfinedProcessCanDoLittle runs itself in a child process: a process cannot regain
// what it has dropped.
func TestConfinedProcessCanDoLittle(t *testing.T) {
	if abi, err := landlocksys.LandlockGetABIVersion(); err != nil || abi < 4 {
		t.Skipf("this kernel's Landlock is of version %d, %v; 4 is needed", abi, err)
	}
	const child = "CONFINED_CHILD"
	if os.Getenv(child) != "" {
		tryWhatIsDropped(t)
		return
	}
	for _, setting := range []string{"", "upstream", "peers"} {
		c := exec.Command(os.Args[0], "-test.run=^TestConfinedProcessCanDoLittle$", "-test.v")
		c.Env = append(os.Environ(), child+"="+t.TempDir(), "CONFINED_NAME="+setting)
		if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "all tried") {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

func tryWhatIsDropped(t *testing.T) {
	c := &config.Config{TCP: config.Listen{{Port: 43333}}, Health: config.Listen{{Port: 48086}}}
	s := &Service{config: c, log: slog.Default(), low: new(lowPorts), protocols: []config.Protocol{
		{Network: socket.TCP, Listen: c.TCP}, {Network: socket.TCP, Listen: c.Health},
	}}
	switch os.Getenv("CONFINED_NAME") {
	case "upstream":
		c.Upstream = config.Servers{"time.example"}
	case "peers":
		c.Peers = config.Members{"nowd.example:123"}
	}
	if err := s.confine(); err != nil {
		t.Fatal(err)
	}
	bind := func(port int) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		return unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	}
	connect := func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		return unix.Connect(fd, &unix.SockaddrInet4{Port: 43333, Addr: [4]byte{127, 0, 0, 1}})
	}
	rawSocket := func() error {
		_, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP)
		return err
	}
	setClock := func() error {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
			t.Fatal(err)
		}
		return unix.ClockSettime(unix.CLOCK_REALTIME, &now)
	}
	_, readErr := os.ReadFile("/usr/bin/env")
	_, hostsErr := os.ReadFile("/etc/hosts")
	_, selfErr := os.ReadFile("/proc/self/stat")
	for what, c := range map[string]struct {
		err     error
		allowed bool
	}{
		"read a file":             {readErr, false},
		"read the hosts":          {hostsErr, os.Getenv("CONFINED_NAME") != ""},
		"write a file":            {os.WriteFile(os.Getenv("CONFINED_CHILD")+"/x", nil, 0o600), false},
		"execute":                 {unix.Exec("/proc/self/exe", []string{"x"}, nil), false},
		"trace another process":   {unix.PtraceAttach(os.Getppid()), false},
		"mount":                   {unix.Mount("none", "/mnt", "tmpfs", 0, ""), false},
		"see all datagrams":       {rawSocket(), false},
		"set the clock":           {setClock(), false},
		"listen on another port":  {bind(43334), false},
		"listen on a low port":    {bind(43), false},
		"connect":                 {connect(), false},
		"listen on our port":      {bind(43333), true},
		"listen for probes":       {bind(48086), true},
		"read about this process": {selfErr, true},
	} {
		if denied := errors.Is(c.err, unix.EACCES) || errors.Is(c.err, unix.EPERM); denied == c.allowed {
			t.Errorf("%s: %v", what, c.err)
		}
	}
	for _, thread := range threads(t) {
		for _, want := range []string{"NoNewPrivs:\t1\n", "CapInh:\t" + none, "CapPrm:\t" + none, "CapEff:\t" + none, "CapBnd:\t" + none, "CapAmb:\t" + none} {
			if !strings.Contains(thread, want) {
				t.Errorf("the status of a thread lacks %q:\n%s", want, thread)
			}
		}
	}
	t.Log("all tried")
}

// none is the empty set of capabilities.
const none = "0000000000000000\n"

// threads returns the status of each thread of this process: proc(5).
func threads(t *testing.T) (all []string) {
	t.Helper()
	names, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(names) == 0 {
		t.Fatal("no threads", err)
	}
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil { // otherwise the thread has ended
			all = append(all, string(b))
		}
	}
	return all
}

func TestWhatLandlockLacksIsNamed(t *testing.T) {
	for abi, want := range map[int]string{
		0: "files, truncation of files, TCP ports, ioctl on devices", 1: "truncation of files, TCP ports, ioctl on devices",
		2: "truncation of files, TCP ports, ioctl on devices", 3: "TCP ports, ioctl on devices", 4: "ioctl on devices", 5: "", 7: "",
	} {
		if got := strings.Join(unrestricted(abi), ", "); got != want {
			t.Errorf("version %d: %q, want %q", abi, got, want)
		}
	}
}
