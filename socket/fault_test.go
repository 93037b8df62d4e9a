package socket

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestJudgingAnErrorAllocatesNothing(t *testing.T) {
	var err error = unix.EAGAIN
	if n := testing.AllocsPerRun(100, func() { FaultOf(Receiving, err) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What the manual pages and the field's experience name, by what it costs.
func TestEachErrorHasItsPrice(t *testing.T) {
	for _, c := range []struct {
		call Call
		want Fault
		of   []unix.Errno
	}{
		{Receiving, None, []unix.Errno{unix.EAGAIN, unix.EINTR}},
		{Receiving, Once, []unix.Errno{unix.ECONNREFUSED, unix.ENETDOWN, unix.EHOSTUNREACH, unix.ENOMEM, unix.ENOBUFS}},
		{Receiving, Broken, []unix.Errno{unix.EBADF, unix.ENOTSOCK, unix.EINVAL}},
		{Sending, None, []unix.Errno{unix.EAGAIN, unix.EINTR}},
		{Sending, Once, []unix.Errno{unix.EINVAL, unix.EPERM, unix.EACCES, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EMSGSIZE, unix.ENOBUFS, unix.EADDRNOTAVAIL}},
		{Sending, Broken, []unix.Errno{unix.EBADF, unix.ENOTSOCK}},
		{Accepting, None, []unix.Errno{unix.EAGAIN, unix.EINTR}},
		{Accepting, Once, []unix.Errno{unix.ECONNABORTED, unix.EPERM, unix.EPROTO, unix.ENETDOWN, unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ETIMEDOUT}},
		{Accepting, Short, []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM}},
		{Accepting, Broken, []unix.Errno{unix.EBADF, unix.EINVAL, unix.ENOTSOCK}},
		{Reading, None, []unix.Errno{unix.EAGAIN, unix.EINTR}},
		{Reading, Gone, []unix.Errno{unix.ECONNRESET, unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.EBADF}},
		{Writing, None, []unix.Errno{unix.EAGAIN, unix.EINTR}},
		{Writing, Gone, []unix.Errno{unix.EPIPE, unix.ECONNRESET, unix.ETIMEDOUT, unix.ENOBUFS}},
	} {
		for _, errno := range c.of {
			if got := FaultOf(c.call, fmt.Errorf("call: %w", errno)); got != c.want {
				t.Errorf("call %d, %v: %d, want %d", c.call, errno, got, c.want)
			}
		}
		if got := FaultOf(c.call, nil); got != None {
			t.Errorf("call %d, no error: %d", c.call, got)
		}
	}
}
