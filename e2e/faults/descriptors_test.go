//go:build linux

package faults_test

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manyConnections is more than the number of free descriptors.
const manyConnections = 300

// Without descriptors nowd cannot serve new connections. It serves the open ones, and datagrams. With descriptors again it
// serves all.
func TestShortageOfDescriptorsIsWaitedOut(t *testing.T) {
	n := start(t, here())
	health := ""
	run := func(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
		// The honest client must connect first.
		eventually(t, patience, func() error {
			if n.metrics(t)["nowd_connections_open"] == 0 {
				return fmt.Errorf("no honest client has connected")
			}
			return nil
		})
		limit := descriptors(t, n.pid()) + 20
		was := limitDescriptors(t, n, uint64(limit))
		defer func() { limitDescriptors(t, n, was) }()
		defer connectMany(t, n, y)()
		eventually(t, patience, func() error {
			if got := descriptors(t, n.pid()); got < limit {
				return fmt.Errorf("nowd has %d descriptors of %d", got, limit)
			}
			return nil
		})
		health = n.live()
		<-stop
	}
	examine(t, n, "no descriptors left", brief, fault{run: run, questions: []question{{Kind: "udp"}, {Kind: "tcp"}}})
	remark("/live meanwhile: " + health)
	checkRecovery(t, n)
}

// With a low limit of open files from the start, nowd reserves some for itself.
func TestLowLimitOfDescriptorsLeavesRoomForHealth(t *testing.T) {
	n := startAs(t, here(), exec.Command("sh", "-c", `ulimit -n 64 && exec "$0"`, program))
	health := ""
	run := func(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
		defer connectMany(t, n, y)()
		health = n.live()
		<-stop
	}
	// nowd evicts connections to make room, as at the cap.
	examine(t, n, "few descriptors", brief, fault{run: run, questions: []question{{Kind: "udp"}}})
	if health != "answers" {
		t.Errorf("/live: %s", health)
	}
	checkRecovery(t, n)
}

// limitDescriptors sets a running nowd's limit of descriptors, and returns the previous one: prlimit(2).
func limitDescriptors(t *testing.T, n *nowd, limit uint64) (was uint64) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Prlimit(n.pid(), unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(n.pid(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: old.Max}, nil); err != nil {
		t.Fatal(err)
	}
	return old.Cur
}

// connectMany opens connections that ask once, and returns a function that closes them.
func connectMany(t *testing.T, n *nowd, y *tally) (hangUp func()) {
	t.Helper()
	var open []net.Conn
	for i := range manyConnections {
		conn, err := dialFrom(n, "tcp", fmt.Sprintf("127.0.8.%d", 1+i%200))
		if err != nil {
			t.Errorf("connection %d: %v", i, err) // the kernel's accept queue has room
			break
		}
		_, _ = io.WriteString(conn, "unixns\n")
		open = append(open, conn)
		y.done.Add(1)
	}
	return func() {
		for _, conn := range open {
			conn.Close()
		}
	}
}

// live reports in words whether the health endpoint answers.
func (n *nowd) live() string {
	if _, err := n.get("/live", time.Second); err != nil {
		return "no answer"
	}
	return "answers"
}

func checkRecovery(t *testing.T, n *nowd) {
	t.Helper()
	began := time.Now()
	conn, err := dialFrom(n, "tcp", "127.0.8.250")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "unixns\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 100)); err != nil {
		t.Errorf("with descriptors again, a client gets no answer: %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("with descriptors again, a client waits %v for an answer", took)
	}
}
