//go:build linux

package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// take takes an address as another program would.
func take(t *testing.T, network, addr string) io.Closer {
	t.Helper()
	var c io.Closer
	var err error
	if network == "udp" {
		c, err = net.ListenPacket(network, addr)
	} else {
		c, err = (&net.ListenConfig{}).Listen(context.Background(), network, addr)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestTakenAddressIsWaitedForAndCostsNothing(t *testing.T) {
	t.Parallel()
	for _, taken := range [][]string{{"udp"}, {"tcp"}, {"udp", "tcp"}} {
		for _, c := range configurations {
			t.Run(strings.Join(taken, " and ")+" "+c.name, func(t *testing.T) {
				t.Parallel()
				addr := "127.0.0.1:" + freePort(t)
				var others []io.Closer
				for _, network := range taken {
					others = append(others, take(t, network, addr))
				}
				n := launch(t, append(c.env, "NOWD_UDP_LISTEN="+addr, "NOWD_TCP_LISTEN="+addr)...)
				said := n.awaitReady(t, http.StatusServiceUnavailable)
				for _, network := range taken {
					if want := network + " " + addr; !strings.Contains(said, want) {
						t.Errorf("/ready does not name %s: %s", want, said)
					}
				}
				if status, said, err := n.get("/live", patience); status != http.StatusOK {
					t.Errorf("/live is %d, %v: %s", status, err, said)
				}
				// nowd serves at the free addresses.
				for _, network := range []string{"udp", "tcp"} {
					if !strings.Contains(strings.Join(taken, " "), network) {
						n.checkTime(t, network)
					}
				}

				// One percent, for long enough that the backoff reaches its greatest pause.
				const watch, limit = 3500 * time.Millisecond, 35 * time.Millisecond
				before := cpuTime(t, n.pid())
				time.Sleep(watch)
				if took := cpuTime(t, n.pid()) - before; took > limit {
					t.Errorf("%v of CPU in %v of waiting for an address", took, watch)
				}
				if got := strings.Count(n.stderr.String(), "cannot listen"); got != len(taken) {
					t.Errorf("nowd logs %d times that an address is in use, want once for each of %q", got, taken)
				}

				for _, other := range others {
					other.Close()
				}
				freed := time.Now()
				n.awaitReady(t, http.StatusOK)
				for _, network := range taken {
					n.checkTime(t, network)
				}
				if took := time.Since(freed); took > 2*time.Second {
					t.Errorf("served %v after the address became free", took)
				}
			})
		}
	}
}

// nowd's loops share addresses. A second nowd must not join them: it would get a part of the requests.
func TestSecondServiceGetsNoShareOfTheFirstOnes(t *testing.T) {
	t.Parallel()
	addr := "127.0.0.1:" + freePort(t)
	env := []string{"NOWD_LOOPS=2", "NOWD_UDP_LISTEN=" + addr, "NOWD_TCP_LISTEN=" + addr}
	first := start(t, env...)
	second := launch(t, env...)
	said := second.awaitReady(t, http.StatusServiceUnavailable)
	for _, network := range []string{"udp", "tcp"} {
		if want := network + " " + addr; !strings.Contains(said, want) {
			t.Errorf("/ready of the second nowd does not name %s: %s", want, said)
		}
		eventually(t, patience, func() error {
			if want := network + " " + addr + ": bind: address already in use"; !strings.Contains(second.stderr.String(), want) {
				return fmt.Errorf("the second nowd does not log %q", want)
			}
			return nil
		})
	}
	const asked = 100
	for range asked {
		first.checkTime(t, "udp")
		first.checkTime(t, "tcp")
	}
	for _, network := range []string{"udp", "tcp"} {
		first.awaitMetric(t, fmt.Sprintf(`nowd_requests_total{protocol=%q}`, network), asked)
	}

	// The second nowd takes over.
	first.signal(t, syscall.SIGTERM)
	if status := first.wait(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	freed := time.Now()
	second.awaitReady(t, http.StatusOK)
	if took := time.Since(freed); took > 2*time.Second {
		t.Errorf("served %v after the address became free", took)
	}
	for range asked {
		second.checkTime(t, "udp")
		second.checkTime(t, "tcp")
	}
}

func TestTakenHealthAddressIsWaitedFor(t *testing.T) {
	t.Parallel()
	addr := "127.0.0.1:" + freePort(t)
	other := take(t, "tcp", addr)
	n := launch(t, "NOWD_HEALTH_LISTEN="+addr)
	eventually(t, patience, func() error {
		if log := n.stderr.String(); !strings.Contains(log, addr+": bind: address already in use") {
			return fmt.Errorf("the log does not say that %s is in use", addr)
		}
		return nil
	})
	eventually(t, patience, func() error {
		conn, err := net.Dial("tcp", n.tcp)
		if err == nil {
			conn.Close()
		}
		return err
	})
	n.checkTime(t, "tcp")
	other.Close()
	n.awaitReady(t, http.StatusOK)
}
