package socket

import (
	"errors"

	"golang.org/x/sys/unix"
)

// A Call is a kind of system call on a socket.
type Call uint8

const (
	Receiving Call = iota // datagrams: recvmsg(2), recvmmsg(2)
	Sending               // datagrams: sendmsg(2), sendmmsg(2)
	Accepting             // connections: accept(2)
	Reading               // from a connection: recv(2)
	Writing               // to a connection: send(2)
	numCalls
)

// An Action is what the caller of a system call does about its error.
type Action uint8

const (
	Ignore    Action = iota // no error, not ready, or a signal: wait for the next event
	Skip                    // the error concerns one datagram or one connection in the accept queue: count it and continue
	BackOff                 // descriptors or memory have run out: count it and pause
	CloseConn               // the connection is lost: close it
	Reopen                  // the socket is permanently unusable: close it and open a new one
)

// actions has the errors that differ from defaultActions. EBADF and ENOTSOCK
// mean that other code has closed the descriptor, and perhaps reused it. EINVAL
// from accept(2) means that the socket does not listen any more. EINVAL from
// sendmsg(2) means an invalid destination (port 0, for example), or a source
// address that the host has lost.
var actions = map[unix.Errno][numCalls]Action{
	//             Receiving Sending Accepting Reading    Writing
	0:             {Ignore, Ignore, Ignore, Ignore, Ignore},
	unix.EAGAIN:   {Ignore, Ignore, Ignore, Ignore, Ignore},
	unix.EINTR:    {Ignore, Ignore, Ignore, Ignore, Ignore},
	unix.ENOMEM:   {Skip, Skip, BackOff, CloseConn, CloseConn},
	unix.ENOBUFS:  {Skip, Skip, BackOff, CloseConn, CloseConn},
	unix.EMFILE:   {Skip, Skip, BackOff, CloseConn, CloseConn},
	unix.ENFILE:   {Skip, Skip, BackOff, CloseConn, CloseConn},
	unix.EBADF:    {Reopen, Reopen, Reopen, CloseConn, CloseConn},
	unix.ENOTSOCK: {Reopen, Reopen, Reopen, CloseConn, CloseConn},
	unix.EINVAL:   {Reopen, Skip, Reopen, CloseConn, CloseConn},
}

// defaultActions are for all other errors, among them:
//
//	Receiving         an ICMP error about an earlier datagram (ECONNREFUSED)
//	Sending           no route (ENETDOWN, EHOSTUNREACH), a filter (EPERM), a
//	                  datagram that is too long for a link (EMSGSIZE)
//	Accepting         an error of the new connection: ECONNABORTED, EPERM and
//	                  those that accept(2) lists under "Error handling"
//	Reading, Writing  ECONNRESET, EPIPE, ETIMEDOUT
var defaultActions = [numCalls]Action{Skip, Skip, Skip, CloseConn, CloseConn}

// ActionFor returns the action for the error of a call: Ignore for nil. It does
// not allocate.
func ActionFor(c Call, err error) Action {
	if err == nil { // here, so that Go inlines it
		return Ignore
	}
	return actionForError(c, err)
}

func actionForError(c Call, err error) Action {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		if a, ok := actions[errno]; ok {
			return a[c]
		}
	}
	return defaultActions[c]
}
