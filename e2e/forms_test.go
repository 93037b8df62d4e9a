//go:build linux

package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// pad pads a request with spaces to a length, which its answer may then have.
func pad(word string, size int) string { return word + strings.Repeat(" ", max(0, size-len(word))) }

func TestEveryWordChoosesItsForm(t *testing.T) {
	t.Parallel()
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := start(t, c.env...)
			for _, word := range words {
				upper := strings.ToUpper(word)
				for _, request := range []string{word, upper, " \t" + word + "\r\n", word + "\x00\x00"} {
					answer, s := ask(t, "udp", n.udp, pad(request, 512))
					if err := verify(word, answer, time.UTC, s); err != nil {
						t.Errorf("asked %q over UDP: %v", request, err)
					}
					answer, s = ask(t, "tcp", n.tcp, request)
					if err := verify(word, answer, time.UTC, s); err != nil {
						t.Errorf("asked %q over TCP: %v", request, err)
					}
				}
				checkHTTP(t, n, "/"+word, word)
			}
		})
	}
}

func TestAnythingElseGetsTheDefaultForm(t *testing.T) {
	t.Parallel()
	n := start(t)
	for _, request := range []string{
		"", "\n", "x", "unix time", "\xff\xfe\x00\x80\x81", strings.Repeat("x", 1400), "unix\nunix",
	} {
		answer, s := ask(t, "udp", n.udp, request)
		if err := verify("datetime", answer, time.UTC, s); err != nil {
			t.Errorf("asked %.20q over UDP: %v", request, err)
		}
	}
	for _, request := range []string{"\n", "x", "unix time", "\xff\xfe\x00\x80\x81", strings.Repeat("x", 1400) + "\n"} {
		answer, s := ask(t, "tcp", n.tcp, request)
		if err := verify("datetime", answer, time.UTC, s); err != nil {
			t.Errorf("asked %.20q over TCP: %v", request, err)
		}
	}
	checkHTTP(t, n, "/", "datetime")
}

// checkHTTP asks for a path, and checks the whole answer.
func checkHTTP(t *testing.T, n *nowd, path, word string) {
	t.Helper()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		var r *http.Response
		var body []byte
		s := during(func() { r, body = request(t, n, method, path) })
		if r.StatusCode != http.StatusOK {
			t.Errorf("%s %s: %s, want status 200", method, path, r.Status)
		}
		date, err := http.ParseTime(r.Header.Get("Date"))
		if err == nil {
			err = s.check(date, time.Second)
		}
		if err != nil {
			t.Errorf("%s %s: Date: %v", method, path, err)
		}
		kind := "text/plain; charset=utf-8"
		if word == "json" {
			kind = "application/json"
		}
		for name, want := range map[string]string{"Content-Type": kind, "Cache-Control": "no-store"} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s %s: %s is %q, want %q", method, path, name, got, want)
			}
		}
		if !r.Close {
			t.Errorf("%s %s: Connection is not close", method, path)
		}
		if method == http.MethodHead {
			if len(body) > 0 || r.ContentLength <= 0 {
				t.Errorf("HEAD %s: %d bytes, and Content-Length %d", path, len(body), r.ContentLength)
			}
			continue
		}
		if err := verify(word, string(body), time.UTC, s); err != nil {
			t.Errorf("GET %s: %v", path, err)
		}
	}
}

// request sends a request over HTTP, and reads until the server closes.
func request(t *testing.T, n *nowd, method, path string) (*http.Response, []byte) {
	t.Helper()
	conn := dial(t, "tcp", n.tcp)
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, path, n.tcp); err != nil {
		t.Fatal(err)
	}
	rest := bufio.NewReader(conn)
	r, err := http.ReadResponse(rest, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %.50s: %v", method, path, err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("%s %.50s: %v", method, path, err)
	}
	if more, err := io.ReadAll(rest); err != nil || len(more) > 0 {
		t.Errorf("%s %.50s: after the answer comes %q, %v; want the end of the stream", method, path, more, err)
	}
	return r, body
}

func TestHTTPRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	n := start(t)
	for path, want := range map[string]int{
		"/nonsense":                       http.StatusNotFound,
		"/unix/":                          http.StatusNotFound,
		"nonsense":                        http.StatusBadRequest,
		"/" + strings.Repeat("x", 9<<10):  http.StatusRequestHeaderFieldsTooLarge,
		"/unix?" + strings.Repeat("x", 1): http.StatusOK,
	} {
		if r, _ := request(t, n, http.MethodGet, path); r.StatusCode != want {
			t.Errorf("GET %.20s: %s, want %d", path, r.Status, want)
		}
	}
}

// Closing a connection with unread data resets it, and the reset can overtake the answer.
func TestAnswerIsNotLostToWhatFollowsItsRequest(t *testing.T) {
	t.Parallel()
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := start(t, c.env...)
			for range 20 {
				conn := dial(t, "tcp", n.tcp)
				if _, err := io.WriteString(conn, "GET /unix HTTP/1.0\r\n\r\n"+strings.Repeat("more\n", 20_000)); err != nil {
					t.Fatal(err)
				}
				if answer, err := io.ReadAll(conn); err != nil || bytes.Count(answer, []byte("HTTP/1.1 ")) != 1 {
					t.Errorf("got %q, %v; want one answer and the end of the stream", answer, err)
				}
				// nowd still drains what comes later.
				for range 2 {
					if _, err := io.WriteString(conn, "more\n"); err != nil {
						t.Errorf("after the end: %v", err)
					}
				}
				conn.Close()
			}
		})
	}
}

func TestAnswerToAShortDatagramIsAtMost64Bytes(t *testing.T) {
	t.Parallel()
	n := start(t, "NOWD_RATE_LIMIT=off")
	conn := dial(t, "udp", n.udp)
	whole, _ := askOn(t, conn, pad("json", 512))
	if len(whole) <= 64 {
		t.Fatalf("the answer %q is too short for this test", whole)
	}
	const slack = 20 // the number of additional digits in a later answer
	for size := range len(whole) + 2*slack {
		for _, word := range words {
			request := pad(word, size)
			answer, s := askOn(t, conn, request)
			if len(answer) > max(64, len(request)) {
				t.Fatalf("asked with %d bytes, answered with %d", len(request), len(answer))
			}
			if word == "json" && len(request) < len(whole)+slack && answer[0] != '{' {
				word = "datetime" // the answer would be longer than the request
			}
			if err := verify(word, answer, time.UTC, s); err != nil {
				t.Fatalf("asked %q: %v", request, err)
			}
		}
	}
}

func TestDefaultFormIsASetting(t *testing.T) {
	t.Parallel()
	for _, word := range words {
		if word == "help" {
			continue
		}
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			n := start(t, "NOWD_FORMAT="+word)
			for _, network := range []string{"udp", "tcp"} {
				request, want := "hello", word
				answer, s := ask(t, network, n.at(network), request)
				if network == "udp" && word == "json" {
					want = "datetime" // which is short enough
				}
				if err := verify(want, answer, time.UTC, s); err != nil {
					t.Errorf("asked %q over %s: %v", request, network, err)
				}
				answer, s = ask(t, network, n.at(network), "unixus")
				if err := verify("unixus", answer, time.UTC, s); err != nil {
					t.Errorf("asked unixus over %s: %v", network, err)
				}
			}
			answer, s := ask(t, "udp", n.udp, pad("hello", 512))
			if err := verify(word, answer, time.UTC, s); err != nil {
				t.Errorf("asked with a long datagram: %v", err)
			}
			checkHTTP(t, n, "/", word)
		})
	}
}

func TestNewlineIsASetting(t *testing.T) {
	t.Parallel()
	n := start(t, "NOWD_NEWLINE=false")
	const size = len("2026-11-21 01:17:42.813729")
	for _, network := range []string{"udp", "tcp"} {
		conn := dial(t, network, n.at(network))
		for range 2 {
			answer := make([]byte, size+1)
			var got int
			var err error
			s := during(func() {
				if _, err = io.WriteString(conn, "hello\n"); err == nil {
					got, err = io.ReadAtLeast(conn, answer, size)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := verify("datetime", string(answer[:got])+"\n", time.UTC, s); err != nil {
				t.Errorf("%s: %v", network, err)
			}
		}
	}
}

func TestZoneIsThatOfTZ(t *testing.T) {
	t.Parallel()
	tokyo := time.FixedZone("Asia/Tokyo", 9*60*60) // no summer time there
	n := start(t, "TZ=Asia/Tokyo")
	for _, network := range []string{"udp", "tcp"} {
		for _, word := range words {
			answer, s := ask(t, network, n.at(network), pad(word, 512))
			if err := verify(word, answer, tokyo, s); err != nil {
				t.Errorf("asked %s over %s: %v", word, network, err)
			}
		}
	}
}

func TestZoneIsTheHostsWithoutTZ(t *testing.T) {
	t.Parallel()
	zone := time.UTC
	if data, err := os.ReadFile("/etc/localtime"); err == nil {
		if zone, err = time.LoadLocationFromTZData("Local", data); err != nil {
			t.Fatal(err)
		}
	}
	n := start(t, "TZ")
	answer, s := ask(t, "udp", n.udp, "rfc3339")
	if err := verify("rfc3339", answer, zone, s); err != nil {
		t.Error(err)
	}
}

func TestBurstWithoutALinesEndIsARequest(t *testing.T) {
	t.Parallel()
	n := start(t)
	conn := dial(t, "tcp", n.tcp)
	answers := bufio.NewReader(conn)
	for _, burst := range []string{"unixns", "unix\nunixms", "unixus\n", "unixns"} {
		hurry(t, conn)
		before := time.Now()
		if _, err := io.WriteString(conn, burst); err != nil {
			t.Fatal(err)
		}
		for word := range strings.FieldsSeq(burst) {
			answer, err := answers.ReadString('\n')
			if err == nil {
				err = verify(word, answer, time.UTC, span{before, time.Now()})
			}
			if err != nil {
				t.Errorf("asked %q: %v", burst, err)
			}
		}
	}
}

func TestLineFramingWaitsForTheLinesEnd(t *testing.T) {
	t.Parallel()
	n := start(t, "NOWD_TCP_FRAMING=line")
	conn := dial(t, "tcp", n.tcp)
	for range 3 {
		if _, err := io.WriteString(conn, "unix"); err != nil {
			t.Fatal(err)
		}
		// The only loop has read it when it has answered a later request.
		for range 2 {
			n.checkTime(t, "tcp")
		}
		answer, s := askOn(t, conn, "ns\n")
		if err := verify("unixns", answer, time.UTC, s); err != nil {
			t.Error(err)
		}
	}
	// A half-close does not end a line.
	if _, err := io.WriteString(conn, "rest"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if more, err := lines(conn); err != nil || len(more) > 0 {
		t.Errorf("a partial line got %q, %v; want the end of the stream", more, err)
	}
}

// Two services that answer each other's answers would never stop: a reply loop.
func TestOwnAnswersGetNone(t *testing.T) {
	t.Parallel()
	n := start(t)
	conn := dial(t, "udp", n.udp)
	var answers []string
	for _, word := range words {
		answer, _ := askOn(t, conn, pad(word, 512))
		answers = append(answers, answer)
	}
	for _, answer := range answers {
		if _, err := io.WriteString(conn, answer); err != nil {
			t.Fatal(err)
		}
	}
	// Datagrams from one socket are answered in order.
	if answer, s := askOn(t, conn, "unixns"); verify("unixns", answer, time.UTC, s) != nil {
		t.Errorf("got %q, want no answer before the request", answer)
	}
	n.awaitMetric(t, `nowd_drops_total{protocol="udp",reason="own_answer"}`, float64(len(words)))
}
