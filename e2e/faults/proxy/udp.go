package proxy

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Datagrams is a UDP proxy that delays datagrams, with one delay for each direction. Any goroutine may call its methods.
type Datagrams struct {
	conn  *net.UDPConn
	dial  func() (net.Conn, error)
	there time.Duration // delay of requests
	back  time.Duration // delay of answers

	mu      sync.Mutex
	clients map[netip.AddrPort]net.Conn // nil once the proxy is closed
	passes  sync.WaitGroup
}

// ListenDatagrams returns a proxy that receives datagrams at an address, and forwards each to the server that dial
// connects to. Another goroutine calls dial once for each client. A server with SO_REUSEPORT may listen at the same
// port of all addresses: the proxy then gets the datagrams for its own address.
func ListenDatagrams(address string, dial func() (net.Conn, error), there, back time.Duration) (*Datagrams, error) {
	share := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if e := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}); e != nil {
			return e
		}
		return err
	}}
	conn, err := share.ListenPacket(context.Background(), "udp", address)
	if err != nil {
		return nil, err
	}
	d := &Datagrams{conn: conn.(*net.UDPConn), dial: dial, there: there, back: back, clients: make(map[netip.AddrPort]net.Conn)}
	d.passes.Go(d.receive)
	return d, nil
}

// Addr returns the address at which the proxy listens.
func (d *Datagrams) Addr() net.Addr { return d.conn.LocalAddr() }

// Close ends the proxy, and waits for its goroutines. Datagrams in flight are lost.
func (d *Datagrams) Close() error {
	err := d.conn.Close()
	d.mu.Lock()
	for _, c := range d.clients {
		c.Close()
	}
	d.clients = nil
	d.mu.Unlock()
	d.passes.Wait()
	return err
}

// later calls f after a delay, unless the proxy is closed by then.
func (d *Datagrams) later(delay time.Duration, f func()) {
	if delay == 0 {
		f()
		return
	}
	time.AfterFunc(delay, f) // f fails if its socket is closed
}

// receive forwards requests.
func (d *Datagrams) receive() {
	for {
		b := make([]byte, 2048)
		n, client, err := d.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return // the proxy is closed
		}
		if server := d.serverFor(client); server != nil {
			d.later(d.there, func() { _, _ = server.Write(b[:n]) })
		}
	}
}

// serverFor returns the socket that forwards a client's requests.
func (d *Datagrams) serverFor(client netip.AddrPort) net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c, ok := d.clients[client]; ok || d.clients == nil {
		return c
	}
	c, err := d.dial()
	if err != nil {
		return nil
	}
	d.clients[client] = c
	d.passes.Go(func() { d.answer(client, c) })
	return c
}

// idle is the time for which the proxy keeps a client's socket without answers.
const idle = 10 * time.Second

// answer forwards answers to a client, until none has come for idle.
func (d *Datagrams) answer(client netip.AddrPort, server net.Conn) {
	defer func() {
		server.Close()
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.clients, client)
	}()
	for {
		b := make([]byte, 2048)
		_ = server.SetReadDeadline(time.Now().Add(idle))
		n, err := server.Read(b)
		if err != nil {
			return
		}
		d.later(d.back, func() { _, _ = d.conn.WriteToUDPAddrPort(b[:n], client) })
	}
}
