//go:build linux

package faults_test

import (
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// watch reads nowd's memory repeatedly.
type watch struct {
	ss      string   // path of ss(8)
	sockets []string // expression for ss(8) that selects nowd's sockets
	most    int
	err     error
	end     func() // more calls do nothing
}

// startWatch starts a watch. It counts nowd's resident memory above idle, and the kernel's memory for nowd's sockets at the
// addresses of the questions and of health.
func startWatch(t *testing.T, n *nowd, idle int, questions []question) *watch {
	t.Helper()
	w := &watch{sockets: []string{"sport", "=", fmt.Sprintf(":%d", n.health)}, end: func() {}}
	for _, q := range questions {
		if _, port, err := net.SplitHostPort(q.Addr); err == nil && !q.Control {
			w.sockets = append(w.sockets, "or", "sport", "=", ":"+port)
		}
	}
	if w.ss, w.err = exec.LookPath("ss"); w.err != nil {
		return w
	}
	stop, done := make(chan struct{}), make(chan struct{})
	w.end = sync.OnceFunc(func() {
		close(stop)
		<-done
	})
	t.Cleanup(w.end)
	go func() {
		defer close(done)
		for !closed(stop) {
			if kernel, err := w.kernelMemory(); err != nil {
				w.err = err
			} else if resident, err := memory(n.pid(), "VmRSS"); err == nil {
				w.most = max(w.most, resident-idle+kernel)
			}
			select {
			case <-stop:
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return w
}

// stop ends the watch, and returns the greatest amount.
func (w *watch) stop(t *testing.T) int {
	t.Helper()
	w.end()
	if w.err != nil {
		lacking(t, "the kernel does not report the memory of sockets: "+w.err.Error())
	}
	return w.most
}

// kernelConn is the memory of the kernel's structures for a connection, without its queues.
const kernelConn = 2 << 10

// kernelMemory returns the kernel's memory for the sockets: their queues, as ss(8) shows them, and their structures.
func (w *watch) kernelMemory() (bytes int, err error) {
	out, err := exec.Command(w.ss, append([]string{"-tunamOH"}, w.sockets...)...).Output()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(out)) {
		_, info, found := strings.Cut(line, "skmem:(")
		if !found {
			continue
		}
		info, _, _ = strings.Cut(info, ")")
		sent := "w" // of a connection: unsent and unacknowledged data
		if strings.HasPrefix(line, "udp") {
			sent = "t" // of a UDP socket: datagrams that have not left the host
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
