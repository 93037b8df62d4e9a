package peers

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nowd/answer"
	"nowd/clock"
	"nowd/ntp"
)

// state is a kernel that reports this state.
type state clock.State

func (s state) State() (clock.State, error) { return clock.State(s), nil }

// shifted returns a clock that is ahead of the host's, with a kernel that reports maxError.
func shifted(ahead, maxError time.Duration) *clock.Clock {
	return clock.New(clock.Config{Now: func() time.Time { return time.Now().Add(ahead) }, Kernel: state{MaxError: maxError}})
}

// member is a member of a cluster, on loopback.
type member struct {
	address netip.AddrPort
	asked   atomic.Int64
	silent  atomic.Bool
	kiss    atomic.Bool
}

func serve(t *testing.T, c *clock.Clock) *member {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	m := &member{address: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = conn.Close(); serving.Wait() })
	dialect := answer.NewNTP(c, 3, [4]byte{'T', 'E', 'S', 'T'})
	serving.Go(func() {
		req, b := make([]byte, 512), make([]byte, 0, 512)
		for {
			n, from, err := conn.ReadFrom(req)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			arrived := c.Now()
			m.asked.Add(1)
			if err != nil || m.silent.Load() {
				continue
			}
			if m.kiss.Load() {
				b, _ = dialect.AppendKiss(b[:0], req[:n], n)
			} else {
				b, _ = dialect.AppendDatagram(b[:0], req[:n], n, arrived, c.Now())
			}
			_, _ = conn.WriteTo(b, from)
		}
	})
	return m
}

// join returns a Peers whose own address is in the list of members.
func join(t *testing.T, c *clock.Clock, others ...*member) *Peers {
	t.Helper()
	own := netip.MustParseAddrPort("127.0.0.1:1")
	config := Config{Members: []string{own.String()}, Listening: []netip.AddrPort{own}, Node: "here", Interval: time.Minute, Clock: c, Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, o := range others {
		config.Members = append(config.Members, o.address.String())
	}
	return New(config)
}

// linkTo returns the link to a member.
func linkTo(d *Document, m *member) *Link {
	i := slices.IndexFunc(d.Links, func(l Link) bool { return l.Member == m.address })
	if i < 0 {
		return nil
	}
	return &d.Links[i]
}

func TestLinkHoldsTheOffset(t *testing.T) {
	const ms = time.Millisecond
	for _, ahead := range []time.Duration{0, 80 * ms, -time.Hour, 57 * 365 * 24 * time.Hour} {
		m := serve(t, shifted(ahead, 5*ms))
		p := join(t, shifted(-3*ms, 2*ms), m)
		before := time.Now()
		p.round(t.Context())
		l := linkTo(p.Document(), m)
		if l == nil {
			t.Fatalf("%v ahead: not measured", ahead)
		}
		if off := ahead + 3*ms; off < l.OffsetMin || off > l.OffsetMax || l.OffsetMax-l.OffsetMin > 2*time.Since(before) {
			t.Errorf("offset %v, measured as %+v", off, l)
		}
		if l.Took > time.Since(before) || l.Age < l.Took || l.Age > time.Since(before)+ms {
			t.Errorf("%v after the beginning: %+v", time.Since(before), l)
		}
		// The kernel's bound, plus some growth with its age.
		if !l.Claim.Synced || *l.Claim.Bound < 5*ms || *l.Claim.Bound > 7*ms || !l.Own.Synced || *l.Own.Bound < 2*ms || *l.Own.Bound > 4*ms {
			t.Errorf("the member claims %v, this host %v: %+v", *l.Claim.Bound, *l.Own.Bound, l)
		}
		if n := m.asked.Load(); n != burst {
			t.Errorf("%d exchanges, want %d", n, burst)
		}
	}
}

func TestUnsynchronizedMemberIsMeasured(t *testing.T) {
	m := serve(t, shifted(time.Second, clock.MaxErrorLimit))
	p := join(t, shifted(0, clock.MaxErrorLimit), m)
	p.round(t.Context())
	l := linkTo(p.Document(), m)
	if l == nil || l.OffsetMin > time.Second || l.OffsetMax < time.Second {
		t.Fatalf("%+v", l)
	}
	if l.Claim != (Claim{}) || l.Own != (Claim{}) || p.Document().Claim != (Claim{}) {
		t.Errorf("an unsynchronised clock claims a bound: %+v", l)
	}
}

func TestKissIsNoMeasurement(t *testing.T) {
	m := serve(t, shifted(0, time.Millisecond))
	m.kiss.Store(true)
	if got, err := measure(t.Context(), shifted(0, time.Second), m.address); err == nil {
		t.Errorf("measured %+v", got)
	}
	if n := m.asked.Load(); n != maxLost {
		t.Errorf("asked %d times, want %d", n, maxLost)
	}
}

func TestImpossibleAnswerIsNoMeasurement(t *testing.T) {
	now := time.Now()
	good := ntp.Response{Sent: now, Received: now.Add(time.Millisecond), Delay: 900 * time.Microsecond}
	if got, err := offsetOf(&good, time.Second); err != nil || got.Low > -time.Second-450*time.Microsecond || got.High > time.Second+460*time.Microsecond {
		t.Errorf("%v, %v", got, err)
	}
	for _, change := range []func(r *ntp.Response){
		func(r *ntp.Response) { r.Delay = 0 }, // the clock was set forward during the exchange
		func(r *ntp.Response) { r.Precision = time.Hour },
		func(r *ntp.Response) { r.Precision = -1 },
	} {
		bad := good
		change(&bad)
		if got, err := offsetOf(&bad, 0); err == nil {
			t.Errorf("%+v is measured as %v", bad, got)
		}
	}
}

func TestLinksExpireAndAreForgotten(t *testing.T) {
	var passed atomic.Int64
	began := time.Now()
	host := clock.New(clock.Config{Now: func() time.Time { return began.Add(time.Since(began) + time.Duration(passed.Load())) }})
	m := serve(t, shifted(0, time.Millisecond))
	p := join(t, host, m)
	p.round(t.Context())
	if d := p.Document(); linkTo(d, m) == nil || len(d.Members) != 1 {
		t.Fatalf("%+v", d)
	}
	m.silent.Store(true)
	passed.Add(int64(4 * time.Minute))
	p.round(t.Context())
	if l := linkTo(p.Document(), m); l == nil || l.Age < 4*time.Minute {
		t.Errorf("a link after four intervals: %+v", l)
	}
	passed.Add(int64(4*time.Minute + time.Second))
	d := p.Document()
	if linkTo(d, m) != nil || !slices.Contains(d.Members, m.address) {
		t.Errorf("after eight intervals: %+v", d)
	}
	if oldest := d.Steered[len(d.Steered)-1].Age; oldest < 8*time.Minute {
		t.Errorf("the history covers %v, want 8m at least", oldest)
	}
	m.silent.Store(false)
	p.round(t.Context())
	if d := p.Document(); linkTo(d, m) == nil {
		t.Errorf("no link after the member answers again: %+v", d)
	}
	p.resolver.names = p.resolver.names[:1]
	p.round(t.Context())
	if d := p.Document(); len(d.Members) > 0 || len(d.Links) > 0 {
		t.Errorf("a link to a former member: %+v", d)
	}
	for range 100 {
		passed.Add(int64(time.Minute))
		p.round(t.Context())
	}
	if n := len(p.Document().Steered); n > 2*(validRounds+4) {
		t.Errorf("the history has %d entries", n)
	}
}

// TestHistoryHoldsEveryReading: the history covers all readings of a clock that is moved.
func TestHistoryHoldsEveryReading(t *testing.T) {
	c := clock.New(clock.Config{})
	var h history
	h.close(c, time.Hour)
	for _, moved := range []time.Duration{time.Hour, -time.Minute} { // simulated readings
		h.open = h.open.Hull(clock.Around(moved, 0))
		h.read(c)
	}
	h.close(c, time.Hour)
	all, _ := h.document(c)
	if len(all) != 3 || all[1].Min > -time.Minute || all[1].Max < time.Hour || all[0].Max > time.Minute || all[2].Age < all[1].Age || all[0].Age != 0 {
		t.Errorf("%+v", all)
	}
}

func TestOwnAddressesAreRecognised(t *testing.T) {
	at := func(texts ...string) (all []netip.AddrPort) {
		for _, s := range texts {
			all = append(all, netip.MustParseAddrPort(s))
		}
		return all
	}
	members := at("127.0.0.1:123", "127.0.0.2:123", "127.0.0.1:124", "192.0.2.1:123", "[::1]:123")
	for _, c := range []struct{ listening, want []netip.AddrPort }{
		{at("0.0.0.0:123"), at("127.0.0.1:123", "127.0.0.2:123")},
		{at("127.0.0.2:123"), at("127.0.0.2:123")},
		{at("0.0.0.0:125"), nil},
		{at("192.0.2.1:123"), at("192.0.2.1:123")}, // this host may get the address later
	} {
		if got, err := ownAddresses(members, c.listening); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("listening at %v: %v, %v; want %v", c.listening, got, err, c.want)
		}
	}
	m := serve(t, shifted(0, time.Millisecond))
	p := join(t, shifted(0, time.Millisecond), m)
	p.resolver.names = p.resolver.names[1:] // without this host
	p.Listening = at("0.0.0.0:1")
	p.round(t.Context())
	if d := p.Document(); !slices.Equal(d.Addresses, at("127.0.0.1:1")) || len(d.Links) != 1 {
		t.Errorf("%+v", d)
	}
}

func TestNamesKeepTheirLastAddresses(t *testing.T) {
	var r resolver
	r.names = []string{"localhost:5", "192.0.2.1:123", "[::ffff:192.0.2.1]:123"}
	members, err := r.resolve(t.Context())
	if err != nil || !slices.Contains(members, netip.MustParseAddrPort("127.0.0.1:5")) || !slices.Contains(members, netip.MustParseAddrPort("192.0.2.1:123")) || len(members) > 3 {
		t.Fatalf("%v, %v", members, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // from now on, look-ups fail
	r.names[0] = "no-such-name.invalid:5"
	r.last["no-such-name.invalid:5"] = r.last["localhost:5"]
	again, err := r.resolve(ctx)
	if err == nil || !slices.Equal(again, members) {
		t.Errorf("%v, %v", again, err)
	}
}

func TestDocumentIsServedWithoutNulls(t *testing.T) {
	p := join(t, shifted(0, time.Millisecond))
	for _, path := range []string{"before", "after"} {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest("GET", Path, nil))
		var d Document
		if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || d.Version != Version || d.Node != "here" || d.Port != 1 || len(d.Steered) == 0 {
			t.Errorf("%s: %v: %s", path, err, w.Body)
		}
		if strings.Contains(w.Body.String(), "null") {
			t.Errorf("%s: %s", path, w.Body)
		}
		p.round(t.Context())
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	m := serve(t, shifted(0, time.Millisecond))
	p := join(t, shifted(0, time.Second), m)
	p.Interval = 5 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	defer running.Wait()
	defer cancel()
	for deadline := time.Now().Add(10 * time.Second); m.asked.Load() < 5*burst; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("asked %d times", m.asked.Load())
		}
	}
}
