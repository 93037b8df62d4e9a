//go:build linux

package faults_test

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// watch looks again and again at the memory that a nowd has.
type watch struct {
	n       *nowd
	ss      string // where ss(8) is
	idle    int    // resident memory before
	stopped chan struct{}
	most    chan int
	err     error
}

// startWatch starts one. What is resident beyond idle counts, and what the kernel holds for nowd's sockets.
func startWatch(n *nowd, idle int) *watch {
	w := &watch{n: n, idle: idle, stopped: make(chan struct{}), most: make(chan int, 1)}
	if w.ss, w.err = exec.LookPath("ss"); w.err != nil {
		close(w.most)
		return w
	}
	go func() {
		most := 0
		for !closed(w.stopped) {
			if kernel, err := w.kernelMemory(); err != nil {
				w.err = err
			} else if resident, err := memory(n.pid(), "VmRSS"); err == nil {
				most = max(most, resident-idle+kernel)
			}
			select {
			case <-w.stopped:
			case <-time.After(100 * time.Millisecond):
			}
		}
		w.most <- most
	}()
	return w
}

// stop returns the most that was seen.
func (w *watch) stop(t *testing.T) int {
	t.Helper()
	close(w.stopped)
	most := <-w.most
	if w.err != nil {
		lacking(t, "the kernel does not say what sockets hold: "+w.err.Error())
	}
	return most
}

// kernelConn is what the kernel's structures for a connection take besides its queues.
const kernelConn = 2 << 10

// kernelMemory returns the memory that the kernel holds for the sockets at nowd's port: their queues as ss(8) shows
// them, and their structures.
func (w *watch) kernelMemory() (bytes int, err error) {
	out, err := exec.Command(w.ss, "-tunamOH", "sport", "=", fmt.Sprintf(":%d", w.n.port), "or", "sport", "=", fmt.Sprintf(":%d", w.n.health)).Output()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(out)) {
		_, info, found := strings.Cut(line, "skmem:(")
		if !found {
			continue
		}
		info, _, _ = strings.Cut(info, ")")
		sent := "w" // of a connection: what is queued to be sent, or to be acknowledged
		if strings.HasPrefix(line, "udp") {
			sent = "t" // of datagrams: what has not left the host yet
		} else {
			bytes += kernelConn
		}
		for field := range strings.SplitSeq(info, ",") {
			for _, name := range []string{"r", sent, "f"} {
				if n, err := strconv.Atoi(strings.TrimPrefix(field, name)); err == nil && strings.HasPrefix(field, name) {
					bytes += n
				}
			}
		}
	}
	return bytes, nil
}
