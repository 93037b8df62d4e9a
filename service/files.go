package service

import (
	"fmt"
	"log/slog"

	"golang.org/x/sys/unix"

	"nowd/config"
	"nowd/health"
	"nowd/socket"
	"nowd/tcp"
)

// otherFiles is how many descriptors are for all else: the standard streams, those
// of Go's runtime, the health listeners, the clock's timer, and files that are read.
const otherFiles = 24

// fitConnections returns NOWD_TCP_MAX_CONNS, or fewer where the process may not
// have that many files open: the health endpoint must not go without a descriptor
// because of clients.
func fitConnections(c *config.Config, protocols []config.Protocol, log *slog.Logger) int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		log.Warn("the limit of open files is not known", "error", err)
		return c.MaxConns
	}
	files := int(min(limit.Cur, 1<<30))
	if c.Poller == "select" {
		files = min(files, unix.FD_SETSIZE)
	}
	ofLoops, servers := loopFiles(c, protocols)
	if servers == 0 {
		return c.MaxConns
	}
	loops := int(c.Loops)
	// A health connection more than there may be is open for the moment in which it
	// takes the place of another.
	fixed := ofLoops + health.MaxConns + 1 + otherFiles
	if fixed > files*3/4 {
		log.Warn("the limit of open files is so low that probes may find none left", "files", files, "needed", fixed)
	}
	free := max(files-fixed, files/4)
	conns := min(c.MaxConns, max(files, loops))
	for conns+servers*loops*tcp.MaxLingering(conns/loops) > free && conns > loops {
		conns--
	}
	if conns < c.MaxConns {
		log.Warn("fewer connections than NOWD_TCP_MAX_CONNS, since no more files may be open", "connections", conns, "files", files)
	}
	return conns
}

// loopFiles returns how many files the loops have open without any connection,
// and how many TCP servers each of them has.
func loopFiles(c *config.Config, protocols []config.Protocol) (files, servers int) {
	sockets := 0
	for _, p := range protocols {
		if p.Dialect == config.Health {
			continue
		}
		if p.Network == socket.TCP {
			servers++
		}
		if sockets++; p.Listen.Host == "" {
			sockets++ // of IPv6
		}
	}
	// Each loop has its poller, its wake-up, its sockets, and for each TCP server
	// one in reserve.
	return int(c.Loops) * (3 + sockets + servers), servers
}

// leastFiles is how many files serving takes besides those of the loops: the
// health endpoint's two sockets and one while they are opened, a probe, a client,
// and what is read for metrics. What confine opens is closed before.
const leastFiles = 6

// driverFiles is how many files it takes to have a driver answer: while the program
// is loaded, it and its maps; then it, its link and what tells of changes.
const driverFiles = 6

// CheckFiles returns an error if the process may not open the files that serving
// takes. Without it confine would end the process, in a build with cgo, and
// otherwise an endpoint would never be served.
func CheckFiles(c *config.Config) error {
	needed, _ := loopFiles(c, c.Protocols())
	needed += leastFiles
	if c.XDP.Interface != "" {
		needed += driverFiles
	}
	var fds []int
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	for len(fds) < needed {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		if err != nil {
			return fmt.Errorf("the limit of open files (ulimit -n) is too low: nowd needs %d more than it has, and gets %d: %w", needed, len(fds), err)
		}
		fds = append(fds, fd)
	}
	return nil
}
