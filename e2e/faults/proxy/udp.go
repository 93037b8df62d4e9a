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

// Datagrams is a UDP proxy that delays datagrams, those of each direction by a time of its own. Its methods are safe for
// use from any goroutine.
type Datagrams struct {
	conn  *net.UDPConn
	dial  func() (net.Conn, error)
	there time.Duration // delay of requests
	back  time.Duration // delay of answers

	mu      sync.Mutex
	clients map[netip.AddrPort]net.Conn // nil once the proxy is closed
	passes  sync.WaitGroup
}

// ListenDatagrams returns a proxy that receives datagrams at an address, and passes each on to the server that dial
// connects with; dial is called for each client, by another goroutine. The address may be one at which a server listens
// that shares its port, by SO_REUSEPORT, and has no address in particular: then the proxy gets what is sent to that
// address.
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

// Addr returns where it listens.
func (d *Datagrams) Addr() net.Addr { return d.conn.LocalAddr() }

// Close ends it, and waits until nothing is left. Datagrams that are under way are lost.
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
	time.AfterFunc(delay, f) // which fails if its socket is closed
}

// receive passes requests on.
func (d *Datagrams) receive() {
	for {
		b := make([]byte, 2048)
		n, client, err := d.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return // it is closed
		}
		if server := d.serverFor(client); server != nil {
			d.later(d.there, func() { _, _ = server.Write(b[:n]) })
		}
	}
}

// serverFor returns the socket by which a client's requests are passed on.
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

// idle is how long a client's socket is kept for answers.
const idle = 10 * time.Second

// answer passes answers on to a client, until none has come for a while.
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
