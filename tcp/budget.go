package tcp

import (
	"math/bits"

	"nowd/socket"
)

// What a process needs for its connections, in bytes: see MaxMemory.
const (
	// Budget is the memory that all servers of a process together may hold for
	// connections that are not idle: unfinished heads and lines, answers that clients
	// do not read, and requests that are not read yet.
	Budget = 8 << 20

	// IdleConnMemory is the memory of an idle connection: the kernel's structures
	// (about 2 kB) and nowd's (about 0.4 kB).
	IdleConnMemory = 2560

	// ConnMemory is the most memory of one connection that is charged to no budget. To
	// that of an idle one come a page that the kernel sets apart while the last answer
	// is under way, and what the client has sent since its socket was read last.
	ConnMemory = IdleConnMemory + page + socket.MaxInput

	// BaseMemory is the memory of a process without connections.
	BaseMemory = 12 << 20

	// minServerBudget lets a server of many serve a few clients that read slowly.
	minServerBudget = 256 << 10
)

// ServerBudget returns the share of Budget that each of so many servers gets.
func ServerBudget(servers int) int { return max(Budget/max(1, servers), minServerBudget) }

// MaxMemory is an upper bound on the memory in bytes that a process takes with
// maxConns connections of whatever behaviour, in each of its TCP protocols, on a
// number of loops. It includes what the kernel keeps for them.
func MaxMemory(maxConns, protocols, loops int) int {
	servers := protocols * loops
	conns := protocols*maxConns + servers*MaxLingering(maxConns/max(1, loops))
	return BaseMemory + conns*ConnMemory + servers*ServerBudget(servers)
}

const (
	// page is what the kernel sets apart for a socket at least, if there is anything
	// in its queues. It belongs to ConnMemory.
	page = 4 << 10

	// measureAfter is the number of bytes of answers after which a connection's
	// socket is measured again. So many fit into a page with what belongs to them.
	measureAfter = 2 << 10

	// leastWrite is the number of bytes that a write counts for at least. The kernel
	// takes about 860 bytes for the shortest, until the client acknowledges it. Eight
	// fit into ConnMemory, since nothing is unread while answers are written. To measure
	// after each four costs 1 % more CPU time per answer.
	leastWrite = measureAfter / 8

	// heapFactor is the memory that a byte on the heap costs: the garbage collector
	// lets it grow to twice what is used.
	heapFactor = 2

	// maxResets bounds the connections that are measured or reset at a time.
	maxResets = 8

	numClasses = 8
)

// charges are the connections for which a server holds memory, by how much: those
// of class n hold up to 512<<n bytes, those of the last one any number. In a class
// they are in the order of their last progress.
type charges struct {
	total   int
	classes [numClasses]struct {
		head, tail *conn
		sum        int
	}
}

// charge is a connection's part of the budget.
type charge struct {
	held       int32 // bytes that are charged; if not 0, the connection is in a class
	kernel     int32 // the kernel's part of them
	unmeasured int32 // bytes of answers since the socket was measured
	lower      *conn // in its class: made progress before
	upper      *conn // in its class: made progress afterwards
}

func classOf(held int32) int { return min(bits.Len32(uint32(held-1)>>9), numClasses-1) }

// add adds c, as the last to have made progress.
func (l *charges) add(c *conn) {
	k := &l.classes[classOf(c.held)]
	c.lower, c.upper = k.tail, nil
	if k.tail != nil {
		k.tail.upper = c
	} else {
		k.head = c
	}
	k.tail = c
	k.sum += int(c.held)
	l.total += int(c.held)
}

// remove removes c, which is in its class.
func (l *charges) remove(c *conn) {
	k := &l.classes[classOf(c.held)]
	if c.lower != nil {
		c.lower.upper = c.upper
	} else {
		k.head = c.upper
	}
	if c.upper != nil {
		c.upper.lower = c.lower
	} else {
		k.tail = c.lower
	}
	c.lower, c.upper = nil, nil
	k.sum -= int(c.held)
	l.total -= int(c.held)
}

// largest returns the connection that has made no progress for the longest time, of
// the class that holds the most.
func (l *charges) largest() *conn {
	most := &l.classes[0]
	for i := range l.classes {
		if l.classes[i].sum > most.sum {
			most = &l.classes[i]
		}
	}
	return most.head
}

// account charges c for what it holds now. progress says whether its client has got
// an answer, or a part of one. If that is over the budget, connections are reset,
// perhaps this one.
func (c *conn) account(progress bool) {
	if c.state == writing || c.kernel > 0 || c.unmeasured >= measureAfter {
		c.measure()
	}
	c.recount(progress)
	if s := c.server; s.charges.total > s.config.Budget && s.config.Budget > 0 {
		s.shrink()
	}
}

// measure asks for the kernel's part of what c holds.
func (c *conn) measure() {
	in, out := socket.Memory(int(c.fd))
	if c.state == writing { // nothing is read, so the client can fill the queue
		in = max(in, socket.MaxInput)
	}
	c.kernel, c.unmeasured = int32(max(0, in+out-page)), 0
}

// recount brings the charge for c up to date.
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

// shrink resets connections until the server is within its budget. One that holds
// less than was thought is spared.
func (s *Server) shrink() {
	for range maxResets {
		if s.charges.total <= s.config.Budget {
			return
		}
		c := s.charges.largest()
		before := c.kernel
		if c.measure(); c.kernel < before {
			c.recount(true)
			continue
		}
		c.reset(counterOverBudget)
	}
}
