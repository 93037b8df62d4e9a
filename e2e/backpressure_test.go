//go:build linux

package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// wholeLines is a setting with which a partial line stays one request, however long a busy host delays its rest.
const wholeLines = "NOWD_TCP_FRAMING=line"

// pipeline is a client that sends requests without waiting for their answers. They ask for all forms with a time in turn, so
// that an answer shows which request it belongs to. The answers to 200,000 of them are 12 MB, several times what the kernel
// buffers for a client that does not read.
type pipeline struct {
	conn *net.TCPConn
	rest string // the unsent part of the requests
	sent chan error
}

var inTurn = words[:len(words)-1]

func newPipeline(t *testing.T, n *nowd, requests int) *pipeline {
	t.Helper()
	p := &pipeline{conn: dial(t, "tcp", n.tcp).(*net.TCPConn), sent: make(chan error, 1)}
	// The client buffers its unsent requests, not the kernel.
	if err := p.conn.SetWriteBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range requests {
		b.WriteString(inTurn[i%len(inTurn)])
		b.WriteByte('\n')
	}
	p.rest = b.String()
	return p
}

// stall sends until the socket is full, or all is sent: the kernel buffers some megabytes each way.
func (p *pipeline) stall(t *testing.T) {
	t.Helper()
	for p.rest != "" {
		if err := p.conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := io.WriteString(p.conn, p.rest[:min(len(p.rest), 64<<10)])
		p.rest = p.rest[n:]
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return
		case err != nil:
			t.Fatal(err)
		}
	}
}

// finish sends the rest, and half-closes.
func (p *pipeline) finish(t *testing.T) {
	t.Helper()
	hurry(t, p.conn)
	go func() {
		_, err := io.WriteString(p.conn, p.rest)
		p.sent <- errors.Join(err, p.conn.CloseWrite())
	}()
}

// check reads answers until the end of the stream, and checks that they are those to these many requests, in order, with
// times that never decrease.
func (p *pipeline) check(t *testing.T, r io.Reader, requests int) {
	t.Helper()
	answers := bufio.NewReaderSize(r, 64<<10)
	s := span{before: time.Now().Add(-time.Minute)}
	for i := range requests {
		answer, err := answers.ReadString('\n')
		s.after = time.Now()
		if err == nil {
			err = verify(inTurn[i%len(inTurn)], answer, time.UTC, s)
		}
		if err != nil {
			t.Fatalf("answer %d of %d: %v", i+1, requests, err)
		}
	}
	if more, err := io.ReadAll(answers); err != nil || len(more) > 0 {
		t.Errorf("after the answers come %q, %v; want the end of the stream", more, err)
	}
}

// slowly reads with a pause after each read.
type slowly struct{ io.Reader }

func (r slowly) Read(b []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return r.Reader.Read(b)
}

func TestSlowReaderGetsAllAnswersInOrder(t *testing.T) {
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			const requests = 200_000
			n := start(t, append(c.env, wholeLines)...)
			p := newPipeline(t, n, requests)
			p.stall(t)
			if got := resident(t, n.pid()); got > 2*residentLimit {
				t.Errorf("%d bytes are resident while a client does not read", got)
			}
			// No other client waits.
			n.checkTime(t, "tcp")
			n.checkTime(t, "udp")
			p.finish(t)
			p.check(t, slowly{p.conn}, requests)
			if err := <-p.sent; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestClientThatNeverReadsIsClosed(t *testing.T) {
	t.Parallel()
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := start(t, append(c.env, "NOWD_TCP_WRITE_TIMEOUT=300ms")...)
			p := newPipeline(t, n, 1_000_000)
			hurry(t, p.conn)
			_, err := io.WriteString(p.conn, p.rest)
			if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("after a million requests and no answer read: %v, want a reset", err)
			}
			n.awaitMetric(t, `nowd_connections_closed_total{protocol="tcp",reason="stalled"}`, 1)
			n.awaitMetric(t, `nowd_connections_open{protocol="tcp"}`, 0)
			n.checkTime(t, "tcp")
		})
	}
}

func TestHalfCloseGetsAllAnswersThenTheEnd(t *testing.T) {
	t.Parallel()
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n, inLines := start(t, c.env...), start(t, append(c.env, wholeLines)...)
			for _, requests := range []int{1, 2, 1000, 20_000} {
				p := newPipeline(t, inLines, requests)
				p.finish(t)
				p.check(t, p.conn, requests)
				if err := <-p.sent; err != nil {
					t.Error(err)
				}
			}
			for request, want := range map[string]int{"": 1, "x": 1, "\n": 1, "x\ny": 2, "\n\n\n": 3} {
				conn := dial(t, "tcp", n.tcp)
				if _, err := io.WriteString(conn, request); err != nil {
					t.Fatal(err)
				}
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if answers, err := lines(conn); err != nil || len(answers) != want {
					t.Errorf("sent %q and the end, got %q, %v; want %d answers", request, answers, err, want)
				}
			}
			t.Run("socat", func(t *testing.T) {
				socat := tool(t, "socat")
				const requests = 10_000
				shown, status := shell(t, socat, fmt.Sprintf("seq %d | socat -t10 - TCP4:%s", requests, inLines.tcp))
				if got := strings.Count(shown, "\n"); got != requests || status != 0 {
					t.Errorf("%d answers to %d lines, exit status %d", got, requests, status)
				}
			})
		})
	}
}

// nowd evicts the longest idle connection, and answers the new one.
func TestFullHouseMakesRoomForANewClient(t *testing.T) {
	t.Parallel()
	const room = 10
	n := start(t, fmt.Sprintf("NOWD_TCP_MAX_CONNS=%d", room))
	var conns []net.Conn
	for range room + 3 {
		conn := dial(t, "tcp", n.tcp)
		if _, err := exchange(conn, "hello\n"); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for i, conn := range conns {
		hurry(t, conn)
		if i < len(conns)-room {
			if more, err := lines(conn); err != nil || len(more) > 0 {
				t.Errorf("connection %d: got %q, %v; want the end of the stream", i, more, err)
			}
		} else if _, err := exchange(conn, "hello\n"); err != nil {
			t.Errorf("connection %d: %v, want an answer", i, err)
		}
	}
	if status, _, err := n.get("/live", patience); status != http.StatusOK {
		t.Errorf("/live is %d, %v", status, err)
	}
}

func TestSilentClientIsClosedInTheEnd(t *testing.T) {
	t.Parallel()
	const timeout = 300 * time.Millisecond
	n := start(t, fmt.Sprintf("NOWD_TCP_IDLE_TIMEOUT=%v", timeout))
	s := during(func() {
		if more, err := lines(dial(t, "tcp", n.tcp)); err != nil || len(more) > 0 {
			t.Errorf("got %q, %v; want the end of the stream", more, err)
		}
	})
	if took := s.after.Sub(s.before); took < timeout {
		t.Errorf("closed after %v, want at least %v", took, timeout)
	}
}
