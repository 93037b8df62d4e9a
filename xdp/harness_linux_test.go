package xdp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/clock"
	"nowd/ntp"
)

var (
	ourMAC    = [6]byte{2, 0, 0, 0, 0, 1}
	theirMAC  = [6]byte{2, 0, 0, 0, 0, 2}
	ours4     = netip.MustParseAddr("192.0.2.1")
	ours6     = netip.MustParseAddr("2001:db8::1")
	ourLocal6 = netip.MustParseAddr("fe80::1")
	theirs4   = netip.MustParseAddr("192.0.2.7")
	theirs6   = netip.MustParseAddr("2001:db8::7")
)

const textPort, ntpPort = 3333, 123

// bench is a program in the kernel that is attached to no interface, and its model.
type bench struct {
	t testing.TB
	*loaded
	station   station
	endpoints []Endpoint
	model     model

	kernel  fakeKernel
	measure *clock.Measurement // of the upstream; nil without one
	form    answer.Form
	newline bool
	zone    *time.Location
	stopped int // number of runs that the machine delayed
	out     [2048]byte
}

// fakeKernel reports a given clock state.
type fakeKernel struct {
	state clock.State
	err   error
}

func (k fakeKernel) State() (clock.State, error) { return k.state, k.err }

// newBench loads a program that answers text in a form, and NTP. change, if not nil,
// changes its configuration.
func newBench(t testing.TB, form answer.Form, change func(c *Config)) *bench {
	t.Helper()
	if unix.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("loading a program into the kernel needs root")
		}
		t.Skip("loading a program into the kernel needs root")
	}
	b := &bench{
		t: t, form: form, newline: true, zone: time.UTC,
		kernel:    fakeKernel{state: clock.State{MaxError: 3 * time.Millisecond}},
		station:   station{mac: ourMAC, addrs: []netip.Addr{ours4, ours6, ourLocal6}},
		endpoints: []Endpoint{{Text, netip.IPv4Unspecified()}, {Text, netip.IPv6Unspecified()}, {NTP, netip.IPv4Unspecified()}, {NTP, netip.IPv6Unspecified()}},
	}
	w := b.newWriter(time.Now())
	c := Config{Text: w.text, TextPort: textPort, NTP: w.ntp, NTPPort: ntpPort, Ports: []uint16{textPort, ntpPort, 3337}}
	if change != nil {
		change(&c)
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.rules(cpus)
	if err != nil {
		t.Fatal(err)
	}
	if b.loaded, err = load(r); err != nil {
		t.Fatalf("%+.50v", err)
	}
	t.Cleanup(b.loaded.close)
	b.model = model{rules: r}
	b.refresh()
	return b
}

// newWriter returns a writer whose clock stands still at a time.
func (b *bench) newWriter(at time.Time) writer {
	at = at.Round(0)
	c := clock.New(clock.Config{Now: func() time.Time { return at }, Kernel: b.kernel})
	if b.measure != nil {
		m := *b.measure
		m.At = at.Add(-3 * time.Second)
		c.SetMeasurement(m)
	}
	return writer{clock: c, text: answer.NewText(c, b.zone, b.form, b.newline), ntp: answer.NewNTP(c, 10, [4]byte{'N', 'O', 'W', 'D'})}
}

// refresh writes the facts, for the program and for the model.
func (b *bench) refresh() {
	b.t.Helper()
	c, err := readClocks()
	if err != nil {
		b.t.Fatal(err)
	}
	w := b.newWriter(time.Unix(0, c.utc))
	b.facts.write(w.slot(c, b.station, b.endpoints))
	b.model.text, b.model.ntp, b.model.station = w.text, w.ntp, b.station
	b.model.serves = make(map[netip.Addr]Protocol)
	for _, a := range b.station.addrs {
		for _, e := range b.endpoints {
			if e.Addr.Is4() == a.Is4() {
				b.model.serves[a] |= e.Protocol
			}
		}
	}
}

// run runs the program, and returns its verdict and the resulting frame. If the machine
// delayed the program between its readings of the clock, so that it passed the frame as
// stale, run repeats the run.
func (b *bench) run(frame []byte) (verdict uint32, out []byte) {
	b.t.Helper()
	for range 10 {
		stale := b.stale()
		if verdict, out = b.runOnce(frame); b.stale() == stale {
			break
		}
		b.stopped++
	}
	return verdict, out
}

func (b *bench) stale() uint64 {
	s := b.sum()
	return s[0][countStale] + s[1][countStale]
}

func (b *bench) runOnce(frame []byte) (verdict uint32, out []byte) {
	b.t.Helper()
	o := ebpf.RunOptions{Data: frame, DataOut: b.out[:]}
	verdict, err := b.program.Run(&o)
	if err != nil {
		b.t.Fatal(err)
	}
	return verdict, o.DataOut
}

// expect runs the program, and compares the verdict, the counters and every byte with the
// model's. It returns the answer, or nil if there is none.
func (b *bench) expect(frame []byte) []byte {
	b.t.Helper()
	p, ok := b.model.parse(frame)
	before, counted := time.Now().Round(0), b.sum()
	stale := b.stale()
	verdict, out := b.run(frame)
	after := time.Now().Round(0)
	want, counter := uint32(actionPass), -1
	if ok {
		want, counter = actionTX, countAnswers
		if c, dropped := b.model.dropped(p); dropped {
			want, counter = actionDrop, c
		}
	}
	if ok {
		counted[p.protocol>>1][counter]++
		counted[p.protocol>>1][countStale] += b.stale() - stale
	}
	if verdict != want || b.sum() != counted {
		b.t.Fatalf("% x:\nverdict %d, want %d; counted %v, want %v", frame, verdict, want, b.sum(), counted)
	}
	if want != actionTX {
		if !bytes.Equal(out, frame) {
			b.t.Fatalf("% x became\n% x", frame, out)
		}
		return nil
	}
	received, sent, err := b.times(p, out)
	if err != nil {
		b.t.Fatalf("% x got\n% x: %v", frame, out, err)
	}
	if wanted := b.model.answer(frame, p, received, sent); !bytes.Equal(out, wanted) {
		b.t.Fatalf("% x got\n% x, want\n% x", frame, out, wanted)
	}
	// To the form's resolution.
	unit := time.Nanosecond
	if p.protocol == Text {
		unit = []time.Duration{answer.DateTime: time.Microsecond, answer.RFC3339: 1, answer.Unix: time.Second, answer.UnixMS: time.Millisecond, answer.UnixUS: time.Microsecond, answer.UnixNS: 1}[b.form]
	}
	if received.Before(before.Truncate(unit)) || sent.Before(received) || sent.After(after) {
		b.t.Fatalf("received at %v and sent at %v, between %v and %v", received, sent, before, after)
	}
	return out[p.size:]
}

// sum returns the counters of all CPUs together.
func (b *bench) sum() (s row) {
	for i := range b.cpus {
		for p := range s {
			for c := range s[p] {
				s[p][c] += b.cpus[i].counters[p][c]
			}
		}
	}
	return s
}

// times returns the times in an answer. A text answer has one.
func (b *bench) times(p packet, out []byte) (received, sent time.Time, err error) {
	if len(out) < p.size {
		return received, sent, errors.New("too short")
	}
	size := int(binary.BigEndian.Uint16(out[p.size-4:])) - 8
	if size < 0 || size > len(out)-p.size {
		return received, sent, fmt.Errorf("wrong length of the datagram: %d bytes", size)
	}
	data := out[p.size:][:size]
	if p.protocol == NTP {
		answer, ok := ntp.Parse(data)
		if !ok {
			return received, sent, fmt.Errorf("not an NTP packet: %d bytes", len(data))
		}
		now := time.Now()
		return answer.Receive.Near(now), answer.Transmit.Near(now), nil
	}
	text := strings.TrimSuffix(string(data), "\n")
	switch b.form {
	case answer.DateTime:
		sent, err = time.ParseInLocation("2006-01-02 15:04:05.000000", text, b.zone)
	case answer.RFC3339:
		sent, err = time.Parse(time.RFC3339Nano, text)
	default:
		var n int64
		n, err = strconv.ParseInt(text, 10, 64)
		sent = time.Unix(0, n*map[answer.Form]int64{answer.Unix: 1e9, answer.UnixMS: 1e6, answer.UnixUS: 1e3, answer.UnixNS: 1}[b.form])
	}
	return sent, sent, err
}

// frame returns a frame from a client to this host.
func frame(src, dst netip.AddrPort, request []byte) []byte {
	b := append(append([]byte(nil), ourMAC[:]...), theirMAC[:]...)
	length := uint16(8 + len(request))
	if src.Addr().Is4() {
		b = append(b, 0x08, 0x00)
		ip := []byte{0x45, 0, byte((length + 20) >> 8), byte(length + 20), 0x12, 0x34, 0x40, 0, 63, 17, 0, 0}
		ip = append(append(ip, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
		binary.BigEndian.PutUint16(ip[10:], checksum(ip))
		b = append(b, ip...)
	} else {
		b = append(b, 0x86, 0xdd, 0x60, 0x0a, 0xbc, 0xde, byte(length>>8), byte(length), 17, 63)
		b = append(append(b, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
	}
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, length)
	return append(append(b, 0xca, 0xfe), request...) // an incomplete checksum, as on a veth
}

// ask returns a frame from a client to this host.
func ask(v6 bool, port uint16, request []byte) []byte {
	src, dst := theirs4, ours4
	if v6 {
		src, dst = theirs6, ours6
	}
	return frame(netip.AddrPortFrom(src, 40000), netip.AddrPortFrom(dst, port), request)
}

// ntpRequest returns a client's NTP request of a version.
func ntpRequest(version uint8) []byte {
	p := ntp.Packet{Leap: ntp.LeapUnsynchronized, Version: version, Mode: ntp.ModeClient, Poll: 6, Transmit: 0xfeedfacecafebeef}
	return p.AppendTo(nil)
}
