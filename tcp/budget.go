package tcp

import (
	"math/bits"

	"nowd/socket"
)

// Memory of a process with connections, in bytes: see MaxMemory.
const (
	// Budget is the memory that all servers of a process together may hold for
	// connections that are not idle: partial heads and lines, unread answers, and
	// requests that the server has not read yet. More than 32 servers have more: see
	// ServerBudget.
	Budget = 8 << 20

	// IdleConnMemory is the memory of an idle connection: the kernel's structures
	// (about 2 kB) and nowd's (about 0.4 kB).
	IdleConnMemory = 2560

	// ConnMemory is the maximum memory of one connection that is not charged to a
	// budget: that of an idle one, a page that the kernel reserves while the last answer
	// is in flight, and unread input.
	ConnMemory = IdleConnMemory + page + socket.MaxInput

	// BaseMemory is the memory of a process without connections.
	BaseMemory = 12 << 20

	// minServerBudget is enough for a few slow readers. It applies to a process with many
	// servers.
	minServerBudget = 256 << 10
)

// ServerBudget returns the budget in bytes of each server, in a process with that many
// servers: an equal part of Budget, but at least 256 KiB.
func ServerBudget(servers int) int { return max(Budget/max(1, servers), minServerBudget) }

// MaxMemory returns an upper bound on the memory of a process in bytes, with the kernel's
// memory for its connections. maxConns is the connection cap of each protocol, protocols
// the number of protocols over TCP, and loops the number of loops. The bound holds whatever
// the clients do.
func MaxMemory(maxConns, protocols, loops int) int {
	servers := protocols * loops
	conns := protocols*maxConns + servers*MaxLingering(maxConns/max(1, loops))
	return BaseMemory + conns*ConnMemory + servers*ServerBudget(servers)
}

const (
	// page is the minimum that the kernel reserves for a socket with anything in its
	// queues. It is part of ConnMemory.
	page = 4 << 10

	// measureAfter is the number of bytes of answers after which a connection's socket
	// is measured again. That many fit into a page with their overhead.
	measureAfter = 2 << 10

	// leastWrite is the minimum number of bytes that a write counts for. The kernel
	// uses about 860 bytes for the shortest write until the client acknowledges it.
	// Eight of these fit into ConnMemory, since no input is unread while answers are
	// written. Measuring after every four instead costs 1 % more CPU time per answer.
	leastWrite = measureAfter / 8

	// heapFactor is the memory per byte on the heap: the garbage collector lets the heap
	// grow to twice the live data.
	heapFactor = 2

	// maxResets is the maximum number of connections that shrink measures or resets.
	maxResets = 8

	numClasses = 8
)

// charges holds the connections that have memory charged to a server, in classes by
// amount. Class n holds those with up to 512<<n bytes, and the last class all larger ones.
// A class is in the order of the connections' last progress.
type charges struct {
	total   int
	classes [numClasses]struct {
		head, tail *conn
		sum        int
	}
}

// charge is the memory charged for a connection.
type charge struct {
	held       int32 // bytes charged; if not 0, the connection is in a class
	kernel     int32 // the kernel's part of held
	unmeasured int32 // bytes of answers since the socket was measured
	before     *conn // predecessor in its class
	after      *conn // successor in its class
}

func classOf(held int32) int { return min(bits.Len32(uint32(held-1)>>9), numClasses-1) }

// add adds c to the end of its class.
func (l *charges) add(c *conn) {
	k := &l.classes[classOf(c.held)]
	c.before, c.after = k.tail, nil
	if k.tail != nil {
		k.tail.after = c
	} else {
		k.head = c
	}
	k.tail = c
	k.sum += int(c.held)
	l.total += int(c.held)
}

// remove removes c. It must be in its class.
func (l *charges) remove(c *conn) {
	k := &l.classes[classOf(c.held)]
	if c.before != nil {
		c.before.after = c.after
	} else {
		k.head = c.after
	}
	if c.after != nil {
		c.after.before = c.before
	} else {
		k.tail = c.before
	}
	c.before, c.after = nil, nil
	k.sum -= int(c.held)
	l.total -= int(c.held)
}

// stalest returns the connection that has made no progress for the longest time, in the
// class with the largest sum.
func (l *charges) stalest() *conn {
	most := &l.classes[0]
	for i := range l.classes {
		if l.classes[i].sum > most.sum {
			most = &l.classes[i]
		}
	}
	return most.head
}

// account charges c for the memory that it holds now. progress says whether its client
// has got an answer, or a part of one. If the server is over its budget, account resets
// connections, possibly c.
func (c *conn) account(progress bool) {
	if c.state == writing || c.kernel > 0 || c.unmeasured >= measureAfter {
		c.measure()
	}
	c.recount(progress)
	if s := c.server; s.charges.total > s.config.Budget && s.config.Budget > 0 {
		s.shrink()
	}
}

// measure updates the kernel's part of what c holds.
func (c *conn) measure() {
	in, out := socket.Memory(int(c.fd))
	if c.state == writing { // nothing is read, so the client can fill the queue
		in = max(in, socket.MaxInput)
	}
	c.kernel, c.unmeasured = int32(max(0, in+out-page)), 0
}

// recount updates the charge for c.
func (c *conn) recount(progress bool) {
	l := &c.server.charges
	held := int32(heapFactor*(cap(c.unparsed)+cap(c.unsent))) + c.kernel
	if c.held == held && !progress {
		return
	}
	if c.held > 0 && held > 0 && !progress && classOf(c.held) == classOf(held) {
		l.total += int(held - c.held)
		l.classes[classOf(held)].sum += int(held - c.held)
		c.held = held
		return
	}
	if c.held > 0 {
		l.remove(c)
	}
	if c.held = held; held > 0 {
		l.add(c)
	}
}

// shrink resets connections until the server is within its budget. It spares a connection
// that holds less than at its last measurement.
func (s *Server) shrink() {
	for range maxResets {
		if s.charges.total <= s.config.Budget {
			return
		}
		c := s.charges.stalest()
		before := c.kernel
		if c.measure(); c.kernel < before {
			c.recount(true)
			continue
		}
		c.reset(counterOverBudget)
	}
}
