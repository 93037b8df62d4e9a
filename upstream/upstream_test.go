package upstream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	beevik "github.com/beevik/ntp"

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

// timeServer is an NTP server on loopback that can misbehave.
type timeServer struct {
	address string
	asked   atomic.Int64
	silent  atomic.Bool
	kiss    atomic.Pointer[string]
	change  atomic.Pointer[func(answer []byte)]
}

func serve(t *testing.T, c *clock.Clock) *timeServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &timeServer{address: conn.LocalAddr().String()}
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
			s.asked.Add(1)
			if err != nil || s.silent.Load() {
				continue
			}
			b, _ = dialect.AppendDatagram(b[:0], req[:n], n, arrived, c.Now())
			if kiss := s.kiss.Load(); kiss != nil {
				b, _ = dialect.AppendKiss(b[:0], req[:n], n)
				copy(b[12:], *kiss)
			}
			if change := s.change.Load(); change != nil {
				(*change)(b)
			}
			if _, err := conn.WriteTo(b, from); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

// log collects log lines.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// take returns the lines since the last call.
func (l *log) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

func checker(c *clock.Clock, servers ...*timeServer) (*Checker, *log) {
	l := &log{}
	config := Config{Interval: time.Minute, Clock: c, Logger: slog.New(slog.NewTextHandler(l, nil))}
	for _, s := range servers {
		config.Servers = append(config.Servers, s.address)
	}
	k := New(config)
	k.timeout = 10 * time.Second // the host may be slow
	return k, l
}

func TestAnswersPassBeevik(t *testing.T) {
	ask := func(c *clock.Clock, version int) (*beevik.Response, error) {
		r, err := beevik.QueryWithOptions(serve(t, c).address, beevik.QueryOptions{Version: version, Timeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return r, r.Validate()
	}
	for _, version := range []int{3, 4} {
		r, err := ask(shifted(0, 5*time.Millisecond), version)
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if r.Version != version || r.Stratum != 3 || r.RootDispersion < 5*time.Millisecond || r.RootDelay != 0 || r.Leap != beevik.LeapNoWarning {
			t.Errorf("version %d: %+v", version, r)
		}
		if r.ClockOffset.Abs() > r.RootDistance {
			t.Errorf("version %d: offset %v from the same clock, root distance %v", version, r.ClockOffset, r.RootDistance)
		}
		if r, err := ask(shifted(0, clock.MaxErrorLimit), version); err == nil || r.Leap != beevik.LeapNotInSync {
			t.Errorf("version %d: an unsynchronised clock is accepted: %+v", version, r)
		}
	}
}

func TestMeasurementFindsTheOffset(t *testing.T) {
	s := serve(t, shifted(0, 5*time.Millisecond))
	for _, ahead := range []time.Duration{0, 300 * time.Millisecond, -300 * time.Millisecond, 20 * 365 * 24 * time.Hour} {
		c := shifted(ahead, clock.MaxErrorLimit) // without a bound from the kernel
		k, l := checker(c, s)
		k.round(t.Context())
		now := c.Now()
		earliest, latest, ok := c.Quality(now).Bounds(now)
		if truth := now.Add(-ahead); !ok || truth.Before(earliest) || truth.After(latest) {
			t.Errorf("%v ahead: bounds from %v to %v, %v", ahead, now.Sub(latest), now.Sub(earliest), ok)
		}
		m, ok := c.Quality(now).Upstream()
		if !ok || m.Server != s.address || m.Stratum != 3 || m.RefID != [4]byte{127, 0, 0, 1} || m.Life != 8*time.Minute || m.Bound < 5*time.Millisecond || m.RootDelay <= 0 {
			t.Errorf("%v ahead: %+v", ahead, m)
		}
		if c.Quality(now).Synced() != (ahead < time.Hour) {
			t.Errorf("%v ahead: synced is %v", ahead, c.Quality(now).Synced())
		}
		if got := l.take(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "answers") {
			t.Errorf("logged: %s", got)
		}
	}
}

func TestContradictionIsLoggedOncePerChange(t *testing.T) {
	var ahead atomic.Int64
	ahead.Store(int64(200 * time.Millisecond))
	c := clock.New(clock.Config{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }, Kernel: state{MaxError: 10 * time.Millisecond}})
	s := serve(t, shifted(0, time.Millisecond))
	k, l := checker(c, s)
	trusted := func() bool { now := c.Now(); return c.Quality(now).Trusted(now, time.Hour) }
	if !trusted() {
		t.Fatal("the clock is not trusted before the first round")
	}
	for i := range 3 {
		k.round(t.Context())
		if got := l.take(); strings.Contains(got, "level=WARN") != (i == 0) {
			t.Errorf("round %d: logged: %s", i, got)
		}
		if trusted() {
			t.Error("a contradicted clock is trusted")
		}
	}
	ahead.Store(0) // to the monotonic clock this looks like a slew
	for i := range 3 {
		k.round(t.Context())
		if got := l.take(); (got != "") != (i == 0) {
			t.Errorf("round %d after the correction: logged: %s", i, got)
		}
		if !trusted() {
			t.Error("the clock is not trusted after the correction")
		}
	}
}

func TestFailureIsLoggedOncePerChange(t *testing.T) {
	a, b := serve(t, shifted(0, time.Millisecond)), serve(t, shifted(0, time.Millisecond))
	k, l := checker(shifted(0, time.Second), a, b)
	k.round(t.Context())
	l.take()
	k.timeout = 100 * time.Millisecond
	a.silent.Store(true)
	for i := range 3 {
		k.round(t.Context())
		if got := l.take(); strings.Contains(got, a.address) != (i == 0) {
			t.Errorf("round %d: logged: %s", i, got)
		}
	}
	k.timeout = 10 * time.Second
	a.silent.Store(false)
	for i := range 3 {
		k.round(t.Context())
		if got := l.take(); strings.Contains(got, a.address) != (i == 0) {
			t.Errorf("round %d after recovery: logged: %s", i, got)
		}
	}
}

func TestFalsetickerIsOutvoted(t *testing.T) {
	good := []*timeServer{serve(t, shifted(0, 5*time.Millisecond)), serve(t, shifted(0, 20*time.Millisecond))}
	liar := serve(t, shifted(time.Minute, time.Microsecond))
	c := shifted(0, time.Second)
	k, l := checker(c, liar, good[0], good[1])
	k.round(t.Context())
	m, ok := c.Quality(c.Now()).Upstream()
	if !ok || m.Server != good[0].address || m.Offset.Abs() > 50*time.Millisecond {
		t.Errorf("%+v, %v", m, ok)
	}
	if got := l.take(); !strings.Contains(got, "disagrees") || !strings.Contains(got, liar.address) {
		t.Errorf("logged: %s", got)
	}
}

// TestImplausibleAnswersAreIgnored: the first has a precision of 2^40 s, which overflows to
// 0 in the library. The second claims a processing time of 1,000 s in an exchange of
// microseconds, which leaves no round trip for the bound.
func TestImplausibleAnswersAreIgnored(t *testing.T) {
	for name, change := range map[string]func(answer []byte){
		"precision": func(answer []byte) { answer[3] = 40 },
		"processing": func(answer []byte) {
			binary.BigEndian.PutUint32(answer[40:], binary.BigEndian.Uint32(answer[40:])+1000)
		},
	} {
		s := serve(t, shifted(0, time.Microsecond))
		s.change.Store(&change)
		c := shifted(0, clock.MaxErrorLimit)
		k, l := checker(c, s)
		k.timeout = 200 * time.Millisecond
		k.round(t.Context())
		if m, ok := c.Quality(c.Now()).Upstream(); ok {
			t.Errorf("%s: measurement %+v, want none", name, m)
		}
		if got := l.take(); !strings.Contains(got, "implausible answer: a "+name) {
			t.Errorf("%s: logged: %s", name, got)
		}
	}
}

func TestTwoServersThatDisagreeAreIgnored(t *testing.T) {
	a, b := serve(t, shifted(0, time.Millisecond)), serve(t, shifted(time.Hour, time.Millisecond))
	c := shifted(0, time.Second)
	k, l := checker(c, a, b)
	for i := range 2 {
		k.round(t.Context())
		if got := l.take(); strings.Contains(got, "no majority") != (i == 0) {
			t.Errorf("round %d: logged: %s", i, got)
		}
	}
	if m, ok := c.Quality(c.Now()).Upstream(); ok {
		t.Errorf("measurement %+v, want none", m)
	}
}

func TestKissesAreHeeded(t *testing.T) {
	s := serve(t, shifted(0, time.Millisecond))
	k, l := checker(shifted(0, time.Second), s)
	rate, deny := "RATE", "DENY"
	s.kiss.Store(&rate)
	for range 10 { // asked, skipped for 1, asked, skipped for 2, asked, skipped for 4
		k.round(t.Context())
	}
	if n := s.asked.Load(); n != 3 {
		t.Errorf("asked %d times in 10 rounds", n)
	}
	s.kiss.Store(&deny)
	for range 10 {
		k.round(t.Context())
	}
	if n := s.asked.Load(); n != 4 {
		t.Errorf("asked %d times in 20 rounds, want 4: DENY was ignored", n)
	}
	for range maxSkip { // by then the name may resolve to another server
		k.round(t.Context())
	}
	if n := s.asked.Load(); n != 5 {
		t.Errorf("asked %d times after maxSkip more rounds, want 5", n)
	}
	if got := l.take(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "asks for fewer requests") || !strings.Contains(got, "backing off") {
		t.Errorf("logged: %s", got)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	s := serve(t, shifted(0, time.Millisecond))
	s.silent.Store(true)
	k, l := checker(shifted(0, time.Second), s)
	k.timeout = time.Hour // so that only the context ends the exchange
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); s.asked.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no server was asked")
		}
	}
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Run did not return")
	}
	if got := l.take(); got != "" {
		t.Errorf("logged: %s", got)
	}
}

func TestRunAsksAgain(t *testing.T) {
	s := serve(t, shifted(0, time.Millisecond))
	k, _ := checker(shifted(0, time.Second), s)
	k.Interval = 5 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { k.Run(ctx) })
	defer running.Wait()
	defer cancel()
	for deadline := time.Now().Add(10 * time.Second); s.asked.Load() < 5; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("asked %d times", s.asked.Load())
		}
	}
}

func TestPausesAreJittered(t *testing.T) {
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		d := jitter(100 * time.Second)
		least, most = min(least, d), max(most, d)
	}
	if least < 90*time.Second || least > 92*time.Second || most > 110*time.Second || most < 108*time.Second {
		t.Errorf("pauses from %v to %v, want 90s to 110s", least, most)
	}
}

func TestUnreachableServerIsAnError(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, address := range []string{"127.0.0.1:0", "no such host:123", "[::1", conn.LocalAddr().String()} {
		c := shifted(0, time.Second)
		k := New(Config{Servers: []string{address}, Interval: time.Minute, Clock: c, Logger: slog.New(slog.DiscardHandler)})
		k.timeout = 50 * time.Millisecond
		k.round(t.Context())
		if s := k.servers[0]; s.measurement != nil || s.err == nil || s.status != unusable {
			t.Errorf("%q: %+v, %v", address, s.measurement, s.err)
		}
	}
}

// TestServerNamedTwiceCountsOnce: two names or two spellings of one address do not give a
// server two votes.
func TestServerNamedTwiceCountsOnce(t *testing.T) {
	good, liar := serve(t, shifted(0, time.Millisecond)), serve(t, shifted(time.Hour, time.Millisecond))
	_, port, _ := net.SplitHostPort(liar.address)
	names := map[string]string{"a.example": liar.address, "b.example:123": liar.address}
	for _, servers := range [][]string{
		{good.address, liar.address, "[::ffff:127.0.0.1]:" + port},
		{good.address, liar.address, liar.address},
		{"a.example", good.address, "b.example:123"},
		{"b.example:123", good.address, liar.address},
	} {
		c, l := shifted(0, time.Second), &log{}
		k := New(Config{Servers: servers, Interval: time.Minute, Clock: c, Logger: slog.New(slog.NewTextHandler(l, nil))})
		k.timeout = 10 * time.Second
		k.resolve = func(ctx context.Context, address string) (netip.AddrPort, error) {
			if at, ok := names[address]; ok {
				address = at
			}
			return ntp.Resolve(ctx, address)
		}
		asked := liar.asked.Load()
		for range 3 {
			k.round(t.Context())
		}
		if m, ok := c.Quality(c.Now()).Upstream(); ok {
			t.Errorf("%v: measurement %+v, want none", servers, m)
		}
		if n := liar.asked.Load() - asked; n != 3 {
			t.Errorf("%v: asked %d times in 3 rounds", servers, n)
		}
		if got := l.take(); strings.Count(got, "configured twice") > 1 || !strings.Contains(got, "no majority") {
			t.Errorf("%v: logged: %s", servers, got)
		}
	}
}

// TestServerNamedTwiceCountsOnceIfItsLookUpFails: the name keeps the address of its last
// successful look-up.
func TestServerNamedTwiceCountsOnceIfItsLookUpFails(t *testing.T) {
	s := serve(t, shifted(0, time.Millisecond))
	var down atomic.Bool
	c := shifted(0, time.Second)
	k, l := checker(c, s)
	k.servers = append(k.servers, &server{address: "time.example"})
	k.resolve = func(ctx context.Context, address string) (netip.AddrPort, error) {
		if address == "time.example" && down.Load() {
			return netip.AddrPort{}, errors.New("no such host")
		}
		return ntp.Resolve(ctx, s.address)
	}
	for i := range 4 {
		down.Store(i > 0)
		k.round(t.Context())
		if got := l.take(); strings.Contains(got, "no majority") || strings.Contains(got, "configured twice") != (i == 0) {
			t.Errorf("round %d: logged: %s", i, got)
		}
	}
	if _, ok := c.Quality(c.Now()).Upstream(); !ok {
		t.Error("no measurement")
	}
}
