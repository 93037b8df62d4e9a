package service

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/config"
)

// started starts a service in this process, at free ports, until the test ends.
func started(t *testing.T, environ ...string) (s *Service, log *syncBuffer) {
	t.Helper()
	environ = append([]string{"NOWD_UDP_LISTEN=" + freeAddr(t), "NOWD_TCP_LISTEN=" + freeAddr(t), "NOWD_HEALTH_LISTEN=off"}, environ...)
	c, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	log = &syncBuffer{}
	s, err = New(c, "test", slog.New(slog.NewTextHandler(log, nil)), noDrops{})
	if err != nil {
		t.Fatal(err)
	}
	signals, ended := make(chan os.Signal, 1), make(chan error)
	go func() { ended <- s.run(signals) }()
	t.Cleanup(func() {
		signals <- syscall.SIGTERM
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return s, log
}

// noDrops is a health.LogStats without dropped lines.
type noDrops struct{}

func (noDrops) Dropped() uint64 { return 0 }

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// freeAddr returns an address of loopback that is free for UDP and TCP.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p, err := net.ListenPacket("udp", l.Addr().String())
		_ = l.Close()
		if err == nil {
			_ = p.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no address is free")
	return ""
}

// eventually fails with what unless cond becomes true within 10 s.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// asked reports whether a service answers at l.
func asked(network string, l config.Listen) bool {
	c, err := net.DialTimeout(network, l.String(), time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := io.WriteString(c, "unix\n"); err != nil {
		return false
	}
	b := make([]byte, 64)
	n, err := c.Read(b)
	return err == nil && n == 11
}

func TestServiceAnswersOnAllLoops(t *testing.T) {
	for _, loops := range []int{1, 3} {
		t.Run(strconv.Itoa(loops), func(t *testing.T) {
			s, _ := started(t, fmt.Sprintf("NOWD_LOOPS=%d", loops))
			for range 50 {
				eventually(t, "no answer", func() bool { return asked("udp", s.config.UDP) && asked("tcp", s.config.TCP) })
			}
		})
	}
}

func TestAddressesThatANameStandsForAreGivenOutOnce(t *testing.T) {
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	c, err := config.Load([]string{"NOWD_UDP_LISTEN=127.0.0.1:" + port, "NOWD_NTP_LISTEN=localhost:" + port, "NOWD_TCP_LISTEN=off", "NOWD_HEALTH_LISTEN=off"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(c, "test", slog.New(slog.DiscardHandler), noDrops{}); err == nil || !strings.Contains(err.Error(), "NOWD_NTP_LISTEN") {
		t.Errorf("%v", err)
	}
}

// A slow loop may report a failed socket after the endpoint has been reopened.
func TestLateReportOfALossIsIgnored(t *testing.T) {
	s, log := started(t, "NOWD_LOOPS=2")
	eventually(t, "no answer", func() bool { return asked("tcp", s.config.TCP) })
	e := s.endpoints[1]
	e.lost(errors.New("at once"), 1)
	eventually(t, "not reopened", func() bool { return strings.Count(log.String(), "protocol=tcp") == 2 })
	e.lost(errors.New("late"), 1)
	passed := make(chan struct{})
	s.workers[0].loop.Post(func() { close(passed) })
	<-passed
	eventually(t, "no answer afterwards", func() bool { return asked("tcp", s.config.TCP) })
	if err := e.check(); err != nil || strings.Contains(log.String(), "late") {
		t.Errorf("%v", err)
	}
}

// TestLostSocketIsReopened shuts listeners down behind the loops: they report a hang-up.
func TestLostSocketIsReopened(t *testing.T) {
	for _, loops := range []int{1, 2} {
		t.Run(strconv.Itoa(loops), func(t *testing.T) {
			s, log := started(t, fmt.Sprintf("NOWD_LOOPS=%d", loops))
			eventually(t, "no answer", func() bool { return asked("tcp", s.config.TCP) })
			// When one fails, nowd closes the others, maybe before this test finds them.
			if n := shutListeners(t, s.config.TCP); n < 1 || n > loops {
				t.Fatalf("%d listeners, want %d", n, loops)
			}
			eventually(t, "the failure is not logged", func() bool { return strings.Contains(log.String(), "socket failed") })
			eventually(t, "not reopened", func() bool { return s.endpoints[1].check() == nil && asked("tcp", s.config.TCP) })
			for range 20 {
				if !asked("tcp", s.config.TCP) {
					t.Error("no answer afterwards")
				}
			}
			if n := strings.Count(log.String(), "protocol=tcp"); n != 2 {
				t.Errorf("opened %d times, want 2", n)
			}
		})
	}
}

// TestLostHealthListenerIsReopened: probes are answered again after the failure, and
// clients are answered throughout.
func TestLostHealthListenerIsReopened(t *testing.T) {
	s, log := started(t, "NOWD_HEALTH_LISTEN="+freeAddr(t))
	alive := func() bool {
		r, err := http.Get("http://" + s.config.Health.String() + "/live")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	}
	for range 2 {
		eventually(t, "no answer to a probe", alive)
		if n := shutListeners(t, s.config.Health); n != 1 {
			t.Fatalf("%d listeners, want 1", n)
		}
		eventually(t, "no answer to a probe afterwards", func() bool { http.DefaultClient.CloseIdleConnections(); return alive() })
		if !asked("tcp", s.config.TCP) {
			t.Error("no answer to a client")
		}
	}
	if n := strings.Count(log.String(), "socket failed"); n != 2 {
		t.Errorf("the failure is logged %d times, want 2", n)
	}
	http.DefaultClient.CloseIdleConnections()
}

// shutListeners shuts down the listeners at an address, and returns their number.
func shutListeners(t *testing.T, at config.Listen) int { return shutUpTo(t, at, math.MaxInt) }

// shutUpTo shuts down at most most listeners at an address, and returns their number.
func shutUpTo(t *testing.T, at config.Listen, most int) (n int) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc to find the descriptors")
	}
	for _, e := range fds {
		fd, _ := strconv.Atoi(e.Name())
		listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err != nil || listening == 0 {
			continue
		}
		if sa, err := unix.Getsockname(fd); err == nil {
			if sa, ok := sa.(*unix.SockaddrInet4); ok && sa.Port == int(at[0].Port) && n < most {
				if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
					t.Error(err)
				}
				n++
			}
		}
	}
	return n
}

func TestTakenAddressIsTriedAgain(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s, log := started(t, "NOWD_TCP_LISTEN="+taken.Addr().String())
	eventually(t, "the error is not logged", func() bool { return strings.Contains(log.String(), "address already in use") })
	if err := s.endpoints[1].check(); err == nil {
		t.Error("ready without its address")
	}
	_ = taken.Close()
	eventually(t, "the address is never served", func() bool { return s.endpoints[1].check() == nil && asked("tcp", s.config.TCP) })
	if n := strings.Count(log.String(), "cannot listen"); n != 1 {
		t.Errorf("logged %d times, want 1", n)
	}
}

// limitOpenFiles sets the limit of open files until the test ends.
func limitOpenFiles(t *testing.T, files uint64) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	tight := limit
	tight.Cur = files
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &tight); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	})
}

// needed counts the files of a service with these settings.
func needed(t *testing.T, c *config.Config) files {
	t.Helper()
	s := &Service{config: c, protocols: c.Protocols()}
	if err := s.lookUp(); err != nil {
		t.Fatal(err)
	}
	return countFiles(c, s.protocols, s.addrs, new(lowPorts))
}

func TestConnectionsFitTheLimitOfFiles(t *testing.T) {
	limitOpenFiles(t, 256)
	var log bytes.Buffer
	everywhere := config.Listen{{Port: 3333}}
	c := &config.Config{Loops: 1, MaxConns: 10000, UDP: everywhere, TCP: everywhere}
	conns := needed(t, c).fitConnections(c, slog.New(slog.NewTextHandler(&log, nil)))
	if conns < 100 || conns > 170 || !strings.Contains(log.String(), "NOWD_TCP_MAX_CONNS") {
		t.Errorf("%d connections with 256 files; %s", conns, log.String())
	}
	// Each of three protocols may have as many.
	c.Daytime, c.Time = config.Listen{{Port: 13}}, config.Listen{{Port: 37}}
	if of3 := needed(t, c).fitConnections(c, slog.New(slog.DiscardHandler)); of3 > conns/3 || of3 < 1 {
		t.Errorf("%d connections for each of three protocols, and %d for one", of3, conns)
	}
}

// TestLoopsFitThePoller: with more loops than select(2) can watch, New fails; with the
// highest number that it can watch, every endpoint is served.
func TestLoopsFitThePoller(t *testing.T) {
	limitOpenFiles(t, 1024) // as limitFiles would
	udp, tcp := freeAddr(t), freeAddr(t)
	load := func(loops int) *config.Config {
		t.Helper()
		c, err := config.Load([]string{"NOWD_POLLER=select", fmt.Sprintf("NOWD_LOOPS=%d", loops), "NOWD_UDP_LISTEN=" + udp, "NOWD_TCP_LISTEN=" + tcp, "NOWD_HEALTH_LISTEN=off"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	most := sort.Search(256, func(i int) bool {
		c := load(i + 1)
		err := needed(t, c).check(c)
		if err != nil && (!strings.Contains(err.Error(), "NOWD_POLLER=select") || !strings.Contains(err.Error(), fmt.Sprintf("NOWD_LOOPS=%d ", i+1))) {
			t.Fatal(err)
		}
		return err != nil
	})
	if most < 150 || most == 256 { // a loop has a wake-up, a socket, a listener, a spare and a client
		t.Fatalf("%d loops pass the check", most)
	}
	if s, err := New(load(most+1), "test", slog.New(slog.DiscardHandler), noDrops{}); err == nil {
		t.Errorf("%d loops pass: %v", most+1, s)
	}
	s, log := started(t, "NOWD_POLLER=select", fmt.Sprintf("NOWD_LOOPS=%d", most), "NOWD_UDP_LISTEN="+udp, "NOWD_TCP_LISTEN="+tcp)
	for _, e := range s.endpoints {
		eventually(t, "an endpoint is not served", func() bool { return e.check() == nil })
	}
	for range 10 {
		if !asked("udp", s.config.UDP) {
			t.Error("no answer")
		}
	}
	if got := log.String(); strings.Contains(got, "socket failed") || strings.Contains(got, "cannot listen") {
		t.Errorf("logged: %s", got)
	}
}
