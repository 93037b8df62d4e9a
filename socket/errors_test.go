package socket

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestActionForAllocatesNothing(t *testing.T) {
	var err error = unix.EAGAIN
	if n := testing.AllocsPerRun(100, func() { ActionFor(Receiving, err) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// The errors are those that manual pages and other servers name.
func TestEachErrorHasItsAction(t *testing.T) {
	for _, c := range []struct {
		call Call
		want Action
		of   []unix.Errno
	}{
		{Receiving, Ignore, []unix.Errno{unix.EAGAIN, unix.EINTR}},
		{Receiving, Skip, []unix.Errno{unix.ECONNREFUSED, unix.ENETDOWN, unix.EHOSTUNREACH, unix.ENOMEM, unix.ENOBUFS}},
		{Receiving, Reopen, []unix.Errno{unix.EBADF, unix.ENOTSOCK, unix.EINVAL}},
		{Sending, Ignore, []unix.Errno{unix.EAGAIN, unix.EINTR}},
		{Sending, Skip, []unix.Errno{unix.EINVAL, unix.EPERM, unix.EACCES, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EMSGSIZE, unix.ENOBUFS, unix.EADDRNOTAVAIL}},
		{Sending, Reopen, []unix.Errno{unix.EBADF, unix.ENOTSOCK}},
		{Accepting, Ignore, []unix.Errno{unix.EAGAIN, unix.EINTR}},
		{Accepting, Skip, []unix.Errno{unix.ECONNABORTED, unix.EPERM, unix.EPROTO, unix.ENETDOWN, unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ETIMEDOUT}},
		{Accepting, BackOff, []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM}},
		{Accepting, Reopen, []unix.Errno{unix.EBADF, unix.EINVAL, unix.ENOTSOCK}},
		{Reading, Ignore, []unix.Errno{unix.EAGAIN, unix.EINTR}},
		{Reading, CloseConn, []unix.Errno{unix.ECONNRESET, unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.EBADF}},
		{Writing, Ignore, []unix.Errno{unix.EAGAIN, unix.EINTR}},
		{Writing, CloseConn, []unix.Errno{unix.EPIPE, unix.ECONNRESET, unix.ETIMEDOUT, unix.ENOBUFS}},
	} {
		for _, errno := range c.of {
			if got := ActionFor(c.call, fmt.Errorf("call: %w", errno)); got != c.want {
				t.Errorf("call %d, %v: %d, want %d", c.call, errno, got, c.want)
			}
		}
		if got := ActionFor(c.call, nil); got != Ignore {
			t.Errorf("call %d, no error: %d, want Ignore", c.call, got)
		}
	}
}
