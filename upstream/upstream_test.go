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

// state is a kernel in it.
type state clock.State

func (s state) State() (clock.State, error) { return clock.State(s), nil }

// shifted returns a clock that is ahead of the host's, of which the kernel says
// that it is right to within maxError.
func shifted(ahead, maxError time.Duration) *clock.Clock {
	return clock.New(clock.Config{Now: func() time.Time { return time.Now().Add(ahead) }, Kernel: state{MaxError: maxError}})
}

// timeServer is an NTP server on loopback, which can be told to misbehave.
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

// log collects what is logged.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// take returns what was logged since it was called last.
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
	k.timeout = 10 * time.Second // those that are to answer do; the host may be slow
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
			t.Errorf("version %d: an offset of %v to the same clock, %v away", version, r.ClockOffset, r.RootDistance)
		}
		if r, err := ask(shifted(0, clock.MaxErrorLimit), version); err == nil || r.Leap != beevik.LeapNotInSync {
			t.Errorf("version %d: a clock that is not synchronised passes: %+v", version, r)
		}
	}
}

func TestMeasurementFindsTheOffset(t *testing.T) {
	s := serve(t, shifted(0, 5*time.Millisecond))
	for _, ahead := range []time.Duration{0, 300 * time.Millisecond, -300 * time.Millisecond, 20 * 365 * 24 * time.Hour} {
		c := shifted(ahead, clock.MaxErrorLimit) // of which the kernel says nothing
		k, l := checker(c, s)
		k.round(t.Context())
		now := c.Now()
		earliest, latest, ok := c.Quality(now).Bounds(now)
		if truth := now.Add(-ahead); !ok || truth.Before(earliest) || truth.After(latest) {
			t.Errorf("%v ahead: said to be from %v to %v, %v", ahead, now.Sub(latest), now.Sub(earliest), ok)
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
		t.Fatal("not trusted before it is checked")
	}
	for i := range 3 {
		k.round(t.Context())
		if got := l.take(); strings.Contains(got, "level=WARN") != (i == 0) {
			t.Errorf("round %d: logged: %s", i, got)
		}
		if trusted() {
			t.Error("a clock that is contradicted is trusted")
		}
	}
	ahead.Store(0) // slewed, for all that the monotonic clock says
	for i := range 3 {
		k.round(t.Context())
		if got := l.take(); (got != "") != (i == 0) {
			t.Errorf("round %d, set right: logged: %s", i, got)
		}
		if !trusted() {
			t.Error("not trusted again")
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
			t.Errorf("round %d, answering again: logged: %s", i, got)
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

// TestImplausibleAnswersTeachNothing: the first has a precision of 2^40 s, which the
// library's arithmetic makes 0. The second claims that the server took 1,000 s of an
// exchange of microseconds, which leaves no round trip for the bound.
func TestImplausibleAnswersTeachNothing(t *testing.T) {
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
			t.Errorf("%s: learnt %+v", name, m)
		}
		if got := l.take(); !strings.Contains(got, "implausible answer: a "+name) {
			t.Errorf("%s: logged: %s", name, got)
		}
	}
}

func TestTwoThatDisagreeTeachNothing(t *testing.T) {
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
		t.Errorf("learnt %+v", m)
	}
}

func TestKissesAreHeeded(t *testing.T) {
	s := serve(t, shifted(0, time.Millisecond))
	k, l := checker(shifted(0, time.Second), s)
	rate, deny := "RATE", "DENY"
	s.kiss.Store(&rate)
	for range 10 { // asked, left alone for 1, asked, for 2, asked, for 4
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
		t.Errorf("asked %d times, in spite of DENY", n)
	}
	for range maxSkip { // its name may stand for another one by then
		k.round(t.Context())
	}
	if n := s.asked.Load(); n != 5 {
		t.Errorf("asked %d times, though a long time has passed", n)
	}
	if got := l.take(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "asked too often") || !strings.Contains(got, "backing off") {
		t.Errorf("logged: %s", got)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	s := serve(t, shifted(0, time.Millisecond))
	s.silent.Store(true)
	k, l := checker(shifted(0, time.Second), s)
	k.timeout = time.Hour // it is the context that ends the question
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); s.asked.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody is asked")
		}
	}
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on")
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
		t.Errorf("from %v to %v", least, most)
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

// TestServerNamedTwiceCountsOnce: a falseticker cannot outvote an honest server by
// having two names, or by being spelt in two ways. An honest one by two names decides
// nothing either.
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
			t.Errorf("%v: learnt %+v", servers, m)
		}
		if n := liar.asked.Load() - asked; n != 3 {
			t.Errorf("%v: asked %d times in 3 rounds", servers, n)
		}
		if got := l.take(); strings.Count(got, "given twice") > 1 || !strings.Contains(got, "no majority") {
			t.Errorf("%v: logged: %s", servers, got)
		}
	}
}

// A name that cannot be looked up for a while is still the server that it was.
func TestServerNamedTwiceCountsOnceWithoutItsName(t *testing.T) {
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
		if got := l.take(); strings.Contains(got, "no majority") || strings.Contains(got, "given twice") != (i == 0) {
			t.Errorf("round %d: logged: %s", i, got)
		}
	}
	if _, ok := c.Quality(c.Now()).Upstream(); !ok {
		t.Error("learnt nothing")
	}
}
