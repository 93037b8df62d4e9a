//go:build linux

package faults_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// brief is the duration of a fault that runs alone.
const brief = 1500 * time.Millisecond

func TestFaultsEndNothingAndDelayNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 30 s")
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			n := start(t, here(), f.env...)
			d := brief
			if f.alike { // answers are rare, so it takes longer to get many
				d *= 2
			}
			if o := examine(t, n, f.name, d, f); o.tally.done.Load() == 0 && f.name != "none" {
				t.Error("the fault did nothing")
			}
		})
	}
}

// faults are the faults that processes on nowd's host can cause, over loopback.
var faults = []fault{
	{name: "none", run: func(_ *testing.T, _ *nowd, stop <-chan struct{}, _ *tally) { <-stop }},
	{name: "SIGURG", run: urge},
	{name: "SIGSTOP, SIGCONT", run: suspend},
	{name: "aborted connections", run: abort},
	{name: "UDP junk of every size", run: junkDatagrams, lossy: true},
	{name: "TCP junk of every size", run: junkStreams},
	{name: "clients that do not read", run: readSlowly},
	{name: "clients that send slowly", run: sendSlowly, env: []string{"NOWD_TCP_WRITE_TIMEOUT=2s"}},
	{name: "pipelining flood", run: pipeline},
	{name: "UDP flood", run: flood, lossy: true, alike: true},
	{name: "UDP flood, no limit", run: flood, lossy: true, alike: true, env: []string{"NOWD_RATE_LIMIT=off"}},
}

// closed reports whether stop is closed.
func closed(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// each calls f repeatedly in several goroutines until stop is closed, and waits for their end. f gets the goroutine's index.
func each(goroutines int, stop <-chan struct{}, f func(i int)) {
	var running sync.WaitGroup
	for i := range goroutines {
		running.Go(func() {
			for !closed(stop) {
				f(i)
			}
		})
	}
	running.Wait()
}

// dialFrom connects from another source address, which has limits apart from the honest clients'.
func dialFrom(n *nowd, network, host string) (net.Conn, error) {
	ip := net.ParseIP(host)
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: ip}}
	if network == "udp" {
		d.LocalAddr = &net.UDPAddr{IP: ip}
	}
	return d.Dial(network, n.addr())
}

// urge sends SIGURG, with which Go's runtime preempts, and which interrupts every wait.
func urge(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
	each(1, stop, func(int) {
		const together = 10
		for range together {
			if err := n.cmd.Process.Signal(syscall.SIGURG); err != nil {
				t.Error(err)
			}
		}
		y.done.Add(together)
		y.traffic.Add(together)
		time.Sleep(time.Millisecond)
	})
}

// suspend stops and continues nowd, as a debugger, a snapshot or a frozen cgroup does.
func suspend(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
	const pause = 5 * time.Millisecond
	each(1, stop, func(int) {
		began := time.Now()
		for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
			if err := n.cmd.Process.Signal(sig); err != nil {
				t.Error(err)
			}
			if sig == syscall.SIGCONT {
				// On a busy machine a short pause gets longer.
				y.suspended.Store(max(y.suspended.Load(), int64(time.Since(began))))
			}
			time.Sleep(pause)
		}
		y.done.Add(1)
		y.traffic.Add(1)
	})
}

// abort resets connections: at once, after a request, and within a request.
func abort(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
	requests := []string{"", "unixns\n", "uni", "GET /json HTTP/1.1\r\nHost:", strings.Repeat("json\n", 100)}
	each(4, stop, func(i int) {
		conn, err := dialFrom(n, "tcp", fmt.Sprintf("127.0.2.%d", 1+i))
		if err != nil {
			t.Errorf("connect: %v", err)
			return
		}
		if request := requests[rand.IntN(len(requests))]; request != "" {
			_, _ = io.WriteString(conn, request)
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
		y.done.Add(1)
	})
}

// maxDatagram is the length of the longest datagram over IPv4.
const maxDatagram = 65507

// junkDatagrams sends datagrams of every size, in an order that covers all sizes within few rounds.
func junkDatagrams(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
	conn, err := dialFrom(n, "udp", "127.0.3.1")
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	junk := junkOf(maxDatagram)
	size := 0
	each(1, stop, func(int) {
		// The step and the number of sizes are coprime.
		if size += 4099; size > maxDatagram {
			size -= maxDatagram + 1
		}
		from := rand.IntN(maxDatagram - size + 1)
		if _, err := conn.Write(junk[from : from+size]); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%d bytes: %v", size, err)
		}
		y.done.Add(1)
		y.traffic.Add(int64(size >> 10))
		time.Sleep(20 * time.Microsecond)
	})
}

// junkOf returns bytes of different kinds: random, all equal, words, and almost words.
func junkOf(size int) []byte {
	b := make([]byte, 0, size+1<<10)
	for len(b) < size {
		part := 1 + rand.IntN(1<<10)
		switch rand.IntN(4) {
		case 0:
			for range part {
				b = append(b, byte(rand.Uint32()))
			}
		case 1:
			fill := byte(rand.Uint32())
			for range part {
				b = append(b, fill)
			}
		case 2:
			b = append(b, words[rand.IntN(len(words))]...)
			b = append(b, "\n\x00 \r"[rand.IntN(4)])
		case 3:
			b = append(b, "GET / HTTP/1.1\r\nHost: 2026-11-21 01:17:42.813729\n"[rand.IntN(40):]...)
		}
	}
	return b[:size]
}

// junkStreams sends up to a megabyte on a connection, and half-closes. Without a newline it is one request, which is owed one
// answer. Otherwise at least one answer is owed.
func junkStreams(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
	const most = 1 << 20
	junk := junkOf(most)
	line := []byte(strings.ReplaceAll(string(junk), "\n", "-"))
	copy(line, "x") // not the head of an HTTP request
	each(2, stop, func(i int) {
		conn, err := dialFrom(n, "tcp", fmt.Sprintf("127.0.3.%d", 1+i))
		if err != nil {
			t.Errorf("connect: %v", err)
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		size := 2000 + rand.IntN(1<<(11+rand.IntN(10)))
		isLine := rand.IntN(2) == 0
		go func() {
			if isLine {
				_, _ = conn.Write(line[:min(size, most)])
			} else {
				from := rand.IntN(most)
				_, _ = conn.Write(junk[from:min(from+size, most)])
			}
			_ = conn.(*net.TCPConn).CloseWrite()
		}()
		b, err := io.ReadAll(conn)
		answers := strings.Count(string(b), "\n")
		y.done.Add(1)
		y.owed.Add(1)
		y.traffic.Add(int64(size >> 10))
		if err != nil || answers == 0 || isLine && answers != 1 {
			y.lost.Add(1)
			t.Errorf("%d bytes of junk (one line: %t): %d answers, %v", size, isLine, answers, err)
		}
	})
}

// readSlowly has clients request more than the kernel buffers for them. Most read nothing. Some read slowly, and get all
// answers.
func readSlowly(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
	const deaf, slow, requests = 100, 4, 4000
	asked := strings.Repeat("json\n", requests)
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	connect := func(i int) *net.TCPConn {
		conn, err := dialFrom(n, "tcp", fmt.Sprintf("127.0.4.%d", 1+i))
		if err != nil {
			t.Errorf("connect: %v", err)
			return nil
		}
		open = append(open, conn)
		return conn.(*net.TCPConn)
	}
	for i := range deaf {
		if conn := connect(i); conn != nil {
			_ = conn.SetReadBuffer(4 << 10)
			_ = conn.SetWriteDeadline(time.Now().Add(time.Millisecond))
			_, _ = io.WriteString(conn, asked) // as much as the kernel takes
			y.done.Add(1)
		}
	}
	var reading sync.WaitGroup
	for i := range slow {
		conn := connect(deaf + i)
		if conn == nil {
			continue
		}
		y.done.Add(1)
		reading.Go(func() {
			go func() {
				_, _ = io.WriteString(conn, asked)
				_ = conn.CloseWrite()
			}()
			_ = conn.SetDeadline(time.Now().Add(patience))
			answers, err := 0, error(nil)
			for buf := make([]byte, 16<<10); err == nil; time.Sleep(time.Millisecond) {
				var m int
				m, err = conn.Read(buf)
				answers += strings.Count(string(buf[:m]), "\n")
			}
			y.owed.Add(requests)
			if err != io.EOF || answers != requests {
				y.lost.Add(int64(max(requests-answers, 1)))
				t.Errorf("a slow reader gets %d of %d answers, %v", answers, requests, err)
			}
		})
	}
	<-stop
	reading.Wait()
}

// sendSlowly has clients send the head of an HTTP request a byte at a time. Those that finish it in time are owed an
// answer. The others get status 408, and nowd closes their connection.
func sendSlowly(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
	const clients = 100
	timeout := 10 * time.Second
	for _, e := range n.cmd.Env {
		if value, ok := strings.CutPrefix(e, "NOWD_TCP_WRITE_TIMEOUT="); ok {
			timeout, _ = time.ParseDuration(value)
		}
	}
	each(clients, stop, func(i int) {
		conn, err := dialFrom(n, "tcp", fmt.Sprintf("127.0.5.%d", 1+i))
		if err != nil {
			t.Errorf("connect: %v", err)
			return
		}
		defer conn.Close()
		y.done.Add(1)
		never := i%2 == 0
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			head := "/unixns HTTP/1.1\r\nHost: h\r\n"
			if never {
				head = "/unixns HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 1<<10)
			}
			// A partial line must not wait for its end.
			if _, err := io.WriteString(conn, "GET "); err != nil {
				return
			}
			for _, b := range []byte(head) {
				time.Sleep(5 * time.Millisecond)
				y.traffic.Add(1)
				if _, err := conn.Write([]byte{b}); err != nil || never && closed(stop) {
					return
				}
			}
			_, _ = io.WriteString(conn, "\r\n")
		}()
		_ = conn.SetReadDeadline(time.Now().Add(timeout + patience))
		if never {
			if timeout > 5*time.Second { // longer than the fault runs
				<-sent
				return
			}
			r, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil && closed(stop) {
				return // this client has stopped
			}
			if err == nil && r.StatusCode != http.StatusRequestTimeout {
				err = errors.New(r.Status)
			}
			if err != nil {
				t.Errorf("a head without an end: %v", err)
			}
			conn.Close()
			<-sent
			return
		}
		began := time.Now()
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if time.Since(began) > timeout/2 {
			return // the machine may have delayed the bytes
		}
		y.owed.Add(1)
		if err == nil {
			_, err = io.ReadAll(r.Body)
		}
		if err == nil && r.StatusCode != http.StatusOK {
			err = errors.New(r.Status)
		}
		if err != nil {
			y.lost.Add(1)
			t.Errorf("a head, byte by byte: %v", err)
		}
		conn.Close()
		<-sent
	})
}

// pipeline has clients that send requests and read answers as fast as they can.
func pipeline(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
	const clients = 2
	lines := []byte(strings.Repeat("\n", 32<<10))
	var running sync.WaitGroup
	for i := range clients {
		running.Go(func() {
			c, err := dialFrom(n, "tcp", fmt.Sprintf("127.0.6.%d", 1+i))
			if err != nil {
				t.Errorf("connect: %v", err)
				return
			}
			defer c.Close()
			conn := c.(*net.TCPConn)
			asked := make(chan int64, 1)
			go func() {
				total := int64(0)
				defer func() { asked <- total }()
				for !closed(stop) {
					m, err := conn.Write(lines)
					total += int64(m)
					if err != nil {
						t.Errorf("a pipelining client cannot write: %v", err)
						return
					}
				}
				_ = conn.CloseWrite()
			}()
			answers, buf := int64(0), make([]byte, 256<<10)
			for err == nil {
				var m int
				m, err = conn.Read(buf)
				answers += int64(strings.Count(string(buf[:m]), "\n"))
			}
			total := max(<-asked, 1) // a half-close without a request gets one answer
			y.owed.Add(total)
			y.done.Add(total)
			if answers != total || err != io.EOF {
				y.lost.Add(max(total-answers, 1))
				t.Errorf("%d answers to %d pipelined requests, %v", answers, total, err)
			}
		})
	}
	running.Wait()
}

// flood sends datagrams as fast as one core can, which leaves nowd another core.
func flood(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
	conn, err := dialFrom(n, "udp", "127.0.7.1")
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	each(1, stop, func(int) {
		for range 100 {
			if _, err := conn.Write([]byte("hi")); err == nil {
				y.done.Add(1)
			}
		}
	})
}
