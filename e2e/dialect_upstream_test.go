//go:build linux

package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/beevik/ntp"
)

// If the kernel knows no error bound, the comparison with a server gives it.
func TestUpstreamVouchesForAClockThatTheKernelKnowsNothingOf(t *testing.T) {
	t.Parallel()
	server := speak(t, nil, synced)
	p := speak(t, nil, unsynced, "NOWD_REQUIRE_SYNC=true", "NOWD_UPSTREAM="+server.ntp, "NOWD_UPSTREAM_INTERVAL=1s")
	p.awaitReady(t, http.StatusOK)
	off, status := p.bound(t)
	if status != "synced" || off < synced.MaxError || off > 10*synced.MaxError {
		t.Errorf("bound says ±%v and %q, but its upstream's clock has ±%v", off, status, synced.MaxError)
	}
	p.checkSays(t, "daytime", p.daytime, verifyDaytime, false)
	r, err := ntp.QueryWithOptions(p.ntp, ntp.QueryOptions{Timeout: patience})
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.Stratum != 11 || r.ReferenceString() != "127.0.0.1" || r.RootDelay <= 0 || r.RootDispersion+r.RootDelay/2 < synced.MaxError {
		t.Errorf("stratum %d, reference id %s, root delay %v, root dispersion %v",
			r.Stratum, r.ReferenceString(), r.RootDelay, r.RootDispersion)
	}
}

// An upstream server exposes a clock that claims an error of at most 5 ms and is off by more.
func TestUpstreamContradictsAClockThatIsWrong(t *testing.T) {
	t.Parallel()
	server := speak(t, nil, synced)
	wrong := synced
	wrong.Shift = time.Second
	p := speak(t, nil, wrong, "NOWD_REQUIRE_SYNC=true", "NOWD_UPSTREAM="+server.ntp, "NOWD_UPSTREAM_INTERVAL=1s")
	p.awaitReady(t, http.StatusServiceUnavailable)
	off, status := p.bound(t)
	if status != "unsynced" || 2*off < wrong.Shift { // either claim can be true, or any time between
		t.Errorf("the bound of a clock that is off by %[3]v is %[1]v wide, and %[2]q", 2*off, status, wrong.Shift)
	}
	p.checkSays(t, "time", p.time, verifyTime, true)
	r, err := ntp.QueryWithOptions(p.ntp, ntp.QueryOptions{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	if r.Leap != ntp.LeapNotInSync || r.Validate() == nil {
		t.Errorf("NTP says leap %d and stratum %d", r.Leap, r.Stratum)
	}
	if contradicted := p.metric(t, "nowd_clock_contradicted"); contradicted != 1 {
		t.Errorf("nowd_clock_contradicted is %v", contradicted)
	}
}
