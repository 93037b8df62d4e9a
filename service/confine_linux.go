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

// confine drops, for this process and for good, the rights that serving does not need:
//
//   - PR_SET_NO_NEW_PRIVS of prctl(2): executing a file gains no privileges;
//   - no capabilities, except CAP_NET_BIND_SERVICE while lowPorts needs it;
//   - Landlock (landlock(7)), if the kernel has it: no executing and no writing of files;
//     reading only of files that the metrics and the resolver need; listening only at
//     nowd's own TCP ports; connecting over TCP only to port 53, and only if a setting
//     has a name to resolve. confine logs what the kernel's Landlock cannot restrict.
//
// Call it after the segment of NOWD_CLOCKBOUND is opened and mapped.
func (s *Service) confine() error {
	return errors.Join(setNoNewPrivileges(), dropCapabilities(s.neededCapabilities()), s.restrict())
}

// setNoNewPrivileges sets PR_SET_NO_NEW_PRIVS for all threads.
func setNoNewPrivileges() error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("prctl PR_SET_NO_NEW_PRIVS: %w", errno)
	}
	return nil
}

// neededCapabilities returns the set of capabilities that opening the endpoints takes.
func (s *Service) neededCapabilities() uint64 {
	if s.low.pending > 0 {
		return 1 << unix.CAP_NET_BIND_SERVICE
	}
	return 0
}

// unprivilegedPorts returns the lowest port that a process without
// CAP_NET_BIND_SERVICE may bind to: ip_unprivileged_port_start of ip(7).
func unprivilegedPorts() uint16 {
	const byDefault = 1024
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return byDefault
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 16)
	if err != nil {
		return byDefault
	}
	return uint16(n)
}

// restrict restricts files and TCP ports by Landlock.
func (s *Service) restrict() error {
	abi, err := landlocksys.LandlockGetABIVersion()
	if err != nil {
		abi = 0
	}
	if lacking := unrestricted(abi); len(lacking) > 0 {
		s.log.Info("this kernel's Landlock cannot restrict everything", "version", abi, "unrestricted", strings.Join(lacking, ", "))
	}
	if abi < 1 {
		return nil
	}
	rules := []landlock.Rule{
		landlock.RODirs("/proc/self").IgnoreIfMissing(),
		landlock.ROFiles("/proc/stat").IgnoreIfMissing(),
	}
	if s.config.Upstream.HasName() || s.config.Peers.HasName() { // nowd resolves the names repeatedly
		rules = append(rules, landlock.RODirs("/etc", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager").IgnoreIfMissing(), landlock.ConnectTCP(53))
	}
	for _, port := range s.tcpPorts() {
		rules = append(rules, landlock.BindTCP(port))
	}
	// From version 6 on Landlock restricts signals. Some kernels then refuse the signals
	// that Go sends to its own threads.
	return landlock.V5.BestEffort().Restrict(rules...)
}

// unrestricted returns what a version of Landlock cannot restrict; version 0 is no
// Landlock.
func unrestricted(abi int) (lacking []string) {
	for _, since := range []struct {
		version int
		what    string
	}{
		{1, "files"}, {3, "truncation of files"}, {4, "TCP ports"}, {5, "ioctl on devices"},
	} {
		if abi < since.version {
			lacking = append(lacking, since.what)
		}
	}
	return lacking
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
