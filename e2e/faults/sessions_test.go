//go:build linux

package faults_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"nowd/e2e/faults/proxy"
)

// A session is one connection with some requests. Its requests, and the proxy's plan for it, follow from its number
// alone. So both its client and the proxy know them, and the answers that it is owed.
//
// nowd owes an answer to every request that has reached it whole, in order, and sends nothing else. Neither pieces, nor
// delays, nor a half-close right after the request change that. After a reset nothing is owed.
type session struct {
	number uint64
	kind   sessionKind
	asks   []string // the bytes of the requests
	hangUp bool     // the client half-closes after its last request
	plan   proxy.Plan
}

type sessionKind uint8

const (
	lines sessionKind = iota // pipelined, for NOWD_TCP_FRAMING=line
	paced                    // lines, each sent after the previous answer, for NOWD_TCP_FRAMING=line
	web                      // one request over HTTP, for NOWD_TCP_FRAMING=line
	burst                    // pipelined lines, for NOWD_TCP_FRAMING=burst, which the proxy does not cut
	bare                     // words without a newline, each sent after the previous answer, for NOWD_TCP_FRAMING=burst
	numSessionKinds
)

// byLine reports whether a request needs a newline.
func (k sessionKind) byLine() bool { return k <= web }

// maxLine is the greatest length of a request. nowd answers a longer one once, with the default form, as soon as it is
// too long.
const maxLine = 1024

func newSession(seed, number uint64) session {
	r := rand.New(rand.NewPCG(seed, number))
	s := session{number: number, kind: sessionKind(r.IntN(int(numSessionKinds))), hangUp: r.IntN(2) == 0}
	count := 1 + r.IntN(8)
	if r.IntN(50) == 0 {
		count = 500 // more than nowd answers in one run of its handler
	}
	switch s.kind {
	case web:
		s.asks = []string{fmt.Sprintf("GET /%s HTTP/1.1\r\nHost: nowd\r\n\r\n", words[r.IntN(len(words))])}
	case paced, bare:
		count = min(count, 8)
		fallthrough
	default:
		for range count {
			s.asks = append(s.asks, newRequest(r, s.kind))
		}
	}
	s.plan = proxy.Random(r, s.length())
	if !s.kind.byLine() {
		s.plan.Piece, s.plan.Pause = 0, 0
	}
	return s
}

func newRequest(r *rand.Rand, kind sessionKind) string {
	request := words[r.IntN(len(words))]
	switch r.IntN(8) {
	case 0:
		request = strings.ToUpper(request)
	case 1:
		request = "  " + request + "\x00 "
	case 2:
		request = "hello sock"
	case 3:
		if kind != bare {
			request = ""
		}
	case 4:
		if kind.byLine() && r.IntN(4) == 0 {
			request = strings.Repeat("x", maxLine-1+r.IntN(maxLine))
		}
	}
	if kind != bare {
		request += "\n"
	}
	return request
}

func (s *session) length() (n int) {
	for _, a := range s.asks {
		n += len(a)
	}
	return n
}

// owed returns the forms of the answers in order, and whether they are owed. After a reset none is owed, but answers
// that arrive before it must be the first of these.
func (s *session) owed() (forms []string, all bool) {
	left := s.length() // bytes that reach nowd; no plan has both a half-close and a reset
	if end := max(s.plan.HalfClose, s.plan.Reset); end != proxy.Never {
		left = end
	}
	for _, a := range s.asks {
		part := a[:min(len(a), left)]
		left -= len(part)
		switch {
		case s.kind == web:
			forms = append(forms, formOfHead(part))
		case len(part) == len(a):
			forms = append(forms, formOf(a))
		// In burst framing a partial request at the end is a request too. A line that is too long is answered before
		// its end.
		case part != "" && !s.kind.byLine() || len(part) > maxLine:
			forms = append(forms, formOf(part))
		}
		if len(part) < len(a) {
			break
		}
	}
	if len(forms) == 0 {
		forms = []string{"datetime"} // a half-close without a request
	}
	return forms, s.plan.Reset == proxy.Never
}

// formOfHead returns the form of the answer to the head of an HTTP request, which may be cut off.
func formOfHead(part string) string {
	switch {
	case len(part) < len("GET "):
		return "datetime"
	case !strings.HasSuffix(part, "\r\n\r\n"):
		return "400"
	}
	word, _, _ := strings.Cut(strings.TrimPrefix(part, "GET /"), " ")
	return "200 " + word
}

// run runs the session. It returns the numbers of answers owed and of those lost, and an error if something else is wrong.
func (s *session) run(addr string) (owed, lost int, err error) {
	forms, all := s.owed()
	before := time.Now()
	got, err := s.ask(addr)
	after := time.Now()
	if !all {
		if err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			return 0, 0, err
		}
		// A reset may cut the last answer.
		if i := bytes.LastIndexByte(got, '\n'); s.kind != web {
			got = got[:i+1]
		} else {
			return 0, 0, nil
		}
		n := bytes.Count(got, []byte{'\n'})
		if n > len(forms) {
			return 0, 0, fmt.Errorf("%d answers to %d requests", n, len(forms))
		}
		_, err = check(forms[:n], got, before, after)
		return 0, 0, err
	}
	answered, wrong := check(forms, got, before, after)
	if err == nil {
		err = wrong
	}
	return len(forms), len(forms) - answered, err
}

// ask sends all requests, and returns all bytes that come back.
func (s *session) ask(addr string) ([]byte, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	first := proxy.AppendNumber(nil, s.number)
	if s.kind == paced || s.kind == bare {
		return s.askByTurns(conn, first)
	}
	if _, err := conn.Write(append(first, strings.Join(s.asks, "")...)); err != nil {
		return nil, err
	}
	if s.hangUp || s.kind == web {
		_ = conn.(*net.TCPConn).CloseWrite()
		return io.ReadAll(conn)
	}
	// If nowd closes, the client reads to the end. Otherwise the client closes when it has all answers owed.
	forms, _ := s.owed()
	in := bufio.NewReader(conn)
	got, err := readLines(in, len(forms))
	if err == io.EOF {
		return got, nil
	}
	if err != nil {
		return got, err
	}
	b, err := finish(conn, in)
	return append(got, b...), err
}

// askByTurns sends each request after the previous answer.
func (s *session) askByTurns(conn net.Conn, first []byte) (got []byte, err error) {
	in := bufio.NewReader(conn)
	for _, a := range s.asks {
		if _, err := conn.Write(append(first, a...)); err != nil {
			return got, err
		}
		first = nil
		b, err := readLines(in, 1)
		got = append(got, b...)
		if err == io.EOF { // nowd closed before the request
			return got, nil
		}
		if err != nil {
			return got, err
		}
	}
	b, err := finish(conn, in)
	return append(got, b...), err
}

// finish half-closes, and returns the bytes that still come.
func finish(conn net.Conn, in io.Reader) ([]byte, error) {
	_ = conn.(*net.TCPConn).CloseWrite()
	return io.ReadAll(in)
}

func readLines(in *bufio.Reader, n int) (got []byte, err error) {
	for range n {
		b, err := in.ReadBytes('\n')
		got = append(got, b...)
		if err != nil {
			return got, err
		}
	}
	return got, nil
}

// check returns the number of expected answers, and an error if one is wrong, or if something follows them.
func check(forms []string, got []byte, before, after time.Time) (answered int, err error) {
	for _, form := range forms {
		var answer string
		if status, word, ok := strings.Cut(form, " "); ok || status == "400" {
			r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(got)), nil)
			if err != nil {
				return answered, err
			}
			body, err := io.ReadAll(r.Body)
			if err != nil || strconv.Itoa(r.StatusCode) != status {
				return answered, fmt.Errorf("status %d, %v; want %s", r.StatusCode, err, status)
			}
			got = got[bytes.Index(got, []byte("\r\n\r\n"))+4+len(body):]
			if form, answer = word, strings.TrimSuffix(string(body), "\n"); !ok {
				answered++
				continue
			}
		} else {
			line, rest, ok := bytes.Cut(got, []byte{'\n'})
			if !ok {
				return answered, fmt.Errorf("after %d of %d answers comes %q", answered, len(forms), line)
			}
			answer, got = string(line), rest
		}
		if err := verify(form, answer, before, after); err != nil {
			return answered, err
		}
		answered++
	}
	if len(got) > 0 {
		return answered, fmt.Errorf("after %d answers comes %.100q", answered, got)
	}
	return answered, nil
}

// sessions returns the number of sessions to run.
func sessions(t *testing.T) int64 {
	t.Helper()
	value := os.Getenv("NOWD_SESSIONS")
	if value == "" {
		return 10_000
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 1 {
		t.Fatalf("NOWD_SESSIONS=%s: want a number", value)
	}
	return n
}

func TestNoAnswerOwedIsLostInSessionsUnderFaults(t *testing.T) {
	count := sessions(t)
	seed := rand.Uint64()
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	byLine := start(t, here(), "NOWD_TCP_FRAMING=line")
	byBurst := start(t, here(), "NOWD_TCP_FRAMING=burst")
	run := func(t *testing.T, _ *nowd, _ <-chan struct{}, y *tally) {
		runSessions(t, byLine, byBurst, seed, count, nil, y)
	}
	name := fmt.Sprintf("%d sessions", count)
	examine(t, byLine, name, 0, fault{run: run})
	if n := byBurst.metrics(t)["nowd_loop_panics_total"]; n > 0 {
		t.Errorf("%v panics", n)
	}
}

// runSessions runs count sessions through a proxy, or fewer if stop is closed.
func runSessions(t *testing.T, byLine, byBurst *nowd, seed uint64, count int64, stop <-chan struct{}, y *tally) {
	upstream := func(number uint64) string {
		n := byLine
		if s := newSession(seed, number); !s.kind.byLine() {
			n = byBurst
		}
		return fmt.Sprintf("127.1.0.%d:%d", 1+number%200, n.port) // one address has too few ports
	}
	p, err := proxy.Listen(":0", upstream, func(number uint64) proxy.Plan { return newSession(seed, number).plan })
	if err != nil {
		t.Error(err)
		return
	}
	defer p.Close()
	port := p.Addr().(*net.TCPAddr).Port
	// So many failures show the fault. Stop here, because each may have waited for long.
	const enough = 20
	const together = 200
	var next, failed atomic.Int64
	var running sync.WaitGroup
	for range together {
		running.Go(func() {
			for number := next.Add(1); number <= count && failed.Load() < enough && !closed(stop); number = next.Add(1) {
				s := newSession(seed, uint64(number))
				owed, lost, err := s.run(fmt.Sprintf("127.1.1.%d:%d", 1+number%200, port))
				y.owed.Add(int64(owed))
				y.lost.Add(int64(lost))
				y.done.Add(1)
				if err != nil && failed.Add(1) <= enough/2 {
					t.Errorf("session %d (kind %d, %d requests, %+v): %d of %d answers are lost: %v",
						number, s.kind, len(s.asks), s.plan, lost, owed, err)
				}
			}
		})
	}
	running.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d sessions failed", n)
	}
	if n := p.Failed(); n > 0 {
		t.Errorf("%d sessions did not reach nowd", n)
	}
}
