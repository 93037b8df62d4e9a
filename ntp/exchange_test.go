package ntp

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	beevik "github.com/beevik/ntp"
)

// serve starts a server on loopback and returns its address. It sends the datagrams
// that answers returns for each request.
func serve(t *testing.T, answers func(req []byte) [][]byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			for _, answer := range answers(b[:n]) {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

// goodAnswer returns a valid answer.
func goodAnswer(req []byte) Packet {
	p, _ := Parse(req)
	now := TimeOf(time.Now())
	return Packet{
		Version: MaxVersion, Mode: ModeServer, Stratum: 2, Poll: 6, Precision: -20, RootDelay: 66, RootDispersion: 131,
		Reference: now, Origin: p.Transmit, Receive: now, Transmit: now,
	}
}

// with returns p, encoded after a change.
func with(p Packet, change func(p *Packet)) []byte {
	change(&p)
	return p.AppendTo(nil)
}

func exchange(t *testing.T, timeout time.Duration, answers func(req []byte) [][]byte) (*Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return Exchange(ctx, serve(t, answers), time.Now)
}

// TestOtherDatagramsBeforeTheAnswerAreIgnored sends datagrams that could make a client
// fail or panic, and then the answer.
func TestOtherDatagramsBeforeTheAnswerAreIgnored(t *testing.T) {
	r, err := exchange(t, 10*time.Second, func(req []byte) [][]byte {
		good := goodAnswer(req)
		return [][]byte{
			nil, []byte("junk"), good.AppendTo(nil)[:47],
			with(good, func(p *Packet) { p.Origin ^= 1 << 32 }),
			with(good, func(p *Packet) { p.Mode = ModeClient }),
			with(good, func(p *Packet) { p.Poll = -128 }),
			with(good, func(p *Packet) { p.Precision = -128 }),
			good.AppendTo(nil),
		}
	})
	if err != nil || r.Stratum != 2 {
		t.Errorf("%+v, %v; want a response of stratum 2", r, err)
	}
}

func TestAnswerThatWouldBreakTheArithmeticIsIgnored(t *testing.T) {
	for name, change := range map[string]func(p *Packet){
		"poll":      func(p *Packet) { p.Poll = -128 },
		"precision": func(p *Packet) { p.Precision = -128 },
	} {
		_, err := exchange(t, 300*time.Millisecond, func(req []byte) [][]byte { return [][]byte{with(goodAnswer(req), change)} })
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s: %v, want a timeout", name, err)
		}
	}
}

func TestSpellingsOfAnAddressResolveToTheSame(t *testing.T) {
	for want, spellings := range map[string][]string{
		"127.0.0.1:123":  {"127.0.0.1", "127.0.0.1:123", "[::ffff:127.0.0.1]:123", "[::ffff:127.0.0.1]", "::ffff:127.0.0.1"},
		"127.0.0.1:1123": {"127.0.0.1:1123", "[::ffff:127.0.0.1]:1123"},
	} {
		for _, address := range spellings {
			if at, err := Resolve(t.Context(), address); err != nil || at.String() != want {
				t.Errorf("%s: %v, %v, want %s", address, at, err, want)
			}
		}
	}
	for _, address := range []string{"[::1", "no such host", "127.0.0.1:x"} {
		if at, err := Resolve(t.Context(), address); err == nil {
			t.Errorf("%s resolved to %v, want an error", address, at)
		}
	}
}

func TestResponseHasTheFieldsOfTheAnswer(t *testing.T) {
	ahead := time.Hour
	before := time.Now()
	address := serve(t, func(req []byte) [][]byte {
		return [][]byte{with(goodAnswer(req), func(p *Packet) {
			now := TimeOf(time.Now().Add(ahead))
			p.Leap, p.Reference, p.Receive, p.Transmit = LeapInsert, now, now, now
		})}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := Exchange(ctx, address, time.Now)
	if err != nil || r.Invalid != nil {
		t.Fatal(err, r)
	}
	if r.Server.String() != address || r.Sent.Before(before) || r.Received.Before(r.Sent) || r.Transmit.Sub(before) < ahead {
		t.Errorf("wrong server or times: %+v", r)
	}
	if took := r.Received.Sub(r.Sent); r.Delay > took+1 || (r.Offset-ahead).Abs() > took || r.RootDistance() < r.RootDispersion+r.RootDelay/2 {
		t.Errorf("wrong offset, delay or root distance: %+v, in an exchange of %v", r, took)
	}
	// 66 and 131 times 2^-16 s, rounded to the nearest nanosecond.
	if r.Leap != LeapInsert || r.Precision != time.Second>>20 || r.RootDelay != 1007080 || r.RootDispersion != 1998901 || r.KissCode != "" || !r.Synchronized() {
		t.Errorf("wrong fields: %+v", r)
	}
}

func TestKissIsInvalidAndHasItsCode(t *testing.T) {
	for _, code := range []KissCode{KissInit, KissStep, KissRate, KissDeny, KissRestrict} {
		r, err := exchange(t, 10*time.Second, func(req []byte) [][]byte {
			return [][]byte{with(goodAnswer(req), func(p *Packet) {
				p.Leap, p.Stratum, p.RefID = LeapUnsynchronized, StratumUnspecified, code.RefID()
			})}
		})
		if err != nil || r.KissCode != code || r.Invalid == nil || r.Synchronized() {
			t.Errorf("%s: %+v, %v; want an invalid response with the code", code, r, err)
		}
	}
}

func TestExchangeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	silent := serve(t, func([]byte) [][]byte { cancel(); return nil })
	if r, err := Exchange(ctx, silent, time.Now); !errors.Is(err, net.ErrClosed) {
		t.Errorf("cancelled: %+v, %v; want ErrClosed", r, err)
	}
	for range 20 { // the context or the socket's own deadline may expire first
		if r, err := exchange(t, 5*time.Millisecond, func([]byte) [][]byte { return nil }); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("expired: %+v, %v; want ErrDeadlineExceeded", r, err)
		}
	}
}

// memory is a connection that answers a request with a prepared answer.
type memory struct {
	net.Conn
	asked, answer []byte
}

func (m *memory) Write(b []byte) (int, error) { m.asked = bytes.Clone(b); return len(b), nil }
func (m *memory) Close() error                { return nil }
func (m *memory) SetDeadline(time.Time) error { return nil }
func (m *memory) Read(b []byte) (int, error) {
	if m.answer == nil {
		return 0, net.ErrClosed
	}
	copy(m.answer[offOrigin:], m.asked[offTransmit:]) // so that it answers the request
	n := copy(b, m.answer)
	m.answer = nil
	return n, nil
}

// FuzzResponse: no answer makes an exchange panic, or gives a negative duration that
// must not be negative.
func FuzzResponse(f *testing.F) {
	good := goodAnswer(make([]byte, HeaderSize))
	f.Add(good.AppendTo(nil))
	f.Add(with(good, func(p *Packet) { p.Precision = -128 }))
	f.Add(with(good, func(p *Packet) { p.Poll = -128 }))
	f.Add(with(good, func(p *Packet) { p.Poll = 127 }))
	f.Add(bytes.Repeat([]byte{0xff}, 68))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < HeaderSize {
			b = append(b, make([]byte, HeaderSize-len(b))...)
		}
		conn := &answerConn{Conn: &memory{answer: bytes.Clone(b)}}
		r, err := beevik.QueryWithOptions("nowhere", beevik.QueryOptions{
			Timeout: time.Second, Dialer: func(string, string) (net.Conn, error) { return conn, nil },
		})
		if err != nil {
			return
		}
		response := newResponse(r, netip.AddrPort{})
		if response.Delay < 0 || response.RootDelay < 0 || response.RootDispersion < 0 || response.RootDistance() < 0 {
			t.Errorf("a negative duration from %x: %+v", b, response)
		}
	})
}

// TestArrivalIsTheKernelsTimestamp reads an answer late, like a process that waits for
// the CPU. Its arrival is still the kernel's timestamp.
func TestArrivalIsTheKernelsTimestamp(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel's timestamps are for Linux only")
	}
	const late = time.Second
	address := serve(t, func(req []byte) [][]byte { return [][]byte{with(goodAnswer(req), func(*Packet) {})} })
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	udp := conn.(*net.UDPConn)
	if err := enableTimestamps(udp); err != nil {
		t.Fatal(err)
	}
	c := &answerConn{Conn: conn, udp: udp}
	const ahead = time.Hour // the client's clock is not the host's
	now := func() time.Time { return time.Now().Add(ahead) }
	sent := c.arrival(now)
	request := Packet{Version: MaxVersion, Mode: ModeClient, Transmit: 1}
	if _, err := c.Write(request.AppendTo(nil)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(late)
	if _, err := c.Read(make([]byte, 2048)); err != nil {
		t.Fatal(err)
	}
	// The answer takes far less, even if the machine pauses.
	if took := c.arrival(now).Sub(sent); took < 0 || took > late/2 {
		t.Errorf("the exchange took %v, want %v at most", took, late/2)
	}
	// If the host's clock was set meanwhile, the timestamp is ignored.
	for _, set := range []time.Duration{-time.Hour, time.Hour} {
		received := c.received
		c.received = received.Add(set)
		if took := c.arrival(now).Sub(sent); took < late {
			t.Errorf("with the clock set by %v, the exchange took %v, want at least %v", set, took, late)
		}
		c.received = received
	}
}
