//go:build linux

package udp

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"nowd/answer"
)

// onLoop runs f on the loop of s and waits for its end.
func onLoop(s *Server, f func()) {
	done := make(chan struct{})
	s.loop.Post(func() { defer close(done); f() })
	<-done
}

// TestReplacedSenderAnswersFromAddressAsked: replies from a replacement socket have the
// same source address. The replacement is closed once the server's own socket is
// writable.
func TestReplacedSenderAnswersFromAddressAsked(t *testing.T) {
	for _, c := range []struct{ listen, ask string }{
		{"0.0.0.0:0", "127.0.0.2"}, {"127.0.0.3:0", "127.0.0.3"}, {"[::]:0", "::1"}, {"[::1]:0", "::1"},
	} {
		if netip.MustParseAddrPort(c.listen).Addr().Is6() && !haveIPv6() {
			t.Logf("%s: no IPv6 here", c.listen)
			continue
		}
		at, s := start(t, c.listen)
		client := dial(t, netip.AddrPortFrom(netip.MustParseAddr(c.ask), at.Port()))
		for range 3 { // the second and the third replace a replacement
			replaced, sends := false, false
			onLoop(s, func() { replaced = s.replaceSender() })
			if got := ask(t, client, "hi"); !isTime(got) {
				t.Errorf("%v: %q", c, got)
			}
			onLoop(s, func() { sends = s.sendFD() != s.fd })
			if !replaced || !sends {
				t.Errorf("%v: replaced: %v, replacement sends: %v", c, replaced, sends)
			}
		}
		onLoop(s, s.returnIfDrained)
		if got := ask(t, client, "hi"); !isTime(got) {
			t.Errorf("%v: %q", c, got)
		}
		onLoop(s, func() {
			if s.sendFD() != s.fd {
				t.Errorf("%v: the server's own socket is writable and does not send", c)
			}
		})
		eventually(t, "answers or replacements were not counted", func() bool {
			st := s.config.Counters.Stats()
			return st.Answers[answer.DateTime] == 4 && st.SendErrors == 0 && st.Replacements == 3
		})
	}
}

// TestFullSocketIsReplaced: replies that have waited for stuckAfter leave from a
// replacement socket.
func TestFullSocketIsReplaced(t *testing.T) {
	at, s := start(t, "0.0.0.0:0")
	client := dial(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.Port()))
	onLoop(s, func() { s.awaitRoom(stuckAfter) })
	eventually(t, "the socket was not replaced", func() (replaced bool) {
		onLoop(s, func() { replaced = s.sender.fd >= 0 && !s.waiting() })
		return replaced
	})
	if got := ask(t, client, "hi"); !isTime(got) {
		t.Errorf("%q", got)
	}
	var fd int
	onLoop(s, func() { fd = s.sender.fd; s.Close() })
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
		t.Error("Close leaves the replacement open")
	}
}

// startWithPool is start with a pool of n sending sockets.
func startWithPool(t *testing.T, addr string, n int) (netip.AddrPort, *Server) {
	t.Helper()
	fd, at := openSocket(t, addr)
	made := server(t, at.Port())
	made.config.Senders = n
	s, err := Serve(made.loop, fd, made.config, func(why error) { t.Errorf("the socket failed: %v", why) })
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.loop)
	return at, s
}

// TestPoolIsUsedInTurn: the pool's sockets stay open until the server is closed.
func TestPoolIsUsedInTurn(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "[::]:0"} {
		host := "127.0.0.1"
		if netip.MustParseAddrPort(addr).Addr().Is6() {
			if host = "::1"; !haveIPv6() {
				continue
			}
		}
		at, s := startWithPool(t, addr, 3)
		client := dial(t, netip.AddrPortFrom(netip.MustParseAddr(host), at.Port()))
		var pool, used []int
		onLoop(s, func() { pool = slices.Clone(s.sender.pool) })
		for range 2 * len(pool) {
			onLoop(s, func() {
				if s.replaceSender() {
					used = append(used, s.sendFD())
				}
			})
			if got := ask(t, client, "hi"); !isTime(got) {
				t.Errorf("%s: %q", addr, got)
			}
		}
		if want := slices.Concat(pool, pool); len(pool) != 3 || !slices.Equal(used, want) {
			t.Errorf("%s: used %v, want %v", addr, used, want)
		}
		onLoop(s, s.returnIfDrained)
		onLoop(s, func() {
			if s.sendFD() != s.fd || !slices.Equal(s.sender.pool, pool) {
				t.Errorf("%s: socket %d sends, want %d; the pool is %v, want %v", addr, s.sendFD(), s.fd, s.sender.pool, pool)
			}
			s.Close()
		})
		for _, fd := range pool {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				t.Errorf("%s: Close leaves socket %d open", addr, fd)
			}
		}
		if n := s.config.Counters.c.Current(counterReplacements); n != 6 {
			t.Errorf("%s: %d replacements counted, want 6", addr, n)
		}
	}
}

// TestFullPoolIsRetried: the server skips full sockets. If all are full, the replies wait
// until one is writable.
func TestFullPoolIsRetried(t *testing.T) {
	at, s := startWithPool(t, "0.0.0.0:0", 2)
	client := dial(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.Port()))
	var pool []int
	var readers []int
	onLoop(s, func() {
		for i := range s.sender.pool { // a full pipe stands for a full socket
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
				t.Error(err)
				return
			}
			for err := error(nil); err == nil; _, err = unix.Write(p[1], make([]byte, 4096)) {
			}
			pool, readers = append(pool, s.sender.pool[i]), append(readers, p[0])
			s.sender.pool[i] = p[1]
		}
	})
	if len(readers) != 2 {
		t.FailNow()
	}
	onLoop(s, func() { s.awaitRoom(0) })
	// Every attempt fails.
	tries := func() (n int) {
		onLoop(s, func() {
			if !s.replaceSender() && s.waiting() && s.sender.fd < 0 {
				n++
			}
		})
		return n
	}
	eventually(t, "the replies do not wait", func() bool { return tries() == 1 })
	onLoop(s, func() { _ = unix.Close(s.sender.pool[1]); s.sender.pool[1] = pool[1] })
	eventually(t, "the writable socket is not used", func() (sends bool) {
		onLoop(s, func() { sends = s.sender.fd == pool[1] && !s.waiting() })
		return sends
	})
	if got := ask(t, client, "hi"); !isTime(got) {
		t.Errorf("%q", got)
	}
	_, _, _ = unix.Close(readers[0]), unix.Close(readers[1]), unix.Close(pool[0])
}
