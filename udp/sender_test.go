//go:build linux

package udp

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/socket"
)

// onLoop runs f on the loop of s and waits for its end.
func onLoop(s *Server, f func()) {
	done := make(chan struct{})
	s.loop.Post(func() { defer close(done); f() })
	<-done
}

// TestReplacedSenderAnswersFromAddressAsked: a fresh socket sends as the server's own
// one does, and is closed once that one has room.
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
		for range 3 { // the second and the third replace their predecessor
			replaced, sends := false, false
			onLoop(s, func() { replaced = s.replaceSender() })
			if got := ask(t, client, "hi"); !isTime(got) {
				t.Errorf("%v: %q", c, got)
			}
			onLoop(s, func() { sends = s.sendFD() != s.fd })
			if !replaced || !sends {
				t.Errorf("%v: replaced: %v, sends: %v", c, replaced, sends)
			}
		}
		onLoop(s, s.lookBack)
		if got := ask(t, client, "hi"); !isTime(got) {
			t.Errorf("%v: %q", c, got)
		}
		onLoop(s, func() {
			if s.sendFD() != s.fd {
				t.Errorf("%v: the server's own socket is writable and does not send", c)
			}
		})
		eventually(t, "an answer is missing", func() bool {
			st := s.config.Counters.Stats()
			return st.Answers[answer.DateTime] == 4 && st.SendErrors == 0 && st.Replacements == 3
		})
	}
}

// TestSocketWithoutRoomIsReplaced: replies that have waited for too long leave from a
// fresh socket.
func TestSocketWithoutRoomIsReplaced(t *testing.T) {
	at, s := start(t, "0.0.0.0:0")
	client := dial(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.Port()))
	onLoop(s, func() { s.awaitRoom(stuckAfter) })
	eventually(t, "it is not replaced", func() (replaced bool) {
		onLoop(s, func() { replaced = s.sender.fd >= 0 && !s.waiting() })
		return replaced
	})
	if got := ask(t, client, "hi"); !isTime(got) {
		t.Errorf("%q", got)
	}
	var fd int
	onLoop(s, func() { fd = s.sender.fd; s.Close() })
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
		t.Error("Close leaves the fresh socket open")
	}
}

// startWithPool serves like start, with n sockets to send from.
func startWithPool(t *testing.T, addr string, n int) (netip.AddrPort, *Server) {
	t.Helper()
	fds, err := socket.Open(socket.UDP, netip.MustParseAddrPort(addr), 1)
	if err != nil {
		t.Fatal(err)
	}
	at, err := socket.Addr(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	made := server(t, at.Port())
	made.config.Senders = n
	s, err := Serve(made.loop, fds[0], made.config, func(why error) { t.Errorf("the socket failed: %v", why) })
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.loop)
	return at, s
}

// TestPoolIsUsedInTurn: no socket is opened or closed before the server is closed.
func TestPoolIsUsedInTurn(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "[::]:0"} {
		ask1 := "127.0.0.1"
		if netip.MustParseAddrPort(addr).Addr().Is6() {
			if ask1 = "::1"; !haveIPv6() {
				continue
			}
		}
		at, s := startWithPool(t, addr, 3)
		client := dial(t, netip.AddrPortFrom(netip.MustParseAddr(ask1), at.Port()))
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
		onLoop(s, s.lookBack)
		onLoop(s, func() {
			if s.sendFD() != s.fd || !slices.Equal(s.sender.pool, pool) {
				t.Errorf("%s: socket %d sends, and the pool is %v", addr, s.sendFD(), s.sender.pool)
			}
			s.Close()
		})
		for _, fd := range pool {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				t.Errorf("%s: Close leaves socket %d open", addr, fd)
			}
		}
		if n := s.config.Counters.c.Current(counterReplacements); n != 6 {
			t.Errorf("%s: %d replacements are counted, want 6", addr, n)
		}
	}
}

// TestPoolWithoutRoomIsTriedAgain: a socket without room is passed over. If all are
// without, the replies wait, and leave when one has room.
func TestPoolWithoutRoomIsTriedAgain(t *testing.T) {
	at, s := startWithPool(t, "0.0.0.0:0", 2)
	client := dial(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), at.Port()))
	var pool []int
	var readers []int
	onLoop(s, func() {
		for i := range s.sender.pool { // a full pipe has no room either
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
	// It finds no room, again and again.
	tries := func() (n int) {
		onLoop(s, func() {
			if !s.replaceSender() && s.waiting() && s.sender.fd < 0 {
				n++
			}
		})
		return n
	}
	eventually(t, "it does not wait", func() bool { return tries() == 1 })
	onLoop(s, func() { _ = unix.Close(s.sender.pool[1]); s.sender.pool[1] = pool[1] })
	eventually(t, "it does not find the socket that has room", func() (sends bool) {
		onLoop(s, func() { sends = s.sender.fd == pool[1] && !s.waiting() })
		return sends
	})
	if got := ask(t, client, "hi"); !isTime(got) {
		t.Errorf("%q", got)
	}
	_, _, _ = unix.Close(readers[0]), unix.Close(readers[1]), unix.Close(pool[0])
}
