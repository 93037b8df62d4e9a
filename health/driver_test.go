package health

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"nowd/reactor"
	"nowd/xdp"
)

// fixedDriver is a DriverStats with fixed counters.
type fixedDriver struct{ attached bool }

func (d fixedDriver) String() string { return "eth0,generic" }
func (d fixedDriver) Attached() bool { return d.attached }
func (d fixedDriver) Stats(p xdp.Protocol) xdp.Stats {
	return xdp.Stats{Answers: 10 * uint64(p), Stale: uint64(p), SourcePort: 5}
}

func TestDriverIsShownIfThereIsOne(t *testing.T) {
	series := []string{
		`nowd_xdp_attached{interface="eth0,generic"} 1`,
		`nowd_xdp_answers_total{protocol="udp"} 10`, `nowd_xdp_answers_total{protocol="ntp"} 20`,
		`nowd_xdp_stale_total{protocol="udp"} 1`, `nowd_xdp_stale_total{protocol="ntp"} 2`,
	}
	for _, there := range []bool{false, true} {
		m := metrics(t)
		if there {
			m.AddDriver(fixedDriver{attached: true})
		}
		h := Handler(NewLoops(time.Second, []*reactor.Loop{}), nil, m, slog.New(slog.DiscardHandler))
		_, body := get(t, h, "GET", "/metrics")
		for _, s := range series {
			if strings.Contains(body, s+"\n") != there {
				t.Errorf("with a driver: %v; %s", there, s)
			}
		}
		if !there && strings.Contains(body, "xdp") {
			t.Error("there are metrics of XDP without a driver")
		}
		_, body = get(t, h, "GET", "/status")
		var s status
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			t.Fatal(err)
		}
		if want := (driverStatus{"eth0,generic", true, 30, 3}); there && *s.Driver != want || !there && s.Driver != nil {
			t.Errorf("%+v", s.Driver)
		}
	}
}
