//go:build linux

package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAllMistakesInSettingsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	mistakes := []string{
		"NOWD_UDP_LISTEN=3333",
		"NOWD_TCP_LISTEN=127.0.0.1:70000",
		"TZ=Mars/Olympus",
		"NOWD_FORMAT=sundial",
		"NOWD_NEWLINE=perhaps",
		"NOWD_LOOPS=0",
		"NOWD_POLLER=kqueue",
		"NOWD_TCP_FRAMING=packet",
		"NOWD_TCP_MAX_CONNS=-1",
		"NOWD_TCP_IDLE_TIMEOUT=soon",
		"NOWD_TCP_WRITE_TIMEOUT=-1s",
		"NOWD_TCP_NODELAY=2",
		"NOWD_RATE_LIMIT=some",
		"NOWD_RATE_BURST=0",
		"NOWD_REQUIRE_SYNC=2",
		"NOWD_CLOCK_MAX_ERROR=0s",
		"NOWD_LIVENESS_TIMEOUT=500",
		"NOWD_DRAIN_DELAY=-1s",
		"NOWD_SHUTDOWN_TIMEOUT=-1s",
		"NOWD_LOG_LEVEL=loud",
		"NOWD_LOG_FORMAT=xml",
	}
	for _, command := range []string{"serve", "config", "healthcheck"} {
		r := run(t, append(mistakes, "NOWD_HEALTH_LISTEN=127.0.0.1:"+freePort(t)), command)
		if r.status != 2 {
			t.Errorf("nowd %s: exit status %d, want 2", command, r.status)
		}
		for _, mistake := range mistakes {
			name, value, _ := strings.Cut(mistake, "=")
			if want := name + `="` + value + `": want `; strings.Count(r.stderr, want) != 1 {
				t.Errorf("nowd %s does not say %s... once", command, want)
			}
		}
		if strings.Contains(r.stderr, "NOWD_HEALTH_LISTEN") || strings.Contains(r.stderr, "listening") {
			t.Errorf("nowd %s says\n%s", command, r.stderr)
		}
	}
}

func TestUnknownSettingsAreWarnedOfButForThoseOfKubernetes(t *testing.T) {
	t.Parallel()
	unknown := []string{"NOWD_FOO", "NOWD_TCP_LISTENS", "NOWD_"}
	injected := []string{ // by Kubernetes, for Services of the names nowd and nowd-udp
		"NOWD_SERVICE_HOST", "NOWD_SERVICE_PORT", "NOWD_SERVICE_PORT_TIME_UDP",
		"NOWD_PORT", "NOWD_PORT_3333_UDP", "NOWD_PORT_3333_UDP_ADDR", "NOWD_PORT_3333_UDP_PORT", "NOWD_PORT_3333_UDP_PROTO",
		"NOWD_UDP_SERVICE_HOST", "NOWD_UDP_SERVICE_PORT", "NOWD_UDP_PORT", "NOWD_UDP_PORT_3333_UDP",
	}
	var env []string
	for _, name := range append(unknown, injected...) {
		env = append(env, name+"=1")
	}
	env = append(env, "OTHER=1", "XNOWD_FOO=1")
	n := start(t, env...)
	var warned []string
	for line := range strings.Lines(n.stderr.String()) {
		if strings.Contains(line, "level=WARN") {
			warned = append(warned, line)
		}
	}
	if len(warned) != len(unknown) {
		t.Errorf("%d warnings, want %d:\n%s", len(warned), len(unknown), strings.Join(warned, ""))
	}
	for _, name := range unknown {
		if !strings.Contains(n.stderr.String(), "variable="+name+"\n") {
			t.Errorf("there is no warning about %s", name)
		}
	}
}

func TestEmptySettingIsTheDefault(t *testing.T) {
	t.Parallel()
	n := start(t, "NOWD_FORMAT=", "NOWD_LOOPS=", "NOWD_POLLER=", "NOWD_TCP_IDLE_TIMEOUT=")
	n.checkTime(t, "udp")
	n.checkTime(t, "tcp")
}

func TestWhatIsOffIsNotServed(t *testing.T) {
	t.Parallel()
	for _, off := range []string{"udp", "tcp"} {
		t.Run(off, func(t *testing.T) {
			t.Parallel()
			addr := "127.0.0.1:" + freePort(t)
			n := start(t, "NOWD_"+strings.ToUpper(off)+"_LISTEN=off", "NOWD_"+strings.ToUpper(other(off))+"_LISTEN="+addr)
			n.checkTime(t, other(off))
			take(t, off, addr) // it is free
			if _, said, err := n.get("/ready", patience); err != nil || strings.Contains(said, off+" ") {
				t.Errorf("/ready says %s, %v", said, err)
			}
		})
	}
	t.Run("health", func(t *testing.T) {
		t.Parallel()
		n := launch(t, "NOWD_HEALTH_LISTEN=off")
		n.awaitLog(t, "listening protocol=tcp")
		n.checkTime(t, "tcp")
		if log := n.stderr.String(); strings.Contains(log, "network=health") {
			t.Errorf("the log says\n%s", log)
		}
	})
}

func other(network string) string {
	if network == "udp" {
		return "tcp"
	}
	return "udp"
}

func TestUntrustedClockMakesUnreadyOnlyIfAsked(t *testing.T) {
	t.Parallel()
	start(t, "NOWD_CLOCK_MAX_ERROR=1ns") // it becomes ready
	n := launch(t, "NOWD_CLOCK_MAX_ERROR=1ns", "NOWD_REQUIRE_SYNC=true")
	if said := n.awaitReady(t, http.StatusServiceUnavailable); !strings.Contains(said, "clock") {
		t.Errorf("/ready does not say why: %s", said)
	}
	n.awaitLog(t, "listening protocol=tcp")
	n.checkTime(t, "tcp")
	if status, said, err := n.get("/live", patience); status != http.StatusOK {
		t.Errorf("/live is %d, %v: %s", status, err, said)
	}
}

func TestLogIsJSONIfAsked(t *testing.T) {
	t.Parallel()
	n := start(t, "NOWD_LOG_FORMAT=json")
	n.awaitLog(t, `"msg":"listening"`)
	for line := range strings.Lines(n.stderr.String()) {
		if !strings.HasPrefix(line, `{"time":`) {
			t.Errorf("logged %s", line)
		}
	}
	quiet := start(t, "NOWD_LOG_LEVEL=error")
	quiet.signal(t, syscall.SIGTERM)
	if status := quiet.wait(t); status != 0 || quiet.stderr.String() != "" {
		t.Errorf("exit status %d, logged at level error: %s", status, quiet.stderr.String())
	}
}

func TestSourceOverItsRateIsDroppedOverUDPAlone(t *testing.T) {
	t.Parallel()
	const asked, burst = 300, 100
	n := start(t, "NOWD_RATE_LIMIT=1", fmt.Sprintf("NOWD_RATE_BURST=%d", burst))
	conn := dial(t, "udp", n.udp)
	began := time.Now()
	for range asked {
		if _, err := io.WriteString(conn, "hello"); err != nil {
			t.Fatal(err)
		}
	}
	n.awaitMetric(t, `nowd_requests_total{protocol="udp"}`, asked)
	// Over the limit nowd answers up to a quarter of the burst more, by chance, and one datagram a second.
	most := float64(asked - burst)
	least := most - burst/4 - 1 - time.Since(began).Seconds()
	if got := n.metric(t, `nowd_drops_total{protocol="udp",reason="rate_limit"}`); got < least || got > most {
		t.Errorf("%v of %d were dropped, want %v to %v", got, asked, least, most)
	}
	stream := dial(t, "tcp", n.tcp)
	for range asked {
		if _, err := exchange(stream, "hello\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// A client that asks as soon as it is answered looks like a service in a reply loop, until it asks again.
func TestPromptClientsLoseAtMostOneAnswerInAThousand(t *testing.T) {
	t.Parallel()
	n := start(t)
	const asked, atMost = 2500, 1000 // below the burst
	const withheld = `nowd_drops_total{protocol="udp",reason="reply_loop"}`
	t.Run("nowd query", func(t *testing.T) {
		// Each request has a source port of its own.
		if r := run(t, nil, "query", "-n", fmt.Sprint(asked), "-i", "0", "-timeout", "10s", n.udp); r.status != 0 || strings.Count(r.stdout, "round trip") < asked {
			t.Errorf("exit status %d, %d answers to %d requests\n%s", r.status, strings.Count(r.stdout, "round trip"), asked, r.stderr)
		}
		n.awaitMetric(t, withheld, 0)
	})
	n = start(t)
	t.Run("one socket", func(t *testing.T) {
		conn := dial(t, "udp", n.udp)
		for range asked {
			for try := 1; ; try++ {
				_ = conn.SetDeadline(time.Now().Add(time.Second))
				if _, err := exchange(conn, "hello"); err == nil {
					break
				} else if try == 5 {
					t.Fatal(err)
				}
			}
		}
		if got := n.metric(t, withheld); got > asked/atMost {
			t.Errorf("%v answers of %d are withheld, want one in %d at most", got, asked, atMost)
		}
	})
}
