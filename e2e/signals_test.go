//go:build linux

package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSignalEndsItAtOnceWithStatus0(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		for _, c := range configurations {
			t.Run(sig.String()+" "+c.name, func(t *testing.T) {
				t.Parallel()
				n := start(t, c.env...)
				n.checkTime(t, "tcp")
				n.checkEnd(t, sig, 0, time.Second)
			})
		}
	}
}

// On a hang-up the terminal and its shell may each send a SIGHUP.
func TestHangUpEndsItAsSIGTERMDoes(t *testing.T) {
	t.Parallel()
	if signal.Ignored(syscall.SIGHUP) {
		t.Skip("SIGHUP is ignored, and nowd would inherit that")
	}
	n := start(t, "NOWD_SHUTDOWN_TIMEOUT=15s", "NOWD_DRAIN_DELAY=500ms")
	checkOwed(t, n, func() {
		n.signal(t, syscall.SIGHUP)
		n.awaitReady(t, http.StatusServiceUnavailable)
		time.Sleep(150 * time.Millisecond) // a signal within 100 ms would count as the same one
		n.signal(t, syscall.SIGHUP)
	})
}

func TestHangUpIsIgnoredUnderNohup(t *testing.T) {
	t.Parallel()
	sh := tool(t, "sh")
	n, env := prepare(t, nil)
	n.args = []string{"-c", `trap "" HUP; exec "$0"`, binary} // as nohup(1) does
	n.run(t, sh, env)
	n.awaitReady(t, http.StatusOK)
	n.signal(t, syscall.SIGHUP)
	n.checkTime(t, "udp")
	n.awaitReady(t, http.StatusOK)
	n.checkEnd(t, syscall.SIGTERM, 0, 2*time.Second)
	if strings.Contains(n.stderr.String(), "hangup") {
		t.Error("SIGHUP ended nowd")
	}
}

// checkEnd sends a signal, and checks that nowd ends with this status within this time.
func (n *nowd) checkEnd(t *testing.T, sig syscall.Signal, want int, within time.Duration) {
	t.Helper()
	began := time.Now()
	n.signal(t, sig)
	if got := n.wait(t); got != want {
		t.Errorf("exit status %d (%v) after %v, want %d", got, n.cmd.ProcessState, sig, want)
	}
	if took := time.Since(began); took > within {
		t.Errorf("it takes %v to end, want at most %v", took, within)
	}
}

func TestIdleClientSeesTheEndAndDelaysNothing(t *testing.T) {
	t.Parallel()
	n := start(t)
	conn := dial(t, "tcp", n.tcp)
	if _, err := exchange(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	n.signal(t, syscall.SIGTERM)
	if more, err := lines(conn); err != nil || len(more) > 0 {
		t.Errorf("got %q, %v; want the end", more, err)
	}
	conn.Close()
	if status := n.wait(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// nowd answers what a client has sent before the signal, even if the client reads late.
func TestAnswersOwedAreGivenBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := start(t, append(c.env, "NOWD_SHUTDOWN_TIMEOUT=15s")...)
			// All requests fit into nowd's receive buffer, so nowd owes their answers. The answers do not
			// fit into its send buffer.
			const requests = 1000
			conn := dial(t, "tcp", n.tcp)
			if _, err := io.WriteString(conn, strings.Repeat("json\n", requests)); err != nil {
				t.Fatal(err)
			}
			answers := bufio.NewReader(conn)
			if _, err := answers.Peek(1); err != nil {
				t.Fatal(err)
			}
			n.signal(t, syscall.SIGTERM)
			n.awaitLog(t, "stopping")
			s := span{before: time.Now().Add(-time.Minute)}
			for i := range requests {
				answer, err := answers.ReadString('\n')
				s.after = time.Now()
				if err == nil {
					err = verify("json", answer, time.UTC, s)
				}
				if err != nil {
					t.Fatalf("answer %d of %d: %v", i+1, requests, err)
				}
			}
			if more, err := lines(answers); err != nil || len(more) > 0 {
				t.Errorf("after the answers come %q, %v; want the end of the stream", more, err)
			}
			conn.Close()
			if status := n.wait(t); status != 0 {
				t.Errorf("exit status %d", status)
			}
		})
	}
}

func TestClientThatDoesNotReadIsNotWaitedForLongerThanIsSaid(t *testing.T) {
	t.Parallel()
	const timeout = 500 * time.Millisecond
	n := start(t, fmt.Sprintf("NOWD_SHUTDOWN_TIMEOUT=%v", timeout))
	newPipeline(t, n, 200_000).stall(t)
	began := time.Now()
	n.checkEnd(t, syscall.SIGTERM, 0, timeout+2*time.Second)
	if took := time.Since(began); took < timeout {
		t.Errorf("it takes %v to end, want at least %v: the client has unread answers", took, timeout)
	}
}

func TestServiceGoesOnUnreadyForTheDrainDelay(t *testing.T) {
	t.Parallel()
	const delay = 2 * time.Second
	n := start(t, fmt.Sprintf("NOWD_DRAIN_DELAY=%v", delay))
	began := time.Now()
	n.signal(t, syscall.SIGTERM)
	if said := n.awaitReady(t, http.StatusServiceUnavailable); !strings.Contains(said, "shutting down") {
		t.Errorf("/ready does not say why: %s", said)
	}
	if status, said, err := n.get("/live", patience); status != http.StatusOK {
		t.Errorf("/live is %d, %v: %s", status, err, said)
	}
	n.checkTime(t, "udp")
	n.checkTime(t, "tcp")
	if status := n.wait(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("it takes %v to end, want %v at least", took, delay)
	}
}

func TestSecondSignalEndsItAtOnce(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			n := start(t, "NOWD_DRAIN_DELAY=1h")
			n.signal(t, syscall.SIGTERM)
			n.awaitLog(t, "stopping")
			n.endAtOnce(t, sig)
		})
	}
}

// endAtOnce has another signal end a nowd that is stopping.
func (n *nowd) endAtOnce(t *testing.T, sig syscall.Signal) {
	t.Helper()
	// A signal that follows at once counts as the same one.
	eventually(t, patience, func() error {
		if n.running() {
			_ = n.cmd.Process.Signal(sig) // it may just have ended
			return fmt.Errorf("it still runs after %v", sig)
		}
		return nil
	})
	if status := n.wait(t); status != 128+int(sig) {
		t.Errorf("exit status %d (%v), want %d", status, n.cmd.ProcessState, 128+int(sig))
	}
}

// A parent process may send a signal to its child and another one to the child's process group.
func TestSignalsThatComeTogetherAreOne(t *testing.T) {
	t.Parallel()
	const delay = time.Second
	n := start(t, fmt.Sprintf("NOWD_DRAIN_DELAY=%v", delay))
	n.stop(t)
	began := time.Now()
	n.signal(t, syscall.SIGTERM)
	n.signal(t, syscall.SIGINT)
	n.signal(t, syscall.SIGCONT)
	if status := n.wait(t); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("it takes %v to end, want %v at least", took, delay)
	}
}

// awaitLog waits until nowd has logged this text.
func (n *nowd) awaitLog(t *testing.T, want string) {
	t.Helper()
	eventually(t, patience, func() error {
		if !strings.Contains(n.stderr.String(), want) {
			return fmt.Errorf("%q is not logged", want)
		}
		return nil
	})
}

// Go's preemption sends SIGURG. A debugger, a snapshot or a frozen cgroup stops a process and continues it.
func TestStormOfSignalsDoesNotHurtService(t *testing.T) {
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			n := start(t, append(c.env, "NOWD_RATE_LIMIT=off")...)
			storm := new(background)
			t.Cleanup(storm.end)
			storm.running.Go(func() {
				for i := 0; !storm.stopping.Load(); i++ {
					n.signal(t, syscall.SIGURG)
					if i%10 == 0 {
						n.signal(t, syscall.SIGSTOP)
						n.signal(t, syscall.SIGCONT)
					}
					time.Sleep(100 * time.Microsecond)
				}
			})
			for _, network := range []string{"udp", "tcp"} {
				testTruth(t, network, n.at(network), 4000)
			}
			storm.end()
		})
	}
}
