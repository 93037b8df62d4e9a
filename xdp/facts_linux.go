package xdp

import (
	"net/netip"
	"time"

	"nowd/answer"
	"nowd/clock"
	"nowd/ntp"
)

const (
	// lifetime is how long facts are valid. If the process stops, the program answers for
	// that long with the error bound and the leap indicator that it wrote last. A leap
	// second is announced to the kernel hours before.
	lifetime = 3 * time.Second

	// leapMargin is how long before the end of a day with a leap second the facts expire.
	// A deleted leap second ends the day one second early.
	leapMargin = 2 * time.Second

	// sameClock is the maximum difference between successive readings of nowd's clock and
	// the kernel's for them to count as the same clock.
	sameClock = 50 * time.Millisecond
)

// station is the addresses of the interface.
type station struct {
	mac   [6]byte
	addrs []netip.Addr
}

// clocks is a reading of the host's clocks, in nanoseconds.
type clocks struct {
	utc, tai, mono int64
	slack          int64 // maximum time between the readings
}

// writer makes facts.
type writer struct {
	clock *clock.Clock
	text  *answer.Text // nil if the program does not answer text
	ntp   *answer.NTP  // nil if the program does not answer NTP
}

// slot returns the facts for a reading of the clocks. The facts are expired if the
// sockets' answers use another clock than the program.
func (w *writer) slot(c clocks, st station, endpoints []Endpoint) (s slot) {
	now := w.clock.Now()
	s.setStation(st, endpoints)
	if now.Sub(time.Unix(0, c.utc)).Abs() > sameClock {
		return s
	}
	s.written, s.expires = c.utc, c.utc+int64(lifetime)
	if w.clock.Quality(now).Leap != clock.LeapNone {
		s.expires = min(s.expires, endOfDay(now).Add(-leapMargin).UnixNano())
	}
	s.taiUTC = time.Duration(c.tai - c.utc).Round(time.Second).Nanoseconds()
	s.taiMono, s.slack = c.tai-c.mono, c.slack
	if w.ntp != nil {
		s.ntp.set(w.ntp.Header(now))
	}
	if w.text != nil {
		s.text.set(w.text, time.Unix(0, c.utc))
	}
	return s
}

// endOfDay returns the end of t's day in UTC, where leap seconds occur.
func endOfDay(t time.Time) time.Time {
	const day = 24 * time.Hour
	return t.UTC().Truncate(day).Add(day)
}

// setStation sets the addresses of the interface, and the protocols served at each.
func (s *slot) setStation(st station, endpoints []Endpoint) {
	copy(s.mac[:], st.mac[:])
	v4, v6 := s.ipv4[:0], s.ipv6[:0]
	for _, a := range st.addrs {
		var serves Protocol
		for _, e := range endpoints {
			if e.Addr == a || e.Addr.IsUnspecified() && e.Addr.Is4() == a.Is4() {
				serves |= e.Protocol
			}
		}
		switch {
		case a.Is4() && len(v4) < maxAddrs:
			v4 = append(v4, ipv4Addr{a.As4(), uint32(serves)})
		case a.Is6() && len(v6) < maxAddrs:
			v6 = append(v6, ipv6Addr{a.As16(), uint64(serves)})
		}
	}
}

// set sets f to a header and the growth of its root dispersion.
func (f *ntpFacts) set(p ntp.Packet, g clock.Growth) {
	b := p.AppendTo(nil)
	f.leapMode, f.stratum, f.precision = b[0], b[1], b[3]
	copy(f.rootDelay[:], b[4:])
	copy(f.refID[:], b[12:])
	copy(f.reference[:], b[16:])
	f.kernel, f.kernelAt, f.kernelRate = int64(g.Kernel), g.KernelAt.UnixNano(), int64(g.KernelRate)
	f.upstream, f.upstreamAt = int64(g.Upstream), g.UpstreamAt.UnixNano()
	if g.Greater {
		f.greater = 1
	}
}

// set sets f to the layouts of now's second and the following ones.
func (f *textFacts) set(text *answer.Text, now time.Time) {
	f.second = now.Truncate(time.Second).UnixNano()
	for i := range f.lines {
		l, ok := text.Layout(now.Add(time.Duration(i) * time.Second))
		if !ok || len(l.After) > maxAfter {
			continue
		}
		line := &f.lines[i]
		copy(line.before[:], l.Before)
		copy(line.after[:], l.After)
		line.length = int64(len(l.Before) + l.Digits + len(l.After))
	}
}
