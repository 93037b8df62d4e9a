package proxy

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 10 * time.Second

// upstream is a server that records each read of its one connection, and answers when the test asks it to.
type upstream struct {
	net.Listener
	conns chan *net.TCPConn
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{l, make(chan *net.TCPConn, 1)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			u.conns <- c.(*net.TCPConn)
		}
	}()
	t.Cleanup(func() { l.Close() })
	return u
}

// connect returns both ends of a connection through a proxy with this plan, after the server has received the client's first
// bytes.
func connect(t *testing.T, plan Plan, first string) (client, server *net.TCPConn) {
	t.Helper()
	u := newUpstream(t)
	const number = 42
	p, err := Listen("127.0.0.1:0", func(uint64) string { return u.Addr().String() }, func(n uint64) Plan {
		if n != number {
			t.Errorf("the proxy asks for the plan of connection %d, want %d", n, number)
		}
		return plan
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	c, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client = c.(*net.TCPConn)
	if _, err := client.Write(append(AppendNumber(nil, number), first...)); err != nil {
		t.Fatal(err)
	}
	select {
	case server = <-u.conns:
	case <-time.After(patience):
		t.Fatal("the proxy forwards nothing")
	}
	for _, c := range []*net.TCPConn{client, server} {
		_ = c.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { c.Close() })
	}
	return client, server
}

// all reads to the end of the stream.
func all(t *testing.T, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("after %q: %v", b, err)
	}
	return string(b)
}

func TestFaithfulPassesAllBothWaysWithTheEnds(t *testing.T) {
	want := strings.Repeat("a line of text\n", 20_000)
	client, server := connect(t, Faithful, "")
	for _, way := range [][2]*net.TCPConn{{client, server}, {server, client}} {
		from, to := way[0], way[1]
		go func() {
			_, _ = io.WriteString(from, want)
			_ = from.CloseWrite()
		}()
		if got := all(t, to); got != want {
			t.Errorf("%d of %d bytes arrive", len(got), len(want))
		}
	}
}

func TestPiecesAreNoLongerThanPlanned(t *testing.T) {
	plan := Faithful
	plan.Piece, plan.Pause = 3, 20*time.Millisecond
	client, server := connect(t, plan, "abcdefgh")
	_ = client.CloseWrite()
	var got []string
	buf := make([]byte, 100)
	for {
		n, err := server.Read(buf)
		if err != nil {
			break
		}
		got = append(got, string(buf[:n]))
	}
	// A late reader may get two pieces at once.
	if strings.Join(got, "") != "abcdefgh" || len(got) < 2 || len(got) > 3 {
		t.Errorf("got %q, want abcdefgh in up to 3 pieces", got)
	}
}

func TestHalfCloseEndsRequestsOnlyAndWherePlanned(t *testing.T) {
	for _, end := range []int{0, 1, 5, 10} {
		plan := Faithful
		plan.HalfClose = end
		client, server := connect(t, plan, "0123456789")
		if got := all(t, server); got != "0123456789"[:end] {
			t.Errorf("the server got %q, want %d bytes", got, end)
		}
		if _, err := io.WriteString(server, "answer"); err != nil {
			t.Error(err)
		}
		_ = server.CloseWrite()
		if _, err := io.WriteString(client, "more"); err != nil {
			t.Error(err)
		}
		if got := all(t, client); got != "answer" {
			t.Errorf("the client got %q", got)
		}
	}
}

func TestResetReachesBothEndsAfterWhatWasPlanned(t *testing.T) {
	for _, end := range []int{0, 4} {
		plan := Faithful
		plan.Reset = end
		client, server := connect(t, plan, "0123456789")
		got, err := io.ReadAll(server)
		// A reset may overtake data, which is then lost.
		if !errors.Is(err, syscall.ECONNRESET) || !strings.HasPrefix("0123456789"[:end], string(got)) {
			t.Errorf("the server got %q, %v; want a reset after at most %d bytes", got, err, end)
		}
		if _, err := io.ReadAll(client); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client got %v, want a reset", err)
		}
	}
}

func TestServersResetReachesTheClient(t *testing.T) {
	client, server := connect(t, Faithful, "x")
	reset(server)
	if _, err := io.ReadAll(client); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client got %v, want a reset", err)
	}
}

func TestStallHoldsUpWhatComesAfterIt(t *testing.T) {
	const stall = 150 * time.Millisecond
	for _, way := range []string{"requests", "answers"} {
		t.Run(way, func(t *testing.T) {
			plan := Faithful
			*map[string]*Stall{"requests": &plan.Requests, "answers": &plan.Answers}[way] = Stall{2, stall}
			plan.Piece = 2
			began := time.Now()
			client, server := connect(t, plan, "0123")
			if got := make([]byte, 4); true {
				if _, err := io.ReadFull(server, got); err != nil {
					t.Fatal(err)
				}
			}
			if way == "answers" {
				began = time.Now()
				if _, err := io.WriteString(server, "0123"); err != nil {
					t.Fatal(err)
				}
				_ = server.CloseWrite()
				if got := all(t, client); got != "0123" {
					t.Errorf("got %q", got)
				}
			}
			if took := time.Since(began); took < stall {
				t.Errorf("all has arrived after %v, want at least %v", took, stall)
			}
		})
	}
}

func TestCloseLeavesNoConnection(t *testing.T) {
	u := newUpstream(t)
	p, err := Listen("127.0.0.1:0", func(uint64) string { return u.Addr().String() }, func(uint64) Plan { return Faithful })
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(AppendNumber(nil, 1)); err != nil {
		t.Fatal(err)
	}
	s := <-u.conns
	defer s.Close()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for _, c := range []net.Conn{c, s} {
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("still open: %v", err)
		}
	}
}

// The seed determines the plan, and every part of a plan occurs.
func TestRandomPlansAreRepeatableAndVaried(t *testing.T) {
	const length, number = 100, 2000
	plans := func(seed uint64) (all []Plan) {
		r := rand.New(rand.NewPCG(seed, 0))
		for range number {
			all = append(all, Random(r, length))
		}
		return all
	}
	first := plans(1)
	if !slices.Equal(first, plans(1)) {
		t.Error("the same seed makes other plans")
	}
	if slices.Equal(first, plans(2)) {
		t.Error("another seed makes the same plans")
	}
	has := map[string]int{}
	for _, p := range first {
		for what, does := range map[string]bool{
			"faithful": p == Faithful, "split": p.Piece > 0, "delay": p.Pause > 0, "half-close": p.HalfClose >= 0,
			"reset": p.Reset >= 0, "stall of requests": p.Requests.For > 0, "stall of answers": p.Answers.For > 0,
		} {
			if does {
				has[what]++
			}
		}
		if p.HalfClose > length || p.Reset > length {
			t.Errorf("%+v ends after more than %d bytes", p, length)
		}
	}
	if len(has) != 7 {
		t.Errorf("not every fault occurs: %v", has)
	}
	for what, n := range has {
		if n < number/20 {
			t.Errorf("%s: only %d of %d plans", what, n, number)
		}
	}
}

func TestNumberIsNotAmongTheRequests(t *testing.T) {
	client, server := connect(t, Faithful, "request")
	_ = client.CloseWrite()
	if got := all(t, server); got != "request" {
		t.Errorf("the server got %q", got)
	}
	if n := len(AppendNumber(nil, 1)); n != NumberSize || bytes.Equal(AppendNumber(nil, 1), AppendNumber(nil, 2)) {
		t.Errorf("a number takes %d bytes, or equals another", n)
	}
}
