//go:build linux

package e2e_test

import (
	encoding "encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/beevik/ntp"
)

func TestNTPLibraryFindsNothingWrongWithASyncedClock(t *testing.T) {
	t.Parallel()
	for _, leap := range []ntp.LeapIndicator{ntp.LeapNoWarning, ntp.LeapAddSecond, ntp.LeapDelSecond} {
		k := synced
		k.Leap = int(leap)
		p := speak(t, nil, k)
		for version := 3; version <= 4; version++ { // the library has no others
			r, err := ntp.QueryWithOptions(p.ntp, ntp.QueryOptions{Version: version, Timeout: patience})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Validate(); err != nil {
				t.Errorf("version %d: %v: %+v", version, err, r)
			}
			if r.Leap != leap || r.Stratum != 10 || r.ReferenceID != encoding.BigEndian.Uint32([]byte("NOWD")) {
				t.Errorf("version %d: leap %d, stratum %d, reference id %#x", version, r.Leap, r.Stratum, r.ReferenceID)
			}
			// The client and the server have the same clock, but the library's arithmetic is not exact.
			if r.ClockOffset.Abs() > r.RTT/2+time.Microsecond {
				t.Errorf("version %d: an offset of %v in a round trip of %v", version, r.ClockOffset, r.RTT)
			}
			if r.RootDispersion < synced.MaxError {
				t.Errorf("version %d: a root dispersion of %v, less than the kernel's %v", version, r.RootDispersion, synced.MaxError)
			}
		}
	}
}

func TestNTPLibraryRefusesAnUnsyncedClock(t *testing.T) {
	t.Parallel()
	p := speak(t, nil, unsynced)
	r, err := ntp.QueryWithOptions(p.ntp, ntp.QueryOptions{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(); err == nil {
		t.Errorf("the library accepts %+v", r)
	}
	if r.Leap != ntp.LeapNotInSync || r.KissCode != "INIT" {
		t.Errorf("leap %d, kiss code %s", r.Leap, r.KissCode)
	}
}

// A packet of NTP is 48 bytes: RFC 5905, section 7.3.
const ntpSize = 48

// ntpRequest returns a packet with a number as its transmit timestamp. Modern clients send a random number too: the server
// only returns it.
func ntpRequest(version, mode byte, number uint64) []byte {
	b := make([]byte, ntpSize)
	b[0] = version<<3 | mode
	encoding.BigEndian.PutUint64(b[40:], number)
	return b
}

// ntpSeconds returns the time of a timestamp in era 0, which ends in 2036.
func ntpSeconds(b []byte) time.Time {
	const unixEpoch = 2_208_988_800
	sec, fraction := encoding.BigEndian.Uint32(b), encoding.BigEndian.Uint32(b[4:])
	return time.Unix(int64(sec)-unixEpoch, int64(uint64(fraction)*1e9>>32))
}

func TestNTPAnswersVersions1To4InKind(t *testing.T) {
	t.Parallel()
	p := speak(t, nil, synced)
	for version := byte(1); version <= 4; version++ {
		for _, more := range []int{0, 20, 420} { // a MAC; extension fields
			conn := dial(t, "udp", p.ntp)
			number := 0xfeed_0000_0000_0000 + uint64(version)
			var answer string
			var err error
			s := during(func() {
				answer, err = exchange(conn, string(ntpRequest(version, 3, number))+strings.Repeat("x", more))
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := verifyNTP([]byte(answer), version, number, s); err != nil {
				t.Errorf("version %d with %d bytes more: %v: %x", version, more, err, answer)
			}
		}
	}
}

func verifyNTP(b []byte, version byte, number uint64, s span) error {
	switch {
	case len(b) != ntpSize:
		return fmt.Errorf("%d bytes", len(b))
	case b[0] != version<<3|4:
		return errors.New("want no leap second, the version asked in, and mode 4")
	case b[1] != 10 || string(b[12:16]) != "NOWD":
		return errors.New("want stratum 10 of NOWD")
	case encoding.BigEndian.Uint32(b[8:]) < 65536*5/1000:
		return errors.New("want a root dispersion of at least 5 ms")
	case encoding.BigEndian.Uint64(b[24:]) != number:
		return errors.New("want the request's number as origin timestamp")
	}
	receive, transmit := ntpSeconds(b[32:]), ntpSeconds(b[40:])
	if transmit.Before(receive) {
		return errors.New("sent before it was received")
	}
	// A timestamp's fraction is rounded down.
	if err := s.check(receive.Add(time.Nanosecond), time.Microsecond); err != nil {
		return err
	}
	return s.check(transmit.Add(-time.Nanosecond), time.Microsecond)
}

// nowd answers neither control messages (mode 6), nor private ones (mode 7, such as monlist), nor datagrams that are no
// request. The first answer is to the last datagram, which is a request.
func TestNTPAnswersNothingButRequests(t *testing.T) {
	t.Parallel()
	p := speak(t, nil, synced)
	conn := dial(t, "udp", p.ntp)
	send := func(b []byte) {
		t.Helper()
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	const first = 1 << 32
	send([]byte("\x16\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")) // ntpq -c readvar
	send([]byte("\x17\x00\x03\x2a\x00\x00\x00\x00"))                 // ntpdc -c monlist
	send(append([]byte("\x17\x00\x03\x2a"), make([]byte, 188)...))   // the same, padded
	send(ntpRequest(4, 3, first)[:ntpSize-1])                        // cut short
	send(nil)                                                        // empty
	send([]byte("hi\n"))                                             // not NTP
	for version := byte(0); version <= 7; version++ {
		for mode := byte(0); mode <= 7; mode++ {
			if mode != 3 || version == 0 || version > 4 {
				send(ntpRequest(version, mode, first))
			}
		}
	}
	const last = 2 << 32
	answer, s := askOn(t, conn, string(ntpRequest(4, 3, last)))
	if err := verifyNTP([]byte(answer), 4, last, s); err != nil {
		t.Errorf("the first answer: %v: %x", err, answer)
	}
}

// A client over its limit gets a kiss of death at most once a second: a packet as long as its request, without a time.
func TestNTPClientOverItsLimitIsToldSoOnceASecond(t *testing.T) {
	t.Parallel()
	p := speak(t, nil, synced, "NOWD_RATE_LIMIT=1", "NOWD_RATE_BURST=1")
	conn := dial(t, "udp", p.ntp)
	const lasting = 2500 * time.Millisecond
	began := time.Now()
	go func() {
		every := time.NewTicker(5 * time.Millisecond)
		defer every.Stop()
		for number := uint64(1 << 32); time.Since(began) < lasting; number++ {
			// It fails only after the end of the test.
			if _, err := conn.Write(ntpRequest(4, 3, number)); err != nil {
				return
			}
			<-every.C
		}
	}()
	var kisses, answers int
	var last time.Time
	if err := conn.SetReadDeadline(began.Add(lasting)); err != nil {
		t.Fatal(err)
	}
	for buf := make([]byte, 2048); ; {
		n, err := conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b := buf[:n]
		if n != ntpSize || b[1] != 0 {
			answers++
			continue
		}
		kisses, last = kisses+1, time.Now()
		times := [4]uint64{}
		for i := range times {
			times[i] = encoding.BigEndian.Uint64(b[16+8*i:])
		}
		if b[0] != 3<<6|4<<3|4 || string(b[12:16]) != "RATE" || times[0] < 1<<32 || times[0] > 1<<32+1<<16 ||
			times[1] != times[0] || times[2] != times[0] || times[3] != times[0] {
			t.Errorf("want a kiss, got %x", b)
		}
	}
	// There is at least a second between two kisses, so k kisses take at least k-1 seconds.
	if most := 1 + int(last.Sub(began)/time.Second); kisses < 2 || kisses > most {
		t.Errorf("%d kisses in %v, want 2 to %d; and %d answers", kisses, last.Sub(began), most, answers)
	}
}
