//go:build linux

package udp

import (
	"net/netip"
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
			return st.Answers[answer.DateTime] == 4 && st.SendErrors == 0
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
