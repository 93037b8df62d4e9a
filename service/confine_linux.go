package service

import (
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"

	"nowd/socket"
)

// confine gives up, for this process and for good, what serving takes no more:
// to gain privileges by executing something (PR_SET_NO_NEW_PRIVS, prctl(2)), and,
// as far as the kernel has Landlock (landlock(7)), to execute, to write or open
// files but what metrics and the resolver read, to listen on TCP ports but our
// own, and to connect over TCP. Whoever takes nowd over can do little more than
// answer.
func (s *Service) confine() error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("prctl PR_SET_NO_NEW_PRIVS: %w", errno)
	}
	if abi, err := landlocksys.LandlockGetABIVersion(); err != nil || abi < 1 {
		s.log.Info("this kernel has no Landlock, so which files and ports this process may use is not restricted")
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

// tcpPorts returns the TCP ports at which nowd listens.
func (s *Service) tcpPorts() (ports []uint16) {
	for _, p := range s.protocols {
		if p.Network == socket.TCP {
			ports = append(ports, p.Listen.Port)
		}
	}
	return ports
}
