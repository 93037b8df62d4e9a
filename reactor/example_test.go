package reactor_test

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nowd/reactor"
)

// echo sends back what it reads. It reads until EAGAIN, because an
// edge-triggered event is reported only once.
type echo struct {
	loop    *reactor.Loop
	pending []byte
}

func (e *echo) Ready(fd int, ev reactor.Events) reactor.Events {
	var b [4096]byte
	for {
		if n, err := unix.Write(fd, e.pending); n > 0 {
			e.pending = e.pending[n:]
		} else if errors.Is(err, unix.EAGAIN) {
			return ev // PollOut is reported when fd becomes writable
		}
		n, err := unix.Read(fd, b[:])
		switch {
		case n > 0:
			e.pending = append(e.pending, b[:n]...)
		case errors.Is(err, unix.EAGAIN):
			return ev
		default: // the peer has closed, or an error
			_ = e.loop.Remove(fd)
			_ = unix.Close(fd)
			return ev
		}
	}
}

func (e *echo) Removed(fd int, reason error) { _ = unix.Close(fd) }

// An echo server with edge-triggered events.
func Example_edgeTriggered() {
	loop := newLoop()
	defer loop.Close()
	fd, addr := listen(unix.SOCK_STREAM)
	check(loop.Add(fd, reactor.PollIn, reactor.HandlerFunc(func(fd int, ev reactor.Events) reactor.Events {
		conn := accept(fd)
		check(loop.Add(conn, reactor.PollIn|reactor.PollOut|reactor.Edge, &echo{loop: loop}))
		return reactor.PollIn
	})))

	go func() {
		defer loop.Stop()
		conn, err := net.Dial("tcp", addr)
		check(err)
		defer conn.Close()
		for _, s := range []string{"hello", "sock"} {
			fmt.Fprint(conn, s)
			fmt.Println(read(conn))
		}
	}()
	check(loop.Run())
	// Output:
	// hello
	// sock
}

// framed answers requests that end in a blank line. It may read and write only a
// part: a level-triggered event is reported again for the rest.
type framed struct {
	loop *reactor.Loop
	in   []byte
	out  []byte
}

func (f *framed) Ready(fd int, ev reactor.Events) reactor.Events {
	if ev&reactor.PollIn != 0 {
		var b [512]byte
		n, err := unix.Read(fd, b[:])
		if n <= 0 && !errors.Is(err, unix.EAGAIN) {
			_ = f.loop.Remove(fd)
			_ = unix.Close(fd)
			return ev
		}
		f.in = append(f.in, b[:max(n, 0)]...)
		for {
			request, rest, ok := bytes.Cut(f.in, []byte("\n\n"))
			if !ok {
				break
			}
			f.in = rest
			f.out = fmt.Appendf(f.out, "%d lines. ", bytes.Count(request, []byte("\n"))+1)
		}
	} else if ev&reactor.PollOut != 0 {
		n, err := unix.Write(fd, f.out)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			_ = f.loop.Remove(fd)
			_ = unix.Close(fd)
			return ev
		}
		f.out = f.out[max(n, 0):]
	}
	// While an answer is unsent, framed does not read.
	if len(f.out) > 0 {
		_ = f.loop.Modify(fd, reactor.PollOut)
	} else {
		_ = f.loop.Modify(fd, reactor.PollIn)
	}
	return reactor.PollIn | reactor.PollOut
}

func (f *framed) Removed(fd int, reason error) { _ = unix.Close(fd) }

// A server for requests that end in a blank line.
func Example_levelTriggered() {
	loop := newLoop()
	defer loop.Close()
	fd, addr := listen(unix.SOCK_STREAM)
	check(loop.Add(fd, reactor.PollIn, reactor.HandlerFunc(func(fd int, ev reactor.Events) reactor.Events {
		check(loop.Add(accept(fd), reactor.PollIn, &framed{loop: loop}))
		return reactor.PollIn
	})))

	go func() {
		defer loop.Stop()
		conn, err := net.Dial("tcp", addr)
		check(err)
		defer conn.Close()
		fmt.Fprint(conn, "a\nb") // a partial request
		fmt.Fprint(conn, "\nc\n\nd\n\n")
		var got string
		for !strings.HasSuffix(got, "1 lines. ") {
			got += read(conn)
		}
		fmt.Println(got)
	}()
	check(loop.Run())
	// Output: 3 lines. 1 lines.
}

// Prepare retries until an address is available. Then it registers the handler
// that reads there.
func ExampleLoop_Prepare() {
	loop := newLoop()
	defer loop.Close()
	taken, addr := listen(unix.SOCK_DGRAM)
	at, err := unix.Getsockname(taken)
	check(err)

	attempts := 0
	loop.Prepare(func() (delay time.Duration) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		check(err)
		check(unix.SetNonblock(fd, true))
		if err := unix.Bind(fd, at); err != nil {
			_ = unix.Close(fd)
			attempts++
			return time.Millisecond
		}
		check(loop.Add(fd, reactor.PollIn, reactor.HandlerFunc(func(fd int, ev reactor.Events) reactor.Events {
			var b [64]byte
			n, _ := unix.Read(fd, b[:])
			fmt.Printf("bound after some attempts: %v; got %s\n", attempts > 0, b[:n])
			loop.Stop()
			return reactor.PollIn
		})))
		conn, err := net.Dial("udp", addr)
		check(err)
		defer conn.Close()
		fmt.Fprint(conn, "hello")
		return 0
	})
	loop.After(5*time.Millisecond, func() { check(unix.Close(taken)) })
	check(loop.Run())
	// Output: bound after some attempts: true; got hello
}

// A periodic callback.
func ExampleLoop_Every() {
	loop := newLoop()
	defer loop.Close()
	n := 0
	loop.Every(2*time.Millisecond, func() {
		if n++; n == 3 {
			fmt.Println("three times")
			loop.Stop()
		}
	})
	check(loop.Run())
	// Output: three times
}

// A handler without state can be a function. This one does not handle the
// hang-up, so the loop removes and closes the descriptor.
func ExampleHandlerFunc() {
	loop := newLoop()
	defer loop.Close()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	check(err)
	check(loop.Add(fds[0], reactor.PollIn, reactor.HandlerFunc(func(fd int, ev reactor.Events) reactor.Events {
		var b [64]byte
		n, _ := unix.Read(fd, b[:])
		fmt.Printf("read %q\n", b[:n])
		loop.Stop()
		return reactor.PollIn
	})))
	_, err = unix.Write(fds[1], []byte("hello"))
	check(err)
	check(unix.Close(fds[1]))
	check(loop.Run())
	// Output: read "hello"
}

// A UDP time server.
func Example_udpTimeServer() {
	loop := newLoop()
	defer loop.Close()
	fd, addr := listen(unix.SOCK_DGRAM)
	check(loop.Add(fd, reactor.PollIn, reactor.HandlerFunc(func(fd int, ev reactor.Events) reactor.Events {
		var b [512]byte
		if _, from, err := unix.Recvfrom(fd, b[:], 0); err == nil {
			_ = unix.Sendto(fd, []byte(time.Now().Format(time.RFC3339)), 0, from)
		}
		return reactor.PollIn
	})))

	go func() {
		defer loop.Stop()
		conn, err := net.Dial("udp", addr)
		check(err)
		defer conn.Close()
		fmt.Fprint(conn, "what time is it?")
		_, err = time.Parse(time.RFC3339, read(conn))
		fmt.Println("is it a time?", err == nil)
	}()
	check(loop.Run())
	// Output: is it a time? true
}

// A TCP time server. It changes its interest to PollOut for the answer.
func Example_tcpTimeServer() {
	loop := newLoop()
	defer loop.Close()
	fd, addr := listen(unix.SOCK_STREAM)
	answer := reactor.HandlerFunc(func(fd int, ev reactor.Events) reactor.Events {
		if ev&reactor.PollOut != 0 {
			_, _ = unix.Write(fd, []byte(time.Now().Format(time.RFC3339)))
			_ = loop.Modify(fd, reactor.PollIn)
			return ev
		}
		var b [512]byte
		if n, _ := unix.Read(fd, b[:]); n > 0 {
			_ = loop.Modify(fd, reactor.PollOut)
			return ev
		}
		_ = loop.Remove(fd)
		_ = unix.Close(fd)
		return ev
	})
	check(loop.Add(fd, reactor.PollIn, reactor.HandlerFunc(func(fd int, ev reactor.Events) reactor.Events {
		check(loop.Add(accept(fd), reactor.PollIn, answer))
		return reactor.PollIn
	})))

	go func() {
		defer loop.Stop()
		conn, err := net.Dial("tcp", addr)
		check(err)
		defer conn.Close()
		for range 2 {
			fmt.Fprint(conn, "what time is it?")
			_, err = time.Parse(time.RFC3339, read(conn))
			fmt.Println("is it a time?", err == nil)
		}
	}()
	check(loop.Run())
	// Output:
	// is it a time? true
	// is it a time? true
}

func newLoop() *reactor.Loop {
	loop, err := reactor.New(reactor.Config{})
	check(err)
	return loop
}

// listen returns a non-blocking socket on loopback, and its address.
func listen(kind int) (fd int, addr string) {
	fd, err := unix.Socket(unix.AF_INET, kind, 0)
	check(err)
	check(unix.SetNonblock(fd, true))
	check(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	if kind == unix.SOCK_STREAM {
		check(unix.Listen(fd, 16))
	}
	sa, err := unix.Getsockname(fd)
	check(err)
	return fd, fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port)
}

func accept(fd int) int {
	conn, _, err := unix.Accept(fd)
	check(err)
	check(unix.SetNonblock(conn, true))
	return conn
}

func read(conn net.Conn) string {
	b := make([]byte, 512)
	n, err := conn.Read(b)
	check(err)
	return string(b[:n])
}

func check(err error) {
	if err != nil {
		log.SetOutput(os.Stdout)
		log.Fatal(err)
	}
}
