//go:build linux

package e2e_test

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// thread runs functions one after the other on a thread of the system's own: what is the thread's and not the
// process's, such as its network namespace, is the same for all of them.
type thread struct {
	id    int
	calls chan func()
}

func newThread() *thread {
	th := &thread{calls: make(chan func())}
	go func() {
		// It is never unlocked, so the thread ends with this goroutine and serves no other.
		runtime.LockOSThread()
		for f := range th.calls {
			f()
		}
	}()
	th.do(func() { th.id = syscall.Gettid() })
	return th
}

// do runs f. Processes that f starts and sockets that f opens are where the thread is.
func (th *thread) do(f func()) {
	done := make(chan struct{})
	th.calls <- func() {
		defer close(done)
		f()
	}
	<-done
}

func (th *thread) end() { close(th.calls) }

// start starts a process, which is killed should the thread end before it.
func (th *thread) start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	th.do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
}

// nursery is the thread of the processes that may last as long as this one, and no longer, however it ends.
var nursery = sync.OnceValue(newThread)
