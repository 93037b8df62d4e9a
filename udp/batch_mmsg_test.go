//go:build linux && !portable

package udp

import (
	"testing"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/guard"
	"nowd/reactor"
)

const batchAllocates, reportsLength = false, true

// startOnLocalSocket returns a server on one of a pair of local sockets, and the other
// socket. Unlike sockets on loopback, local ones have queues that fill up. They have no
// addresses, so the slots get one here.
func startOnLocalSocket(t *testing.T) (*Server, int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fds[1]) })
	s := server(t, 3333)
	s.fd = fds[0]
	for i := range s.batch.names {
		s.batch.names[i] = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: 0xffff, Addr: [16]byte{15: 1}}
	}
	if err := s.loop.Add(s.fd, reactor.PollIn, s); err != nil {
		t.Fatal(err)
	}
	run(t, s.loop)
	return s, fds[1]
}

func TestCloseCountsUnsentRepliesAsSendErrors(t *testing.T) {
	s, peer := startOnLocalSocket(t)
	pending := 0
	eventually(t, "the socket never filled", func() bool {
		for {
			if _, err := unix.Write(peer, []byte("hi")); err != nil {
				break
			}
		}
		s.loop.Post(func() {})
		st := s.config.Counters.Stats()
		return st.Requests > st.Answers[answer.DateTime]
	})
	closed := make(chan struct{})
	s.loop.Post(func() { pending = len(s.batch.pending); s.Close(); close(closed) })
	<-closed
	var st Stats
	eventually(t, "the unsent replies were not counted", func() bool {
		st = s.config.Counters.Stats()
		return st.SendErrors > 0
	})
	if pending == 0 || st.SendErrors != uint64(pending) || st.Requests != st.Answers[answer.DateTime]+st.SendErrors {
		t.Errorf("%d replies were pending; counters: %+v", pending, st)
	}
}

// TestFullSocketDelaysAnswers: while the send buffer is full, the server reads no
// requests. It loses no answer.
func TestFullSocketDelaysAnswers(t *testing.T) {
	s, peer := startOnLocalSocket(t)
	const requests = 200
	sent, got := 0, 0
	var b [64]byte
	send := func() bool {
		_, err := unix.Write(peer, []byte("hi"))
		if err == nil {
			sent++
		}
		return err == nil
	}
	// The client reads nothing until both queues are full: one of answers, and one of
	// requests that wait for them.
	eventually(t, "the socket never filled", func() bool {
		for send() {
		}
		return s.config.Counters.Stats().Requests > 0 && sent > int(s.config.Counters.Stats().Answers[answer.DateTime])
	})
	eventually(t, "not every request was answered", func() bool {
		for {
			n, err := unix.Read(peer, b[:])
			if err != nil {
				break
			}
			if got++; !isTime(string(b[:n])) {
				t.Fatalf("answer %q, want a time", b[:n])
			}
		}
		if sent < requests {
			send()
		}
		return sent >= requests && got == sent
	})
	if st := s.config.Counters.Stats(); st.SendErrors != 0 || st.ReceiveErrors != 0 || st.Drops != [guard.NumVerdicts]uint64{} || st.NoRequest+st.Untrusted != 0 {
		t.Errorf("unexpected errors or drops: %+v", st)
	}
}

// BenchmarkReadingToCall measures the time from reading the clock for an answer to the
// system call that sends it.
func BenchmarkReadingToCall(b *testing.B) {
	s := server(b, 3333)
	s.batch.in[0].Len = uint32(copy(s.batch.requests[0][:], "hi\n"))
	for b.Loop() {
		if _, outcome := s.append(s.batch.buffer[:0], pendingReply{}, s.config.Clock.Now()); outcome != answer.Answered(answer.DateTime) {
			b.Fatal("the datagram got no reply")
		}
	}
}
