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

// files is how many files (descriptors) are open besides those of clients.
type files struct {
	loops   int // of all loops, which a loop cannot do without
	senders int // that UDP servers open when a send buffer is stuck, at most one each
	servers int // TCP servers of all loops
	health  int // addresses of the health endpoint
	driver  int // to have a network driver answer
}

// countFiles counts the files of a service that serves protocols, each at its
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
			f.loops += loops * (n + 1) // with a spare one
		case slices.ContainsFunc(p.Listen.Ports(), low.has):
			f.loops += loops * n * (1 + spareSenders)
		default:
			f.loops += loops * n
			f.senders += loops * n
		}
	}
	return f
}

// ownFiles is how many more are open while serving: two of Go's runtime, one that is
// read for metrics, one more for a listener of the health endpoint while it is opened,
// and the watch for the clock's steps. What confine opens is closed before.
const ownFiles = 5

// driverFiles is how many files it takes to have a driver answer: while the program
// is loaded, it and its maps; then it, its link and the monitor of the interface.
const driverFiles = 6

// least returns how many files serving takes, with one client at each TCP server and
// one probe.
func (f files) least() int {
	probes := min(1, f.health)
	return f.loops + f.servers + f.health + f.driver + probes + ownFiles
}

// check returns an error if the process may not open that many. Without it confine
// would end the process, in a build with cgo, and otherwise an endpoint would never be
// served. It opens them, and closes them again: the process may have inherited what it
// has open already.
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
			return fmt.Errorf("NOWD_POLLER=select watches %d files at most: with NOWD_LOOPS=%d nowd needs %d more than it has, and gets %d: %w", unix.FD_SETSIZE, c.Loops, f.least(), len(fds), err)
		case err != nil:
			return fmt.Errorf("the limit of open files (ulimit -n) is too low: nowd needs %d more than it has, and gets %d: %w", f.least(), len(fds), err)
		}
		fds = append(fds, fd)
	}
	return nil
}

// limitFiles has the kernel refuse files that select(2) could not watch, so that they
// run out as they do with any limit.
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

// otherFiles is how many files are set aside for all else: the standard streams, the
// files of ownFiles, the health listeners, the segment, and those that upstream
// opens.
const otherFiles = 24

// fitConnections returns NOWD_TCP_MAX_CONNS, or fewer where the process may not
// have that many files open: the health endpoint must not go without a descriptor
// because of clients.
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
	// A health connection more than there may be is open for the moment in which it
	// takes the place of another.
	fixed := f.loops + f.senders + health.MaxConns + 1 + otherFiles
	if fixed > most*3/4 {
		log.Warn("the limit of open files is so low that probes may find none left", "files", most, "needed", fixed)
	}
	free := max(most-fixed, most/4)
	conns := min(c.MaxConns, max(most, loops))
	protocols := f.servers / loops // each of which may have so many
	for protocols*conns+f.servers*tcp.MaxLingering(conns/loops) > free && conns > loops {
		conns--
	}
	if conns < c.MaxConns {
		log.Warn("fewer connections than NOWD_TCP_MAX_CONNS, since no more files may be open", "connections", conns, "files", most)
	}
	return conns
}
