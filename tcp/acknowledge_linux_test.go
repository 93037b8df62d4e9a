package tcp

import (
	"testing"

	"golang.org/x/sys/unix"

	"nowd/socket"
)

// withhold has the kernel drop what arrives at a client's socket before TCP sees it,
// but for segments without data. So the client acknowledges no answer.
func (c client) withhold() {
	c.t.Helper()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 12}, // the header's length, in words, and four bits more
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0xf0},
		{Code: unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K, K: 2},
		{Code: unix.BPF_MISC | unix.BPF_TAX},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_LEN},
		{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_X, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
	}
	raw, err := c.SyscallConn()
	if err == nil {
		control := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
		})
		if err == nil {
			err = control
		}
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// TestUnacknowledgedAnswersAreCharged: each answer is a packet of its own, which takes
// far more of the kernel's memory than it is long.
func TestUnacknowledgedAnswersAreCharged(t *testing.T) {
	s := start(t, nil)
	for range 10 {
		c := s.dial(t)
		c.send("hi\n")
		c.line()
		before := s.requests()
		c.withhold()
		for range 9 { // as many as the first window holds
			c.send("hi\n")
			before++
			eventually(t, "no answer is made", func() bool { return s.requests() == before })
		}
	}
	s.do(func() {
		for c := s.lists[idle].head; c != nil; c = c.next {
			in, out := socket.Memory(int(c.fd))
			if out < 2*page {
				t.Errorf("the kernel holds %d bytes for answers; too few to show anything", out)
			}
			if c.kernel == 0 {
				t.Errorf("of %d bytes none is charged", in+out)
			}
			if uncharged := in + out - int(c.kernel); uncharged > ConnMemory-IdleConnMemory {
				t.Errorf("of %d bytes %d are charged", in+out, c.kernel)
			}
		}
	})
}

// requests returns the number of answers that the loop has counted.
func (s service) requests() (n uint64) {
	s.do(func() { n = s.answers() })
	return n
}

// halfCloseUnacknowledged opens a connection whose client has half-closed and
// acknowledges no answer.
func (s service) halfCloseUnacknowledged(t *testing.T) client {
	t.Helper()
	c := s.dial(t)
	c.send("hi\n")
	c.line()
	c.withhold()
	c.send("hi\n")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHalfClosedClientThatAcknowledgesNothingIsReset(t *testing.T) {
	s := start(t, nil)
	s.halfCloseUnacknowledged(t)
	s.await(t, acknowledging, 1)
	s.advance(acknowledgingTimeout) // from this look on the write time-out counts
	for passed := acknowledgingTimeout; passed < s.config.WriteTimeout; passed += acknowledgingTimeout {
		s.advance(acknowledgingTimeout)
	}
	if n := s.count(acknowledging); n != 1 {
		t.Fatal("it was closed before its time")
	}
	s.advance(acknowledgingTimeout)
	if n := s.count(acknowledging); n != 0 {
		t.Error("it is still open")
	}
	eventually(t, "it is not counted", func() bool { return s.config.Counters.Stats().Stalled == 1 })
}

// TestUnacknowledgedAnswersOfHalfClosedClientsAreBounded: the kernel keeps answers for
// no more of these clients than MaxLingering.
func TestUnacknowledgedAnswersOfHalfClosedClientsAreBounded(t *testing.T) {
	s := start(t, func(c *Config) { c.MaxConns = 8 })
	most := MaxLingering(8)
	for range most + 5 {
		s.halfCloseUnacknowledged(t)
		eventually(t, "it is not closed", func() bool { return s.count(idle) == 0 })
	}
	s.await(t, acknowledging, most)
	eventually(t, "the others are not reset", func() bool { return s.config.Counters.Stats().Evicted == 5 })

	// A client that acknowledges gets its answers however many do not.
	for range 3 {
		c := s.dial(t)
		c.send("hi\n")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := c.line(); !isTime(got) {
			t.Errorf("%q, want a time", got)
		}
		c.end()
	}
}
