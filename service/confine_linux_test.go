package service

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"nowd/config"
	"nowd/socket"
)

// TestConfinedProcessCanDoLittle has another process try, for what is given up
// cannot be had back.
func TestConfinedProcessCanDoLittle(t *testing.T) {
	if abi, err := landlocksys.LandlockGetABIVersion(); err != nil || abi < 4 {
		t.Skipf("this kernel's Landlock is of version %d, %v; 4 is needed", abi, err)
	}
	const child = "CONFINED_CHILD"
	if os.Getenv(child) != "" {
		tryWhatIsGivenUp(t)
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

func tryWhatIsGivenUp(t *testing.T) {
	c := &config.Config{TCP: config.Listen{Port: 43333}, Health: config.Listen{Port: 48086}}
	s := &Service{config: c, log: slog.Default(), protocols: []config.Protocol{
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
		"listen on another port":  {bind(43334), false},
		"connect":                 {connect(), false},
		"listen on our port":      {bind(43333), true},
		"listen for probes":       {bind(48086), true},
		"read about this process": {selfErr, true},
	} {
		if denied := errors.Is(c.err, unix.EACCES); denied == c.allowed {
			t.Errorf("%s: %v", what, c.err)
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil || !strings.Contains(string(status), "NoNewPrivs:\t1\n") {
		t.Errorf("privileges can be gained: %v", err)
	}
	t.Log("all tried")
}
