package service

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"nowd/config"
	"nowd/health"
	"nowd/socket"
	"nowd/tcp"
)

// files counts the file descriptors that a service needs besides those of its clients.
type files struct {
	loops   int // of all loops: pollers, wake-ups, sockets
	senders int // sockets that UDP servers open when a send buffer is stuck: at most one each
	servers int // number of TCP servers, of all loops
	health  int // listeners of the health endpoint
	driver  int // for NOWD_XDP
}

// countFiles counts the descriptors of a service that serves protocols, each at its
// addresses.
func countFiles(c *config.Config, protocols []config.Protocol, addrs [][]netip.AddrPort, low *lowPorts) (f files) {
	loops := int(c.Loops)
	f.loops = loops // the wake-ups
	if c.Poller != "poll" && c.Poller != "select" {
		f.loops += loops // epoll's
	}
	if c.XDP.Interface != "" {
		f.driver = driverFiles
	}
	for i, p := range protocols {
		n := len(addrs[i])
		switch {
		case p.Dialect == config.Health:
			f.health += n
		case p.Network == socket.TCP:
			f.servers += loops
			f.loops += loops * (n + 1) // 1 is the spare of tcp.Server
		case slices.ContainsFunc(p.Listen.Ports(), low.has):
			f.loops += loops * n * (1 + spareSenders)
		default:
			f.loops += loops * n
			f.senders += loops * n
		}
	}
	return f
}

// ownFiles counts the other descriptors that are open while nowd serves: two of Go's
// runtime, one file of /proc for the metrics, a second descriptor of a health listener
// while it is opened, and the watch for clock steps. Those of confine are closed before.
const ownFiles = 5

// driverFiles is an upper bound on the descriptors for NOWD_XDP: the program and its maps
// during loading; afterwards the program, its link and the monitor of the interface.
const driverFiles = 6

// least returns the number of descriptors that serving takes, with one client at each TCP
// server and one probe.
func (f files) least() int {
	probes := min(1, f.health)
	return f.loops + f.servers + f.health + f.driver + probes + ownFiles
}

// check returns an error if the process may not open that many files. Otherwise the
// process would fail later: confine would end it in a build with cgo, or an endpoint
// would never be served. check tries it out, since the process may have inherited open
// files: it opens sockets and closes them.
func (f files) check(c *config.Config) error {
	var fds []int
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	for len(fds) < f.least() {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		switch {
		case err != nil && c.Poller == "select":
			return fmt.Errorf("NOWD_POLLER=select can watch %d files at most: with NOWD_LOOPS=%d nowd has to open %d more, and can open %d: %w", unix.FD_SETSIZE, c.Loops, f.least(), len(fds), err)
		case err != nil:
			return fmt.Errorf("the limit of open files (ulimit -n) is too low: nowd has to open %d more, and can open %d: %w", f.least(), len(fds), err)
		}
		fds = append(fds, fd)
	}
	return nil
}

// limitFiles lowers the limit of open files to what select(2) can watch, if that is the
// poller. The kernel then refuses descriptors that select could not watch, with EMFILE.
func limitFiles(c *config.Config) error {
	if c.Poller != "select" {
		return nil
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	limit.Cur = min(limit.Cur, unix.FD_SETSIZE)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("setrlimit: %w", err)
	}
	return nil
}

// otherFiles is a reserve of descriptors for everything else: the standard streams,
// ownFiles, the health listeners, the segment, and the sockets of package upstream.
const otherFiles = 24

// fitConnections returns NOWD_TCP_MAX_CONNS, or fewer if the limit of open files is too
// low for it: clients must not take the descriptors of the health endpoint.
func (f files) fitConnections(c *config.Config, log *slog.Logger) int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		log.Warn("cannot read the limit of open files", "error", err)
		return c.MaxConns
	}
	if f.servers == 0 {
		return c.MaxConns
	}
	most := int(min(limit.Cur, 1<<30))
	loops := int(c.Loops)
	// The 1 is a health connection over the limit: it is open while another is evicted.
	fixed := f.loops + f.senders + health.MaxConns + 1 + otherFiles
	if fixed > most*3/4 {
		log.Warn("the limit of open files is low: probes may fail when clients use all files", "files", most, "needed", fixed)
	}
	free := max(most-fixed, most/4)
	conns := min(c.MaxConns, max(most, loops))
	protocols := f.servers / loops // over TCP: each may have conns connections
	for protocols*conns+f.servers*tcp.MaxLingering(conns/loops) > free && conns > loops {
		conns--
	}
	if conns < c.MaxConns {
		log.Warn("NOWD_TCP_MAX_CONNS reduced to fit the limit of open files", "connections", conns, "files", most)
	}
	return conns
}
