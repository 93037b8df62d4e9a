//go:build linux

package main

import (
	"bufio"
	"net"
	"net/netip"
	"time"
)

// maxLine is the maximum length of a request on a connection.
const maxLine = 1024

// serveNetUDP answers datagrams, one at a time, with Go's net package.
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

// serveNetTCP answers lines with Go's net package, with a goroutine for each connection.
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

// answerLines answers each line with the time at which it was read, and writes the answers
// when its buffer is empty. The buffers are as large as the protocol needs.
func answerLines(c net.Conn) {
	r, w := bufio.NewReaderSize(c, maxLine), bufio.NewWriterSize(c, maxLine)
	for {
		if _, err := r.ReadSlice('\n'); err != nil {
			return
		}
		_, _ = w.Write(time.Now().AppendFormat(w.AvailableBuffer(), layout)) // Flush returns the error
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
	}
}
