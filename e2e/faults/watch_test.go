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

// watch looks again and again at the memory that a nowd has.
type watch struct {
	ss      string   // where ss(8) is
	sockets []string // an expression of ss's for nowd's
	most    int
	err     error
	end     func() // it may be called again
}

// startWatch starts one. What is resident beyond idle counts, and what the kernel holds for the sockets that are asked,
// and for health's.
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

// stop ends it and returns the most that it has seen.
func (w *watch) stop(t *testing.T) int {
	t.Helper()
	w.end()
	if w.err != nil {
		lacking(t, "the kernel does not say what sockets hold: "+w.err.Error())
	}
	return w.most
}

// kernelConn is what the kernel's structures for a connection take besides its queues.
const kernelConn = 2 << 10

// kernelMemory returns the memory that the kernel holds for the sockets: their queues as ss(8) shows them, and their
// structures.
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
