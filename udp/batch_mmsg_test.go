//go:build linux && !portable

package udp

import (
	"testing"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/guard"
	"nowd/reactor"
)

const batchAllocates, lengthsTold = false, true

// TestAnswersWaitForRoom uses a pair of local sockets, whose queues fill up as
// no loopback's do. They have no addresses, so the slots are given some.
func TestAnswersWaitForRoom(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	s := server(t, 3333)
	s.fd = fds[0]
	for i := range s.batch.names {
		s.batch.names[i] = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: 0xffff, Addr: [16]byte{15: 1}}
	}
	if err := s.loop.Add(s.fd, reactor.PollIn, s); err != nil {
		t.Fatal(err)
	}
	run(t, s.loop)
	const requests = 200
	sent, got := 0, 0
	var b [64]byte
	send := func() bool {
		_, err := unix.Write(fds[1], []byte("hi"))
		if err == nil {
			sent++
		}
		return err == nil
	}
	// Nothing is read until no more can be sent: the answers have filled one
	// queue, and the requests that wait for it the other.
	eventually(t, "the socket never filled", func() bool {
		for send() {
		}
		return s.Counters.Stats().Requests > 0 && sent > int(s.Counters.Stats().Answers[answer.DateTime])
	})
	eventually(t, "answers are missing", func() bool {
		for {
			n, err := unix.Read(fds[1], b[:])
			if err != nil {
				break
			}
			if got++; !isTime(string(b[:n])) {
				t.Fatalf("%q", b[:n])
			}
		}
		if sent < requests {
			send()
		}
		return sent >= requests && got == sent
	})
	if st := s.Counters.Stats(); st.SendErrors != 0 || st.ReceiveErrors != 0 || st.Drops != [guard.NumVerdicts]uint64{} {
		t.Errorf("%+v", st)
	}
}

// BenchmarkReadingToCall is what lies between the reading of the clock for as
// many answers as leave together and the system call that sends them.
func BenchmarkReadingToCall(b *testing.B) {
	s := server(b, 3333)
	for slot := range sendSize {
		s.batch.owed = append(s.batch.owed, debt{slot: slot})
		s.batch.in[slot].Len = uint32(copy(s.batch.requests[slot][:], "hi\n"))
	}
	for b.Loop() {
		if s.answer() != sendSize {
			b.Fatal("not all are answered")
		}
	}
}
