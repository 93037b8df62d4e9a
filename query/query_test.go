package query

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nowd/answer"
)

// Over each protocol, the offset differs from the true one by at most its error.
func TestOffsetIsRightToItsErrorOverEachProtocol(t *testing.T) {
	for _, proto := range protocolNames() {
		t.Run(proto, func(t *testing.T) {
			for _, shift := range []time.Duration{0, 200 * time.Millisecond, -time.Hour, 24 * time.Hour} {
				began := time.Now()
				a, err := askOnce(t, proto, servers[proto](t, shift))
				if err != nil {
					t.Fatal(err)
				}
				if a.RoundTrip <= 0 || a.RoundTrip > time.Since(began) {
					t.Errorf("round trip %v, but the whole exchange took %v", a.RoundTrip, time.Since(began))
				}
				if (a.Offset-shift).Abs() > a.Error || a.Error > a.RoundTrip+time.Second {
					t.Errorf("a clock with the error %v: offset %v ±%v, round trip %v", shift, a.Offset, a.Error, a.RoundTrip)
				}
			}
		})
	}
}

func TestBoundAndSyncAreTheServers(t *testing.T) {
	for proto, bound := range map[string]time.Duration{
		"udp": time.Millisecond, "tcp": time.Millisecond, "http": time.Millisecond,
		"ntp": time.Second * (33 + 131) / 65536,
	} {
		a, err := askOnce(t, proto, servers[proto](t, 0))
		if err != nil || a.Sync != Synced || !a.HasBound || (a.Bound-bound).Abs() > 1 || a.Leap != "none" {
			t.Errorf("%s: %+v, %v, want a bound of %v", proto, a, err, bound)
		}
	}
	for _, proto := range []string{"daytime", "time", "daytime+tcp", "time+tcp"} {
		a, err := askOnce(t, proto, servers[proto](t, 0))
		if err != nil || a.Sync != SyncUnknown || a.HasBound || a.Leap != "" {
			t.Errorf("%s: %+v, %v", proto, a, err)
		}
	}
}

func TestNTPServerThatIsNotInSyncHasNoBound(t *testing.T) {
	for name, c := range map[string][2]byte{"leap 3": {0xe4, 2}, "stratum 16": {0x24, 16}, "stratum 0": {0xe4, 0}} {
		addr := datagrams(t, func(b []byte) [][]byte {
			return [][]byte{slices.Replace(ntpReply(b, 0, c[0], c[1]), 12, 16, []byte("INIT")...)}
		})
		if a, err := askOnce(t, "ntp", addr); err != nil || a.Sync != Unsynced || a.HasBound || a.Offset.Abs() > a.Error || a.Time.IsZero() {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func TestNTPServerThatTellsNoTimeHasNoAnswer(t *testing.T) {
	addr := datagrams(t, func(b []byte) [][]byte {
		reply := ntpReply(b, 0, 0xe4, 0)
		clear(reply[40:])
		return [][]byte{reply}
	})
	if a, err := askOnce(t, "ntp", addr); err == nil {
		t.Errorf("%+v", a)
	}
}

func TestImplausibleNTPAnswerIsNamed(t *testing.T) {
	addr := datagrams(t, func(b []byte) [][]byte {
		reply := ntpReply(b, 0, 0x24, 2)
		reply[3] = 40
		return [][]byte{reply}
	})
	h, err := New("ntp", addr, 0, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := h.Ask(t.Context()); err == nil || !strings.Contains(err.Error(), "a precision of 2^40 s") {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestNTPLeapIsReported(t *testing.T) {
	for leap, want := range map[byte]string{0x64: "insert", 0xa4: "delete"} {
		addr := datagrams(t, func(b []byte) [][]byte { return [][]byte{ntpReply(b, 0, leap, 2)} })
		a, err := askOnce(t, "ntp", addr)
		if err != nil || a.Leap != want || !strings.HasSuffix(a.line(false), "  stratum 2  leap "+want) {
			t.Errorf("%+v, %v, %s", a, err, a.line(false))
		}
	}
}

func TestKissOfDeathIsNoAnswer(t *testing.T) {
	addr := datagrams(t, func(b []byte) [][]byte { return [][]byte{ntpReply(b, 0, 0xe4, 0)} })
	if a, err := askOnce(t, "ntp", addr); err == nil || !strings.Contains(err.Error(), `"RATE"`) {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestEmptyAnswerIsNone(t *testing.T) {
	for _, proto := range []string{"udp", "daytime"} {
		for _, text := range []string{"", "\r\n"} {
			addr := datagrams(t, func([]byte) [][]byte { return [][]byte{[]byte(text)} })
			if a, err := askOnce(t, proto, addr); !errors.Is(err, errEmpty) {
				t.Errorf("%s: %+v, %v", proto, a, err)
			}
		}
	}
	for proto, text := range map[string]string{
		"tcp":  "\n",
		"http": "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\n",
	} {
		addr := connections(t, func(c net.Conn) {
			request := make([]byte, 1024)
			_, _ = c.Read(request) // an answer before the request would give another error
			_, _ = io.WriteString(c, text)
			_, _ = c.Read(request)
		})
		if a, err := askOnce(t, proto, addr); !errors.Is(err, errEmpty) {
			t.Errorf("%s: %+v, %v", proto, a, err)
		}
	}
}

func TestHTTPStatusOtherThanOKIsNoAnswer(t *testing.T) {
	addr := connections(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1024))
		_, _ = io.WriteString(c, "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"+jsonAnswer(0)+"\n")
	})
	if a, err := askOnce(t, "http", addr); err == nil || !strings.HasSuffix(err.Error(), "HTTP status 404 Not Found") {
		t.Errorf("%+v, %v", a, err)
	}
}

// An address may lack a host, or have a zone, which a URL cannot have.
func TestHTTPAsksAtAnyAddress(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", listen)
		if err != nil {
			t.Skip(err)
		}
		addr := connectionsOn(t, l, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1024))
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+jsonAnswer(0)+"\n")
		})
		_, port, _ := net.SplitHostPort(addr)
		targets := []string{addr, ":" + port}
		if listen == "[::1]:0" {
			targets = []string{addr, "[::1%lo]:" + port}
		}
		for _, target := range targets {
			if a, err := askOnce(t, "http", target); err != nil || a.Time.IsZero() {
				t.Errorf("%s: %+v, %v", target, a, err)
			}
		}
	}
}

func TestDefaultPortsAreTheProtocols(t *testing.T) {
	for proto, port := range map[string]string{
		"udp": "3333", "tcp": "3333", "http": "3333", "ntp": "123",
		"daytime": "13", "daytime+tcp": "13", "time": "37", "time+tcp": "37",
	} {
		for target, want := range map[string]string{
			"host": "host:", "192.0.2.1": "192.0.2.1:", "2001:db8::1": "[2001:db8::1]:",
			"[2001:db8::1]": "[2001:db8::1]:", "fe80::1%eth0": "[fe80::1%eth0]:",
		} {
			if h := host(t, proto, target, time.Second); h.addr != want+port {
				t.Errorf("%s %s: %s", proto, target, h.addr)
			}
		}
		for _, target := range []string{"host:4000", "[::1]:4000", ":4000"} {
			if h := host(t, proto, target, time.Second); h.addr != target {
				t.Errorf("%s %s: %s", proto, target, h.addr)
			}
		}
	}
	if got := len(protocolNames()); got != len(servers) {
		t.Errorf("there are %d protocols, but %d are tested", got, len(servers))
	}
}

func TestTargetsThatAreNoneAreRefused(t *testing.T) {
	for _, target := range []string{"", ":", "host:", "host:0", "host:65536", "host:-1", "host:clock", "a:b:c", "::1:x", "[::1", "::1]", "[host]", "[::1]:", "[127.0.0.1]"} {
		if h, err := New("udp", target, answer.JSON, time.Second); err == nil {
			t.Errorf("%q: %s", target, h.addr)
		}
	}
}

// hostile are malicious or broken TCP servers.
var hostile = map[string]func(net.Conn){
	"silence": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
	"closes":  func(net.Conn) {},
	"resets":  func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) },
	"garbage": func(c net.Conn) { _, _ = c.Write([]byte("\x00\xff\x1b[2J\x9b\n")); _, _ = io.Copy(io.Discard, c) },
	"half a header": func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
		_, _ = io.Copy(io.Discard, c)
	},
	"body that never comes": func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	},
	"status with a bell": func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 500 \a\x1b[2J\r\n\r\n") },
	"endless":            func(c net.Conn) { flood(c, bytes.Repeat([]byte{'x'}, 1<<16)) },
	"endless newlines":   func(c net.Conn) { flood(c, bytes.Repeat([]byte{'\n'}, 1<<16)) },
	"endless headers": func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
		flood(c, bytes.Repeat([]byte("X: y\r\n"), 1<<13))
	},
	"endless body": func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		flood(c, bytes.Repeat([]byte("1\r\nx\r\n"), 1<<13))
	},
	"drips": func(c net.Conn) {
		for {
			if _, err := c.Write([]byte{'x'}); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	},
}

// flood writes until the connection is closed.
func flood(w io.Writer, b []byte) {
	for {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

// Whatever a server does, Ask returns at the timeout, and the output is short and without
// control characters.
func TestHostileServersOverTCPNeitherHangNorFlood(t *testing.T) {
	for name, serve := range hostile {
		for _, proto := range []string{"tcp", "http", "daytime+tcp", "time+tcp"} {
			t.Run(name+" "+proto, func(t *testing.T) {
				t.Parallel()
				testHostile(t, proto, connections(t, serve))
			})
		}
	}
}

func TestHostileServersOverUDPNeitherHangNorFlood(t *testing.T) {
	for name, answers := range map[string][][]byte{
		"silence":   nil,
		"empty":     {{}},
		"a byte":    {{0xff}},
		"garbage":   {[]byte("\x00\xff\x1b[2J\x9b\n"), []byte("more")},
		"longest":   {bytes.Repeat([]byte("\x1b]0;x\a"), 65507/6)},
		"zeros":     {make([]byte, 48)},
		"ones":      {bytes.Repeat([]byte{0xff}, 48)},
		"braces":    {bytes.Repeat([]byte{'{'}, 60000)},
		"huge time": {[]byte(`{"unix_ns":9223372036854775807,"earliest_unix_ns":-9223372036854775808,"latest_unix_ns":9223372036854775807,"status":"\u001b[2J"}`)},
		"year 9999": {[]byte("9999-12-31T23:59:59.999999999Z")},
	} {
		for _, proto := range []string{"udp", "ntp", "daytime", "time"} {
			t.Run(name+" "+proto, func(t *testing.T) {
				t.Parallel()
				testHostile(t, proto, datagrams(t, func([]byte) [][]byte { return answers }))
			})
		}
	}
}

func testHostile(t *testing.T, proto, addr string) {
	const timeout = 200 * time.Millisecond
	h := host(t, proto, addr, timeout)
	began := time.Now()
	results := AskAll(context.Background(), []*Host{h, h}, func(int) {})
	if took := time.Since(began); took > timeout+patience/2 {
		t.Errorf("took %v", took)
	}
	v := Compare(results)
	var out bytes.Buffer
	writeJSON(&out, 1, results, v)
	writeTable(&out, results, v)
	for _, r := range results {
		if r.Err == nil {
			out.WriteString(r.Answer.line(true) + "\n" + r.Answer.line(false) + "\n")
			if r.Answer.Error < 0 {
				t.Errorf("%+v", r.Answer)
			}
		}
		tally := &tally{Host: h}
		tally.add(r)
		tally.writeJSON(&out)
		out.WriteString(tally.String() + "\n")
	}
	if out.Len() > 20*6*maxAnswer {
		t.Errorf("an output of %d bytes", out.Len())
	}
	for c := range strings.SplitSeq(out.String(), "\n") {
		if i := strings.IndexFunc(c, func(c rune) bool { return c < ' ' || 0x7f <= c && c < 0xa0 || c == '\ufffd' }); i >= 0 {
			t.Fatalf("the output contains %.200q", c[i:])
		}
	}
}

// A datagram from another source than the server is no answer.
func TestAnswerFromAnotherSourceIsNone(t *testing.T) {
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var misled sync.WaitGroup
	for proto, reply := range map[string]func(b []byte) []byte{
		"udp":     func([]byte) []byte { return []byte(jsonAnswer(0)) },
		"time":    func([]byte) []byte { return since1900(time.Now()) },
		"daytime": func([]byte) []byte { return []byte("now") },
		"ntp":     func(b []byte) []byte { return ntpReply(b, 0, 0x24, 2) },
	} {
		sent := false
		misled.Go(func() {
			b := make([]byte, 1024)
			if n, from, err := server.ReadFrom(b); err == nil {
				_, err = other.WriteTo(reply(b[:n]), from)
				sent = err == nil
			}
		})
		a, err := host(t, proto, server.LocalAddr().String(), 100*time.Millisecond).Ask(context.Background())
		misled.Wait()
		if err == nil || !sent {
			t.Errorf("%s: %+v (sent: %v)", proto, a, sent)
		}
	}
}

// Each host here answers only after all have been asked.
func TestHostsAreAskedAtTheSameTime(t *testing.T) {
	const n = 20
	var asked sync.WaitGroup
	asked.Add(n)
	var hosts []*Host
	for range n {
		addr := datagrams(t, func([]byte) [][]byte {
			asked.Done()
			asked.Wait()
			return [][]byte{[]byte(jsonAnswer(0))}
		})
		hosts = append(hosts, host(t, "udp", addr, patience))
	}
	var mu sync.Mutex
	var came []int
	results := AskAll(context.Background(), hosts, func(i int) {
		mu.Lock()
		defer mu.Unlock()
		came = append(came, i)
	})
	for i, r := range results {
		if r.Err != nil || r.Host != hosts[i] || !slices.Contains(came, i) {
			t.Errorf("%d: %+v", i, r)
		}
	}
}

func TestQuestionsEndWithTheirContext(t *testing.T) {
	for _, proto := range protocolNames() {
		ctx, cancel := context.WithCancel(context.Background())
		silent := datagrams(t, func([]byte) [][]byte { cancel(); return nil })
		if protocols[proto].network == "tcp" {
			silent = connections(t, func(c net.Conn) {
				cancel()
				_, _ = io.Copy(io.Discard, c)
			})
		}
		began := time.Now()
		if a, err := host(t, proto, silent, time.Hour).Ask(ctx); err == nil || time.Since(began) > patience {
			t.Errorf("%s: %+v after %v", proto, a, time.Since(began))
		}
	}
}

// A nowd with NOWD_UDP_MIN_REQUEST answers no short request, whatever the word.
func TestEveryWordIsPaddedOverUDP(t *testing.T) {
	for _, form := range answer.TextForms() {
		strict := datagrams(t, func(request []byte) [][]byte {
			if asked, ok := answer.ParseForm(request); len(request) != answer.MaxText || !ok || asked != form {
				return nil
			}
			return [][]byte{[]byte("here\n")}
		})
		if code, out, errs := runQuery("-ask="+form.String(), "-timeout="+patience.String(), strict); code != 0 || !strings.HasPrefix(out, "here  ") {
			t.Errorf("%v: status %d, %q, %q", form, code, out, errs)
		}
	}
}

func TestSilenceIsReportedAsNoAnswer(t *testing.T) {
	for _, proto := range protocolNames() {
		silent := datagrams(t, func([]byte) [][]byte { return nil })
		if protocols[proto].network == "tcp" {
			silent = connections(t, hostile["silence"])
		}
		_, err := host(t, proto, silent, 50*time.Millisecond).Ask(context.Background())
		if want := silent + ": no answer within 50ms"; err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", proto, err, want)
		}
	}
}

func TestClosedConnectionIsReportedAsSuch(t *testing.T) {
	for _, proto := range []string{"daytime+tcp", "time+tcp"} {
		if _, err := askOnce(t, proto, connections(t, hostile["closes"])); !errors.Is(err, errClosed) {
			t.Errorf("%s: %v", proto, err)
		}
	}
	for _, proto := range []string{"tcp", "http"} { // closed after the request
		addr := connections(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1024)) })
		if _, err := askOnce(t, proto, addr); !errors.Is(err, errClosed) {
			t.Errorf("%s: %v", proto, err)
		}
	}
}

// An endless answer is cut off long before the timeout.
func TestEndlessAnswersAreCutOff(t *testing.T) {
	for _, name := range []string{"endless", "endless newlines", "endless headers", "endless body"} {
		for _, proto := range []string{"tcp", "http", "daytime+tcp", "time+tcp"} {
			began := time.Now()
			a, err := host(t, proto, connections(t, hostile[name]), 10*patience).Ask(context.Background())
			if took := time.Since(began); took > patience || len(a.Text) > maxAnswer {
				t.Errorf("%s %s: %d bytes in %v, %v", name, proto, len(a.Text), took, err)
			}
		}
	}
}
