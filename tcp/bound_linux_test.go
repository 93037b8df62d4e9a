package tcp

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/reactor"
)

// maxRun is the maximum CPU time of one event.
const maxRun = time.Millisecond

// threadTime returns the CPU time of the calling thread.
func threadTime(t *testing.T) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		t.Error(err)
	}
	return time.Duration(now.Nano())
}

// wantBoundedRuns checks the median, since a thread's CPU time includes interrupts.
func wantBoundedRuns(t *testing.T, what string, runs []time.Duration) {
	t.Helper()
	slices.Sort(runs)
	if median := runs[len(runs)/2]; median > maxRun {
		t.Errorf("%s: median CPU time %v, want at most %v", what, median, maxRun)
	} else {
		t.Logf("%s: CPU time of %d events: median %v, maximum %v", what, len(runs), median, runs[len(runs)-1])
	}
}

// TestEventOfAConnectionIsBounded: the client has sent more than readSize bytes, and reads
// its answers, so that the send buffer is never full.
func TestEventOfAConnectionIsBounded(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector uses CPU time")
	}
	for name, request := range map[string]string{"empty lines": "\n", "json": "json\n", "HTTP": "GET / HTTP/1.1\r\n\r\n"} {
		s := start(t, nil)
		var runs []time.Duration
		for range 40 {
			c := s.dial(t)
			reading := make(chan struct{})
			s.await(t, asking, 1)
			s.held(func() {
				c.send(strings.Repeat(request, 2*readSize/len(request)))
				s.lists[asking].head.awaitUnread(t, 2*readSize/len(request)*len(request))
				conn := s.lists[asking].head
				s.loop.Post(func() {
					began := threadTime(t)
					conn.Ready(int(conn.fd), reactor.PollIn)
					conn.Ready(int(conn.fd), reactor.PollOut)
					runs = append(runs, threadTime(t)-began)
				})
			})
			go func() {
				defer close(reading)
				for b := make([]byte, 64<<10); ; {
					if _, err := c.TCPConn.Read(b); err != nil {
						return
					}
				}
			}()
			s.do(func() {})
			_ = c.Close()
			<-reading
			s.awaitClosed(t)
		}
		wantBoundedRuns(t, name, runs)
	}
}

// TestEventOfAListenerIsBounded: the server is at the cap, and each connection that it
// could evict has just sent readSize requests.
func TestEventOfAListenerIsBounded(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector uses CPU time")
	}
	const conns = 64
	var runs []time.Duration
	for range 20 {
		s := start(t, func(c *Config) { c.MaxConns = conns })
		var cs []client
		for range conns {
			c := s.dial(t)
			c.send("hi\n")
			c.line()
			cs = append(cs, c)
		}
		s.advance(2 * answeredGrace)
		s.held(func() {
			for _, c := range cs {
				c.send(strings.Repeat("\n", readSize))
			}
			for c := s.lists[idle].head; c != nil; c = c.next {
				c.awaitUnread(t, readSize)
			}
			for range conns {
				s.dial(t)
			}
			s.loop.Post(func() {
				for fd, l := range s.listeners {
					began := threadTime(t)
					l.Ready(fd, reactor.PollIn)
					runs = append(runs, threadTime(t)-began)
				}
			})
		})
		s.do(func() {})
		for _, c := range cs {
			_ = c.Close()
		}
	}
	wantBoundedRuns(t, "accepting", runs)
}
