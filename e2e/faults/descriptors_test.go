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

// manyConnections are more than there are descriptors for.
const manyConnections = 300

// No new client can be served while there are no descriptors, but those that are there are, and datagrams; and
// afterwards everybody is.
func TestWantOfDescriptorsIsSatOut(t *testing.T) {
	n := start(t, here())
	health := ""
	run := func(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
		// The honest client has to be there before.
		eventually(t, patience, func() error {
			if n.metrics(t)["nowd_connections_open"] == 0 {
				return fmt.Errorf("no honest client connects")
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

// A nowd that may open few files from the start keeps some for itself.
func TestLowLimitOfDescriptorsLeavesRoomForHealth(t *testing.T) {
	n := startAs(t, here(), exec.Command("sh", "-c", `ulimit -n 64 && exec "$0"`, program))
	health := ""
	run := func(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
		defer connectMany(t, n, y)()
		health = n.live()
		<-stop
	}
	// Connections make room for each other, as at the cap.
	examine(t, n, "few descriptors", brief, fault{run: run, questions: []question{{Kind: "udp"}}})
	if health != "answers" {
		t.Errorf("/live: %s", health)
	}
	checkRecovery(t, n)
}

// limitDescriptors limits how many a running nowd may open, and returns how many it might: man 2 prlimit.
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

// connectMany opens connections that ask once, and returns what closes them.
func connectMany(t *testing.T, n *nowd, y *tally) (hangUp func()) {
	t.Helper()
	var open []net.Conn
	for i := range manyConnections {
		conn, err := dialFrom(n, "tcp", fmt.Sprintf("127.0.8.%d", 1+i%200))
		if err != nil {
			t.Errorf("connection %d: %v", i, err) // the kernel's queue has room
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

// live says whether the health endpoint answers.
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
		t.Errorf("when there are descriptors again a client is not answered: %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("when there are descriptors again a client waits %v for an answer", took)
	}
}
