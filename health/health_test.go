package health

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"nowd/answer"
	"nowd/clock"
	"nowd/guard"
	"nowd/reactor"
	"nowd/tcp"
	"nowd/udp"
)

func newLoop(t *testing.T) *reactor.Loop {
	l, err := reactor.New(reactor.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// running returns a loop that runs.
func running(t *testing.T) *reactor.Loop {
	l := newLoop(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.Run(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		l.Stop()
		wg.Wait()
	})
	return l
}

// hold blocks a loop until release is called.
func hold(l *reactor.Loop) (release func()) {
	held, c := make(chan struct{}), make(chan struct{})
	l.Post(func() { close(held); <-c })
	<-held
	return func() { close(c) }
}

func get(t *testing.T, h http.Handler, method, path string) (int, string) {
	t.Helper()
	s := httptest.NewServer(h) // a real server, since it also handles HEAD
	defer s.Close()
	req, err := http.NewRequest(method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func TestLiveNamesTheLoopThatIsStuck(t *testing.T) {
	loops := []*reactor.Loop{running(t), running(t), running(t)}
	h := Handler(NewLoops(time.Second, loops), nil, NewMetrics(clock.New(clock.Config{}), "test", droppedLines(0)), slog.New(slog.DiscardHandler))
	if code, body := get(t, h, "GET", "/live"); code != 200 || !strings.Contains(body, `"loops": "OK"`) {
		t.Errorf("%d %s", code, body)
	}
	release := hold(loops[1])
	start := time.Now()
	code, body := get(t, h, "GET", "/live")
	if code != 503 || !strings.Contains(body, "loop 1: no answer for 1") || strings.Contains(body, "loop 0") {
		t.Errorf("%d %s", code, body)
	}
	if took := time.Since(start); took < time.Second {
		t.Errorf("/live failed after %v, want at least 1s", took)
	}
	release()
	if code, body := get(t, h, "GET", "/live"); code != 200 {
		t.Errorf("after the loop was released: %d %s", code, body)
	}
}

func TestManyProbesAtOnce(t *testing.T) {
	c := NewLoops(5*time.Second, []*reactor.Loop{running(t), running(t)})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				if err := c.Check(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestReadyHasItsChecksBesides(t *testing.T) {
	var bound error = errors.New("address already in use")
	h := Handler(NewLoops(time.Second, []*reactor.Loop{running(t)}), []Check{
		{"udp 0.0.0.0:3333", func() error { return bound }},
		{"shutdown", func() error { return nil }},
	}, NewMetrics(clock.New(clock.Config{}), "test", droppedLines(0)), slog.New(slog.DiscardHandler))
	if code, body := get(t, h, "GET", "/ready"); code != 503 || !strings.Contains(body, `"udp 0.0.0.0:3333": "address already in use"`) {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := get(t, h, "GET", "/live"); code != 200 {
		t.Errorf("/live is %d", code)
	}
	bound = nil
	if code, body := get(t, h, "GET", "/ready"); code != 200 || strings.Count(body, "OK") != 3 {
		t.Errorf("%d %s", code, body)
	}
}

func TestMethods(t *testing.T) {
	h := Handler(NewLoops(time.Second, []*reactor.Loop{running(t)}), nil, NewMetrics(clock.New(clock.Config{}), "test", droppedLines(0)), slog.New(slog.DiscardHandler))
	for _, path := range []string{"/live", "/ready", "/metrics"} {
		if code, body := get(t, h, "HEAD", path); code != 200 || body != "" {
			t.Errorf("HEAD %s: %d %q", path, code, body)
		}
	}
	for _, path := range []string{"/live", "/ready", "/metrics"} {
		if code, _ := get(t, h, "POST", path); code != 405 {
			t.Errorf("POST %s: %d", path, code)
		}
	}
	if code, _ := get(t, h, "GET", "/elsewhere"); code != 404 {
		t.Errorf("an unknown path: %d", code)
	}
}

// droppedLines is a LogStats with this number of dropped lines.
type droppedLines uint64

func (n droppedLines) Dropped() uint64 { return uint64(n) }

func metrics(t *testing.T) *Metrics {
	m := NewMetrics(clock.New(clock.Config{}), "1.2.3", droppedLines(7))
	var u []UDPStats
	var c []TCPStats
	for range 2 {
		l := newLoop(t)
		m.AddLoop(l)
		u, c = append(u, udp.NewCounters(l)), append(c, tcp.NewCounters(l))
	}
	m.AddUDP("udp", answer.TextForms(), u)
	m.AddTCP("tcp", answer.TextForms(), c)
	return m
}

func TestMetricsKeepToTheConventions(t *testing.T) {
	problems, err := testutil.GatherAndLint(registry(metrics(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestEverySeriesIsThereFromTheStart(t *testing.T) {
	_, body := get(t, Handler(NewLoops(time.Second, []*reactor.Loop{}), nil, metrics(t), slog.New(slog.DiscardHandler)), "GET", "/metrics")
	want := []string{
		`nowd_build_info{goversion="go`, `version="1.2.3"} 1`,
		`nowd_requests_total{protocol="udp"} 0`, `nowd_requests_total{protocol="tcp"} 0`,
		`nowd_answers_total{form="error",protocol="tcp"} 0`,
		`nowd_drops_total{protocol="udp",reason="send_error"} 0`,
		`nowd_connections_open{protocol="tcp"} 0`, `nowd_connections_total{protocol="tcp"} 0`,
		`nowd_receive_errors_total{protocol="udp"} 0`, `nowd_receive_errors_total{protocol="tcp"} 0`, `nowd_receive_overflows_total{protocol="udp"} 0`,
		`nowd_sender_replacements_total{protocol="udp"} 0`, "nowd_log_lines_dropped_total 7",
		`nowd_loop_panics_total{loop="1"} 0`, `nowd_loop_turns_total{loop="0"}`,
		`nowd_loop_handler_duration_seconds_bucket{loop="0",le="+Inf"}`, `nowd_loop_handler_duration_max_seconds{loop="1"}`,
		`nowd_clock_synced `, `nowd_clock_steps_total 0`,
		"go_goroutines ", "process_resident_memory_bytes ",
	}
	for _, f := range answer.Words() {
		want = append(want, `nowd_answers_total{form="`+f+`",protocol="udp"} 0`, `nowd_answers_total{form="`+f+`",protocol="tcp"} 0`)
	}
	for _, reason := range []string{
		"source_port", "own_port", "source_address", "destination_address", "short", "own_answer", "reply_loop", "rate_limit", "total_limit",
		"invalid", "untrusted", "send_error",
	} {
		want = append(want, `nowd_drops_total{protocol="udp",reason="`+reason+`"} 0`)
	}
	for _, reason := range []string{"refused", "idle", "evicted", "stalled", "over_budget", "failed", "untrusted"} {
		want = append(want, `nowd_connections_closed_total{protocol="tcp",reason="`+reason+`"} 0`)
	}
	for _, w := range want {
		if !strings.Contains(body, w) {
			t.Errorf("/metrics lacks %s", w)
		}
	}
	for series, n := range map[string]int{"nowd_requests_total{": 2, "nowd_answers_total{": 2*9 + 1, "nowd_drops_total{": 12, "nowd_connections_closed_total{": 7, "nowd_receive_errors_total{": 2, "nowd_receive_overflows_total{": 1, "nowd_sender_replacements_total{": 1, "nowd_log_lines_dropped_total ": 1} {
		if got := strings.Count(body, "\n"+series); got != n {
			t.Errorf("%d series %s, want %d", got, series, n)
		}
	}
}

// fixedUDP and fixedTCP are fixed counters.
type (
	fixedUDP udp.Stats
	fixedTCP tcp.Stats
)

func (s fixedUDP) Stats() udp.Stats { return udp.Stats(s) }
func (s fixedTCP) Stats() tcp.Stats { return tcp.Stats(s) }

func TestLoopsAreAddedUp(t *testing.T) {
	m := NewMetrics(clock.New(clock.Config{}), "", droppedLines(0))
	u := fixedUDP{Requests: 3, NoRequest: 5, Untrusted: 6, SendErrors: 7, Replacements: 8}
	u.Answers[answer.Unix], u.Drops[guard.Short] = 2, 4
	c := fixedTCP{Accepted: 1, HTTPErrors: 2, Open: 3, Evicted: 4}
	c.Answers[answer.Unix] = 5
	m.AddUDP("udp", []answer.Form{answer.Unix}, []UDPStats{u, u})
	m.AddTCP("tcp", []answer.Form{answer.Unix}, []TCPStats{c, c, c})
	err := testutil.CollectAndCompare(m, strings.NewReader(`
# HELP nowd_answers_total Answers sent, by form. The form error is an HTTP answer without a time.
# TYPE nowd_answers_total counter
nowd_answers_total{form="error",protocol="tcp"} 6
nowd_answers_total{form="unix",protocol="tcp"} 15
nowd_answers_total{form="unix",protocol="udp"} 4
# HELP nowd_connections_closed_total Connections that nowd closed or that failed, by reason.
# TYPE nowd_connections_closed_total counter
nowd_connections_closed_total{protocol="tcp",reason="evicted"} 12
nowd_connections_closed_total{protocol="tcp",reason="failed"} 0
nowd_connections_closed_total{protocol="tcp",reason="idle"} 0
nowd_connections_closed_total{protocol="tcp",reason="over_budget"} 0
nowd_connections_closed_total{protocol="tcp",reason="refused"} 0
nowd_connections_closed_total{protocol="tcp",reason="stalled"} 0
nowd_connections_closed_total{protocol="tcp",reason="untrusted"} 0
# HELP nowd_connections_open Open connections.
# TYPE nowd_connections_open gauge
nowd_connections_open{protocol="tcp"} 9
# HELP nowd_connections_total Connections accepted.
# TYPE nowd_connections_total counter
nowd_connections_total{protocol="tcp"} 3
# HELP nowd_drops_total Requests not answered, by reason.
# TYPE nowd_drops_total counter
nowd_drops_total{protocol="udp",reason="destination_address"} 0
nowd_drops_total{protocol="udp",reason="invalid"} 10
nowd_drops_total{protocol="udp",reason="own_answer"} 0
nowd_drops_total{protocol="udp",reason="own_port"} 0
nowd_drops_total{protocol="udp",reason="rate_limit"} 0
nowd_drops_total{protocol="udp",reason="reply_loop"} 0
nowd_drops_total{protocol="udp",reason="send_error"} 14
nowd_drops_total{protocol="udp",reason="short"} 8
nowd_drops_total{protocol="udp",reason="source_address"} 0
nowd_drops_total{protocol="udp",reason="source_port"} 0
nowd_drops_total{protocol="udp",reason="total_limit"} 0
nowd_drops_total{protocol="udp",reason="untrusted"} 12
# HELP nowd_requests_total Requests received: datagrams over UDP, answered requests over TCP.
# TYPE nowd_requests_total counter
nowd_requests_total{protocol="tcp"} 21
nowd_requests_total{protocol="udp"} 6
# HELP nowd_sender_replacements_total Replacements of a sending socket whose send buffer stayed full.
# TYPE nowd_sender_replacements_total counter
nowd_sender_replacements_total{protocol="udp"} 16
`), "nowd_sender_replacements_total", "nowd_requests_total", "nowd_answers_total", "nowd_drops_total", "nowd_connections_total", "nowd_connections_open", "nowd_connections_closed_total")
	if err != nil {
		t.Error(err)
	}
}

// state is a clock.Kernel with a fixed state.
type state struct {
	is  clock.State
	err error
}

func (s state) State() (clock.State, error) { return s.is, s.err }

func TestClockMetricsAreInSeconds(t *testing.T) {
	good := state{is: clock.State{MaxError: 2500 * time.Microsecond, EstError: time.Millisecond, Offset: -500 * time.Microsecond}}
	m := NewMetrics(clock.New(clock.Config{Now: time.Now, Kernel: good}), "", droppedLines(0))
	err := testutil.CollectAndCompare(m, strings.NewReader(`
# HELP nowd_clock_estimated_error_seconds Estimated error of the clock, according to the kernel.
# TYPE nowd_clock_estimated_error_seconds gauge
nowd_clock_estimated_error_seconds 0.001
# HELP nowd_clock_max_error_seconds Upper bound on the error of the clock, according to the kernel.
# TYPE nowd_clock_max_error_seconds gauge
nowd_clock_max_error_seconds 0.0025
# HELP nowd_clock_offset_seconds Offset that the kernel still has to slew.
# TYPE nowd_clock_offset_seconds gauge
nowd_clock_offset_seconds -0.0005
# HELP nowd_clock_synced 1 if the clock is synchronised according to the kernel and the upstream, 0 if not.
# TYPE nowd_clock_synced gauge
nowd_clock_synced 1
`), "nowd_clock_synced", "nowd_clock_max_error_seconds", "nowd_clock_estimated_error_seconds", "nowd_clock_offset_seconds")
	if err != nil {
		t.Error(err)
	}
	unknown := NewMetrics(clock.New(clock.Config{Now: time.Now, Kernel: state{err: clock.ErrUnsupported}}), "", droppedLines(0))
	if n := testutil.CollectAndCount(unknown, "nowd_clock_max_error_seconds"); n != 0 {
		t.Error("there is a metric of an unknown error bound")
	}
}
