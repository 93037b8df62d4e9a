package health

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"nowd/clock"
	"nowd/reactor"
)

type kernel clock.State

func (k kernel) State() (clock.State, error) { return clock.State(k), nil }

func TestStatusHasClockChecksLoopsAndProtocols(t *testing.T) {
	m := metrics(t)
	m.clock = clock.New(clock.Config{Now: time.Now, Kernel: kernel{MaxError: 5 * time.Millisecond}})
	h := Handler(NewLoops(time.Second, []*reactor.Loop{running(t)}), []Check{
		{"udp 0.0.0.0:3333", func() error { return errors.New("address already in use") }},
	}, m, slog.New(slog.DiscardHandler))
	before := time.Now()
	_, body := get(t, h, "GET", "/status")
	var s status
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if at := time.Unix(0, s.Clock.UnixNS); at.Before(before.Round(0)) || at.After(time.Now()) {
		t.Errorf("the time is %v", at)
	}
	c := s.Clock
	if !c.Synced || c.EarlyNS == nil || *c.EarlyNS > -5e6 || *c.LateNS < 5e6 || *c.LateNS > 10e6 {
		t.Errorf("%s", body)
	}
	if len(s.Checks) != 2 || s.Checks[0] != (checkStatus{"loops", ""}) || s.Checks[1].Error != "address already in use" {
		t.Errorf("%+v", s.Checks)
	}
	if len(s.Loops) != 2 || len(s.Protocols) != 2 || s.Protocols[0].Open != nil || s.Protocols[1].Open == nil {
		t.Errorf("%s", body)
	}
}

func TestStatusOfAClockWithoutABoundHasNulls(t *testing.T) {
	m := metrics(t)
	m.clock = clock.New(clock.Config{Now: time.Now, Kernel: kernel{MaxError: clock.MaxErrorLimit}})
	_, body := get(t, Handler(NewLoops(time.Second, []*reactor.Loop{}), nil, m, slog.New(slog.DiscardHandler)), "GET", "/status")
	if !strings.Contains(body, `"early_ns":null,"late_ns":null,"synced":false`) {
		t.Error(body)
	}
}

// TestPageNeedsNothingElse: the page loads nothing from other hosts, and its policy tells
// the browser so.
func TestPageNeedsNothingElse(t *testing.T) {
	h := Handler(NewLoops(time.Second, []*reactor.Loop{}), nil, metrics(t), slog.New(slog.DiscardHandler))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	body := w.Body.String()
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
		t.Errorf("%d, %v", w.Code, w.Header())
	}
	if policy := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") {
		t.Errorf("policy %q", policy)
	}
	for _, no := range []string{"http://", "https://", "src=", "@import", "url("} {
		if strings.Contains(body, no) {
			t.Errorf("the page has %q in it", no)
		}
	}
}
