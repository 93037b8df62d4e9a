package socket

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Call is a system call on a socket.
type Call uint8

const (
	Receiving Call = iota // of datagrams: recvmsg(2), recvmmsg(2)
	Sending               // of datagrams: sendmsg(2), sendmmsg(2)
	Accepting             // accept(2)
	Reading               // from a connection: recv(2)
	Writing               // to one: send(2)
	numCalls
)

// Fault is what an error of a call means to who made it, and so what he does.
type Fault uint8

const (
	None   Fault = iota // nothing is to be done now, or there was a signal: wait for the next event
	Once                // it is of one datagram, or of a connection that waited to be accepted: count it and go on
	Short               // descriptors or memory are short, which may pass: count it and pause
	Gone                // the connection is: close it
	Broken              // the socket is not what it was, and will not be again: open it anew
)

// faults sorts the errors that need it. EBADF and ENOTSOCK are a descriptor that
// was closed and used again behind our back. EINVAL is, of accept(2), one that
// does not listen any more; of sendmsg(2), a destination that nobody can have
// (port 0, say), or a source that the host has lost.
var faults = map[unix.Errno][numCalls]Fault{
	//                Receive Send    Accept  Read  Write
	0:             {None, None, None, None, None},
	unix.EAGAIN:   {None, None, None, None, None},
	unix.EINTR:    {None, None, None, None, None},
	unix.ENOMEM:   {Once, Once, Short, Gone, Gone},
	unix.ENOBUFS:  {Once, Once, Short, Gone, Gone},
	unix.EMFILE:   {Once, Once, Short, Gone, Gone},
	unix.ENFILE:   {Once, Once, Short, Gone, Gone},
	unix.EBADF:    {Broken, Broken, Broken, Gone, Gone},
	unix.ENOTSOCK: {Broken, Broken, Broken, Gone, Gone},
	unix.EINVAL:   {Broken, Once, Broken, Gone, Gone},
}

// others is for all others. To receive: what the network said of a datagram that
// was sent. To send: that it cannot be reached (ENETDOWN, EHOSTUNREACH), that a
// filter forbids it (EPERM), that it is too long for a link (EMSGSIZE). To
// accept: ECONNABORTED, EPERM, and the errors that the new connection had
// before it was accepted: accept(2). To read and write: ECONNRESET, EPIPE,
// ETIMEDOUT; there is nobody to answer.
var others = [numCalls]Fault{Once, Once, Once, Gone, Gone}

// FaultOf returns what the error of a call means; nil is no fault.
func FaultOf(c Call, err error) Fault {
	if err == nil {
		return None
	}
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		if f, ok := faults[errno]; ok {
			return f[c]
		}
	}
	return others[c]
}
