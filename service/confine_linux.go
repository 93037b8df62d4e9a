package service

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"

	"nowd/socket"
)

// confine gives up, for this process and for good, what serving takes no more:
//
//   - to gain privileges by executing a file: PR_SET_NO_NEW_PRIVS of prctl(2);
//   - all capabilities, but for the right to bind to low ports while lowPorts needs it;
//   - as far as the kernel has Landlock (landlock(7)), to execute files, to write any,
//     to read others than metrics and the resolver need, to listen at TCP ports but
//     nowd's own, and to connect over TCP. What is left out, it logs.
//
// The segment of NOWD_CLOCKBOUND is open and mapped already.
func (s *Service) confine() error {
	return errors.Join(forgoNewPrivileges(), dropCapabilities(s.neededCapabilities()), s.restrict())
}

// forgoNewPrivileges keeps the process, all threads included, from gaining privileges
// by executing a file.
func forgoNewPrivileges() error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("prctl PR_SET_NO_NEW_PRIVS: %w", errno)
	}
	return nil
}

// neededCapabilities returns the set of those that opening the endpoints takes.
func (s *Service) neededCapabilities() uint64 {
	if s.low.pending > 0 {
		return 1 << unix.CAP_NET_BIND_SERVICE
	}
	return 0
}

// unprivilegedPorts returns the lowest port that a process without
// CAP_NET_BIND_SERVICE may bind to: ip_unprivileged_port_start of ip(7).
func unprivilegedPorts() uint16 {
	const usual = 1024
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return usual
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 16)
	if err != nil {
		return usual
	}
	return uint16(n)
}

// restrict restricts files and TCP ports by Landlock.
func (s *Service) restrict() error {
	abi, err := landlocksys.LandlockGetABIVersion()
	if err != nil {
		abi = 0
	}
	if left := unrestricted(abi); len(left) > 0 {
		s.log.Info("this kernel's Landlock does not restrict everything that it could", "version", abi, "unrestricted", strings.Join(left, ", "))
	}
	if abi < 1 {
		return nil
	}
	rules := []landlock.Rule{
		landlock.RODirs("/proc/self").IgnoreIfMissing(),
		landlock.ROFiles("/proc/stat").IgnoreIfMissing(),
	}
	if s.config.Upstream.HasName() || s.config.Peers.HasName() { // the names are looked up again and again
		rules = append(rules, landlock.RODirs("/etc", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager").IgnoreIfMissing(), landlock.ConnectTCP(53))
	}
	for _, port := range s.tcpPorts() {
		rules = append(rules, landlock.BindTCP(port))
	}
	// Version 5 is the last one before signals are scoped: Go sends them to its
	// own threads, which some kernels then refuse.
	return landlock.V5.BestEffort().Restrict(rules...)
}

// unrestricted returns what restrict cannot restrict with Landlock of a version; 0 is
// none.
func unrestricted(abi int) (left []string) {
	for _, since := range []struct {
		version int
		what    string
	}{
		{1, "files"}, {3, "truncation of files"}, {4, "TCP ports"}, {5, "ioctl on devices"},
	} {
		if abi < since.version {
			left = append(left, since.what)
		}
	}
	return left
}

// tcpPorts returns the TCP ports at which nowd listens.
func (s *Service) tcpPorts() (ports []uint16) {
	for _, p := range s.protocols {
		if p.Network == socket.TCP {
			ports = append(ports, p.Listen.Ports()...)
		}
	}
	return ports
}
