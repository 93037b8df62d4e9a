//go:build linux

package main

import (
	"bufio"
	"net"
	"net/netip"
	"time"
)

// maxLine is how long a request on a connection may be.
const maxLine = 1024

// serveNetUDP answers datagrams the way that Go's net package suggests.
func serveNetUDP(addr netip.AddrPort) error {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	if err := c.SetReadBuffer(receiveBuffer); err != nil {
		return err
	}
	in := make([]byte, messageSize)
	var out []byte
	for {
		_, from, err := c.ReadFromUDPAddrPort(in)
		if err != nil {
			return err
		}
		out = time.Now().AppendFormat(out[:0], layout)
		if _, err := c.WriteToUDPAddrPort(out, from); err != nil {
			return err
		}
	}
}

// serveNetTCP answers lines the way that Go's net package suggests: a goroutine
// for each connection.
func serveNetTCP(addr netip.AddrPort) error {
	l, err := net.Listen("tcp4", addr.String())
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			answerLines(c)
		}()
	}
}

// answerLines answers each line with the time at which it was read, and writes
// the answers when no more lines are there. The buffers are no larger than the
// protocol needs.
func answerLines(c net.Conn) {
	r, w := bufio.NewReaderSize(c, maxLine), bufio.NewWriterSize(c, maxLine)
	for {
		if _, err := r.ReadSlice('\n'); err != nil {
			return
		}
		_, _ = w.Write(time.Now().AppendFormat(w.AvailableBuffer(), layout)) // Flush tells
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
	}
}
