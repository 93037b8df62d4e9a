//go:build linux

package e2e_test

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// thread runs functions one after the other on one thread of the operating system. They share what belongs to a thread,
// such as its network namespace.
type thread struct {
	id    int
	calls chan func()
}

func newThread() *thread {
	th := &thread{calls: make(chan func())}
	go func() {
		// Never unlocked, so that the thread ends with this goroutine, and runs no other.
		runtime.LockOSThread()
		for f := range th.calls {
			f()
		}
	}()
	th.do(func() { th.id = syscall.Gettid() })
	return th
}

// do runs f. Processes that f starts and sockets that f opens are in the thread's namespaces.
func (th *thread) do(f func()) {
	done := make(chan struct{})
	th.calls <- func() {
		defer close(done)
		f()
	}
	<-done
}

func (th *thread) end() { close(th.calls) }

// start starts a process, which the kernel kills if the thread ends before it.
func (th *thread) start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	var err error
	th.do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
}

// nursery is the thread that starts the tests' processes. They end with the tests' process at the latest, however that ends.
var nursery = sync.OnceValue(newThread)
