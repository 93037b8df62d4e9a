//go:build linux

package faults_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAttackersAtTheCapDisplaceNoClientThatAsks: 220 attackers compete for the 200 places: idle ones, ones with heads and
// with lines that never end, and ones that read slowly. Of new clients that ask 30 ms after they connect, 99 % are
// answered within a second. nowd closes no client that stays and asks every other second.
func TestAttackersAtTheCapDisplaceNoClientThatAsks(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than 10 s")
	}
	const places, attackers, stay, lasting = 200, 220, 10, 3 * time.Second
	n := start(t, here(), fmt.Sprintf("NOWD_TCP_MAX_CONNS=%d", places))
	run := func(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
		eventually(t, patience, func() error { // the clients that stay connect first
			if open := n.metrics(t)["nowd_connections_open"]; open < stay {
				return fmt.Errorf("%v of %d honest clients have connected", open, stay)
			}
			return nil
		})
		crowd(n.port, attackers, stop, &y.cost)
	}
	f := fault{name: "220 attackers for 200 places", run: run, least: map[string]float64{"new": 0.99}, questions: []question{
		{Kind: "udp"},
		{Kind: "tcp", Askers: stay, Every: 2 * time.Second},
		{Kind: "new", Askers: 8, Every: 400 * time.Millisecond, Hesitation: 30 * time.Millisecond},
	}}
	for _, o := range together(withstand(t, n, lasting, f)) {
		if o.Kind == "new" && o.P99 > time.Second && o.Tries >= minAnswers {
			t.Errorf("99 %% of new clients are answered within %v, want at most a second", o.P99)
		}
	}
}

// crowd has attackers take places until stop is closed, and take new ones when nowd closes theirs. One in four is idle. The
// others send or read very little every 50 ms, so that they are not idle.
func crowd(port, attackers int, stop <-chan struct{}, e *expense) {
	const tick, turns = 10 * time.Millisecond, 5
	flood := bytes.Repeat([]byte("json\n"), 200)
	sends := [][]byte{nil, []byte("GET / HTTP/1.1\r\nX: "), []byte("\nx"), flood}
	reads := []int{4096, 4096, 4096, 16}
	connect := func() int {
		fd, _ := hostile{buffer: 2048}.connect(port, e) // -1 marks a connection that has ended
		return fd
	}
	fds := make([]int, attackers)
	for i := range fds {
		fds[i] = connect()
	}
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	e.held.Store(int64(attackers))
	for now := 0; !closed(stop); now++ {
		for i, fd := range fds {
			kind := i % len(sends)
			if ended(fd, reads[kind]) {
				_ = unix.Close(fd)
				fds[i] = connect()
			}
			if sends[kind] != nil && (now+i)%turns == 0 {
				m, _ := unix.Write(fds[i], sends[kind])
				e.bytes.Add(int64(max(0, m)))
			}
		}
		time.Sleep(tick)
	}
}

// ended reads at most n bytes and reports whether nowd has closed a connection.
func ended(fd, n int) bool {
	got, err := unix.Read(fd, make([]byte, n))
	return got == 0 && err == nil || err != nil && !errors.Is(err, unix.EAGAIN)
}
