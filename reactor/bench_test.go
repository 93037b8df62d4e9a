package reactor

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkRequest measures a turn that reads a request and answers it,
// including the cost of the sockets.
func BenchmarkRequest(b *testing.B) {
	for _, name := range Pollers() {
		b.Run(name, func(b *testing.B) {
			l := newLoop(b, name)
			server, client := pair(b)
			add(b, l, server, PollIn, &answerer{t: b, l: l})
			req, ans := []byte("?"), make([]byte, 16)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := unix.Write(client, req); err != nil {
					b.Fatal(err)
				}
				if err := l.turn(); err != nil {
					b.Fatal(err)
				}
				if _, err := unix.Read(client, ans); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkModify measures a change of interest to PollOut and back, by the
// descriptor's own handler while it runs.
func BenchmarkModify(b *testing.B) {
	l := newLoop(b, "auto")
	fd, _ := pair(b)
	add(b, l, fd, PollIn, &recorder{})
	l.current = event{fd: int32(fd), generation: l.registrations[fd].generation}
	b.ReportAllocs()
	for b.Loop() {
		_ = l.Modify(fd, PollOut)
		_ = l.Modify(fd, PollIn)
	}
}

// BenchmarkTimer measures Reset of one timer among a thousand.
func BenchmarkTimer(b *testing.B) {
	l := newLoop(b, "auto")
	for i := range 1000 {
		l.After(time.Duration(i)*time.Hour, func() {})
	}
	t := l.After(time.Hour, func() {})
	b.ReportAllocs()
	for b.Loop() {
		t.Reset(30 * time.Minute)
	}
}
