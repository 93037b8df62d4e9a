package tcp

import (
	"testing"

	"golang.org/x/sys/unix"

	"nowd/socket"
)

// withhold makes the kernel drop segments with data that arrive at the client's socket.
// So the client acknowledges no answer.
func (c client) withhold() {
	c.t.Helper()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 12}, // the upper four bits are the header's length, in words
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

// TestUnacknowledgedAnswersAreCharged: each answer is a packet of its own, which uses far
// more of the kernel's memory than its length.
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
			eventually(t, "no answer was made", func() bool { return s.requests() == before })
		}
	}
	s.do(func() {
		for c := s.lists[idle].head; c != nil; c = c.next {
			in, out := socket.Memory(int(c.fd))
			if out < 2*page {
				t.Errorf("the kernel holds %d bytes for answers, too few for this test", out)
			}
			if c.kernel == 0 {
				t.Errorf("0 of %d bytes are charged", in+out)
			}
			if uncharged := in + out - int(c.kernel); uncharged > ConnMemory-IdleConnMemory {
				t.Errorf("only %d of %d bytes are charged", c.kernel, in+out)
			}
		}
	})
}

// requests is answers, from the test's goroutine.
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
	s.advance(acknowledgingTimeout) // WriteTimeout counts from this check on
	for passed := acknowledgingTimeout; passed < s.config.WriteTimeout; passed += acknowledgingTimeout {
		s.advance(acknowledgingTimeout)
	}
	if n := s.count(acknowledging); n != 1 {
		t.Fatal("the connection was closed before WriteTimeout")
	}
	s.advance(acknowledgingTimeout)
	if n := s.count(acknowledging); n != 0 {
		t.Error("the connection is still open after WriteTimeout")
	}
	eventually(t, "the reset was not counted", func() bool { return s.config.Counters.Stats().Stalled == 1 })
}

// TestUnacknowledgedAnswersOfHalfClosedClientsAreBounded: the kernel keeps answers for at
// most MaxLingering of these clients.
func TestUnacknowledgedAnswersOfHalfClosedClientsAreBounded(t *testing.T) {
	s := start(t, func(c *Config) { c.MaxConns = 8 })
	most := MaxLingering(8)
	for range most + 5 {
		s.halfCloseUnacknowledged(t)
		eventually(t, "the connection still serves", func() bool { return s.count(idle) == 0 })
	}
	s.await(t, acknowledging, most)
	eventually(t, "the other connections were not reset", func() bool { return s.config.Counters.Stats().Evicted == 5 })

	// A client that acknowledges gets its answers nevertheless.
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
