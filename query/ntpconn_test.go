package query

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/beevik/ntp"
)

// odd returns a connection to a server that answers a request with what answers
// makes of it, and then with nothing.
func odd(t *testing.T, answers func(req []byte) [][]byte) net.Conn {
	t.Helper()
	addr := datagrams(t, answers)
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &ntpConn{Conn: conn}
}

// ntpAnswerTo returns an answer that is right.
func ntpAnswerTo(req []byte) []byte {
	b := make([]byte, ntpHeader)
	b[0], b[1], b[2], b[3] = 4<<3|ntpServer, 2, 6, 0xec
	copy(b[ntpOrigin:], req[ntpTransmit:])
	now := uint64(time.Now().Unix()+2208988800) << 32
	for i := range 8 {
		b[16+i], b[32+i], b[40+i] = byte(now>>(56-8*i)), byte(now>>(56-8*i)), byte(now>>(56-8*i))
	}
	return b
}

func askOver(conn net.Conn) (*ntp.Response, error) {
	return ntp.QueryWithOptions("nowhere", ntp.QueryOptions{Timeout: 300 * time.Millisecond, Dialer: func(string, string) (net.Conn, error) { return conn, nil }})
}

func with(b []byte, i int, v byte) []byte {
	b = bytes.Clone(b)
	b[i] = v
	return b
}

// TestOnlyTheAnswerIsSeen: before it comes all that may make a client give up,
// or fall over.
func TestOnlyTheAnswerIsSeen(t *testing.T) {
	r, err := askOver(odd(t, func(req []byte) [][]byte {
		good := ntpAnswerTo(req)
		return [][]byte{
			nil, []byte("junk"), good[:47], with(good, ntpOrigin+3, good[ntpOrigin+3]^1), with(good, 0, 4<<3|3),
			with(good, ntpPoll, 0x80), with(good, ntpPrecision, 0x80), good,
		}
	}))
	if err != nil || r.Stratum != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestAnswerThatWouldBreakTheArithmeticIsNone(t *testing.T) {
	for _, i := range []int{ntpPoll, ntpPrecision} {
		_, err := askOver(odd(t, func(req []byte) [][]byte { return [][]byte{with(ntpAnswerTo(req), i, 0x80)} }))
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("byte %d: %v, want a time-out", i, err)
		}
	}
}

// memory is a connection on which an answer waits already.
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
	copy(m.answer[ntpOrigin:], m.asked[ntpTransmit:]) // it is the right server's
	n := copy(b, m.answer)
	m.answer = nil
	return n, nil
}

// FuzzNTPAnswer: whatever a server answers, nothing falls over.
func FuzzNTPAnswer(f *testing.F) {
	good := ntpAnswerTo(make([]byte, ntpHeader))
	f.Add(good)
	f.Add(with(good, ntpPrecision, 0x80))
	f.Add(with(good, ntpPoll, 0x80))
	f.Add(with(good, ntpPoll, 0x7f))
	f.Add(bytes.Repeat([]byte{0xff}, 68))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < ntpHeader {
			b = append(b, make([]byte, ntpHeader-len(b))...)
		}
		r, err := askOver(&ntpConn{Conn: &memory{answer: bytes.Clone(b)}})
		if err != nil {
			return
		}
		_ = r.Validate()
		if a := ntpAnswer(r); a.Error < 0 || a.HasBound && a.Bound < 0 {
			t.Errorf("%x: %+v", b, a)
		}
	})
}
