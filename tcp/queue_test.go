package tcp

import (
	"net"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestClientThatReconnectsAtOnceIsNotRefused: the closed connection is on another loop,
// which has not read its end of file yet.
func TestClientThatReconnectsAtOnceIsNotRefused(t *testing.T) {
	sources := NewSources(1)
	var loops []service
	for range 2 {
		loops = append(loops, start(t, func(c *Config) { c.Sources = sources }))
	}
	c := loops[0].from(t, "127.0.0.1")
	for i := range 20 {
		if !served(t, c) {
			t.Fatalf("not served after %d connections", i)
		}
		before, next := loops[i%2], loops[(i+1)%2]
		before.held(func() {
			_ = c.Close()
			c = next.from(t, "127.0.0.1")
			next.await(t, queued, 1)
		})
	}
	for _, s := range loops {
		if n := s.config.Counters.Stats().Refused; n != 0 {
			t.Errorf("%d connections were refused", n)
		}
	}
}

// TestWaitersAreGrantedInOrder: release grants the oldest waiter that has not withdrawn.
func TestWaitersAreGrantedInOrder(t *testing.T) {
	s := NewSources(2)
	for i, want := range []bool{true, true, false} {
		if s.acquire(1) != want {
			t.Fatalf("acquire %d: want %v", i, want)
		}
	}
	var granted []int
	var waiters []*waiter
	for i := range 2 {
		waiters = append(waiters, &waiter{source: 1, granted: func() { granted = append(granted, i) }})
		if !s.await(waiters[i]) {
			t.Fatalf("waiter %d was refused", i)
		}
	}
	if s.await(&waiter{source: 1}) {
		t.Error("more waiters than the limit")
	}
	s.release(1)
	if s.acquire(1) || !slices.Equal(granted, []int{0}) || s.withdraw(waiters[0]) {
		t.Errorf("granted %v, want [0]", granted)
	}
	if !s.withdraw(waiters[1]) {
		t.Error("waiter 1 does not wait")
	}
	s.release(1) // the second of the first two
	if !s.await(&waiter{source: 1, granted: func() { granted = append(granted, 2) }}) || !slices.Equal(granted, []int{0, 2}) {
		t.Errorf("granted %v, want [0 2]", granted)
	}
	s.release(1)
	s.release(1)
	if n := len(s.open) + len(s.waiting); n != 0 {
		t.Errorf("%d sources are still stored", n)
	}
}

// TestQueueIsBounded: if the queue is full, connections are refused at once. Lingering
// connections displace queued ones.
func TestQueueIsBounded(t *testing.T) {
	const limit = 20
	s := start(t, func(c *Config) { c.MaxConns, c.Sources = 2*limit, NewSources(limit) })
	bound := MaxLingering(2 * limit)
	var held []net.Conn
	for range limit {
		held = append(held, s.from(t, "127.0.0.1"))
	}
	s.await(t, asking, limit)
	for range bound {
		s.from(t, "127.0.0.1")
	}
	s.await(t, queued, bound)
	if more := s.from(t, "127.0.0.1"); served(t, more) {
		t.Error("a connection beyond the queue's bound was served")
	}
	s.await(t, queued, bound)
	for _, c := range held[:3] { // these linger after the answer
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	s.await(t, lingering, 3)
	s.await(t, queued, bound-3)
	eventually(t, "refusals were not counted", func() bool { return s.config.Counters.Stats().Refused == 4 })
	for _, c := range held { // queued connections take their places
		_ = c.Close()
	}
	s.await(t, asking, bound-3)
	if n := s.count(queued); n != 0 {
		t.Errorf("%d are still queued", n)
	}
}

func TestResetQueuedConnectionLeavesTheQueue(t *testing.T) {
	s := start(t, func(c *Config) { c.Sources = NewSources(1) })
	held := s.dial(t)
	s.await(t, asking, 1)
	second := s.dial(t)
	s.await(t, queued, 1)
	raw, err := second.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = second.Close()
	s.await(t, queued, 0)
	_ = held.Close()
	s.await(t, asking, 0)
	if c := s.from(t, "127.0.0.1"); !served(t, c) {
		t.Error("the next connection was not served")
	}
}

func TestShutdownRefusesQueuedConnections(t *testing.T) {
	s := start(t, func(c *Config) { c.Sources = NewSources(1) })
	held, second := s.dial(t), s.dial(t)
	s.await(t, queued, 1)
	drained := make(chan struct{})
	s.do(func() { s.Shutdown(func() { close(drained) }) })
	second.end()
	held.end()
	_ = held.Close()
	<-drained
}
