package answer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"nowd/clock"
)

// fake is a clock that shows now, and a kernel that reports state and err.
type fake struct {
	now   time.Time
	state clock.State
	err   error
}

func (f *fake) State() (clock.State, error) { return f.state, f.err }

func (f *fake) text(zone *time.Location, form Form) *Text {
	return NewText(clock.New(clock.Config{Now: func() time.Time { return f.now }, Kernel: f}), zone, form, true)
}

func zone(t testing.TB, name string) *time.Location {
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

var moment = time.Date(2026, 11, 20, 17, 17, 42, 813729123, time.UTC)

func TestEachWordGetsItsForm(t *testing.T) {
	f := &fake{now: moment, state: clock.State{MaxError: 2500 * time.Microsecond, EstError: time.Millisecond, Offset: -500 * time.Microsecond, TAI: 37}}
	for word, want := range map[string]string{
		"datetime": "2026-11-21 01:17:42.813729\n",
		"rfc3339":  "2026-11-21T01:17:42.813729123+08:00\n",
		"unix":     "1795195062\n",
		"unixms":   "1795195062813\n",
		"unixus":   "1795195062813729\n",
		"unixns":   "1795195062813729123\n",
		"bound":    "1795195062.810229123 1795195062.817229123 synced\n",
		"help":     "datetime rfc3339 unix unixms unixus unixns bound json help\n",
		"json": `{"time":"2026-11-21T01:17:42.813729123+08:00","unix_ns":1795195062813729123,` +
			`"earliest_unix_ns":1795195062810229123,"latest_unix_ns":1795195062817229123,"status":"synced",` +
			`"max_error_ns":2500000,"est_error_ns":1000000,"offset_ns":-500000,"leap":"none","tai_offset_s":37}` + "\n",
	} {
		x := f.text(zone(t, "Asia/Shanghai"), DateTime)
		for _, req := range []string{word, strings.ToUpper(word), " \t" + word + "\r\n", word + "\x00\x00\n"} {
			if got := string(x.Append(nil, x.Form([]byte(req)), f.now)); got != want {
				t.Errorf("%q: %q, want %q", req, got, want)
			}
		}
	}
}

func TestMinWordAndMaxWord(t *testing.T) {
	shortest, longest := math.MaxInt, 0
	for _, w := range Words() {
		shortest, longest = min(shortest, len(w)), max(longest, len(w))
	}
	if shortest != minWord || longest != maxWord {
		t.Errorf("lengths from %d to %d, want %d to %d", shortest, longest, minWord, maxWord)
	}
}

func TestOtherRequestsGetTheDefault(t *testing.T) {
	f := &fake{now: moment}
	for _, req := range []string{"", "\n", "hello sock", "unixx", "uni", "json!", "date time", "\xff\xfe", strings.Repeat("x", 1000)} {
		x := f.text(time.UTC, UnixMS)
		if got := string(x.Append(nil, x.Form([]byte(req)), f.now)); got != "1795195062813\n" {
			t.Errorf("%q: %q", req, got)
		}
	}
}

func TestUnknownErrorBoundIsReported(t *testing.T) {
	for name, f := range map[string]*fake{
		"unsynchronised kernel": {now: moment, state: clock.State{MaxError: 16 * time.Second}},
		"no kernel state":       {now: moment, err: errors.New("no")},
	} {
		x := f.text(time.UTC, DateTime)
		if got := string(x.Append(nil, Bound, f.now)); got != "- - unsynced\n" {
			t.Errorf("%s: %q", name, got)
		}
		var j map[string]any
		if err := json.Unmarshal(x.Append(nil, JSON, f.now), &j); err != nil {
			t.Fatal(err)
		}
		if j["earliest_unix_ns"] != nil || j["latest_unix_ns"] != nil || j["status"] != "unsynced" || j["tai_offset_s"] != nil {
			t.Errorf("%s: %v", name, j)
		}
		if known := j["max_error_ns"] != nil; known != (f.err == nil) {
			t.Errorf("%s: max_error_ns is %v", name, j["max_error_ns"])
		}
	}
	faulty := &fake{now: moment, state: clock.State{Faulty: true, MaxError: time.Millisecond}}
	if got := string(faulty.text(time.UTC, DateTime).Append(nil, Bound, faulty.now)); !strings.HasSuffix(got, "813729123 unsynced\n") && !strings.HasSuffix(got, " unsynced\n") || strings.HasPrefix(got, "-") {
		t.Errorf("a faulty clock with a bound: %q", got)
	}
}

// moments are normal times, and times at which something changes: sign, width, year, era.
func moments() []time.Time {
	ts := []time.Time{
		moment, {}, time.Unix(0, 0), time.Unix(0, 5), time.Unix(-1, 5), time.Unix(-1, 999999999), time.Unix(1, 0), time.Unix(999999999, 999999999), time.Unix(1000000000, 0),
		time.Unix(-1e9, 1), time.Unix(-1e9-1, 0), time.Unix(1<<31-1, 999999999), time.Unix(1<<31, 0), time.Unix(1<<32, 0),
		time.Date(2036, 2, 7, 6, 28, 15, 999999999, time.UTC), time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC),
		time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(12026, 1, 1, 0, 0, 0, 7, time.UTC), time.Date(-44, 3, 15, 12, 0, 0, 0, time.UTC),
		time.Date(2026, 10, 25, 0, 59, 59, 999999999, time.UTC), time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC), // Berlin leaves summer time
	}
	return ts
}

func TestTimesAgreeWithTheStandardLibrary(t *testing.T) {
	f := &fake{}
	for _, name := range []string{"UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"} {
		z := zone(t, name)
		x := f.text(z, DateTime)
		for _, now := range moments() {
			f.now = now
			for form, layout := range map[Form]string{DateTime: "2006-01-02 15:04:05.000000", RFC3339: "2006-01-02T15:04:05.000000000Z07:00"} {
				if got, want := string(x.Append(nil, form, f.now)), now.In(z).Format(layout)+"\n"; got != want {
					t.Errorf("%v: %q, want %q", form, got, want)
				}
			}
			n, err := strconv.ParseInt(strings.TrimSpace(string(x.Append(nil, Unix, f.now))), 10, 64)
			if err != nil || n != now.Unix() {
				t.Errorf("unix: %d, %v, want %d", n, err, now.Unix())
			}
		}
	}
}

func TestDatagramIsNeverMuchLongerThanItsRequest(t *testing.T) {
	f := &fake{state: clock.State{MaxError: time.Second, TAI: 37}}
	for _, form := range []Form{DateTime, Unix, JSON, Bound} {
		x := f.text(zone(t, "Asia/Kathmandu"), form)
		for _, f.now = range moments()[:17] {
			for _, word := range append(Words(), "", "hello") {
				for _, pad := range []int{0, 1, 55, 64, 100, 200, 300, 400, 1400} {
					req := append([]byte(word), make([]byte, pad)...)
					b, got := x.AppendDatagram(nil, req, len(req), f.now, f.now)
					if len(b) > max(maxUnpadded, len(req)) {
						t.Errorf("an answer of %d bytes to a request %q of %d", len(b), word, len(req))
					}
					if asked, ok := ParseForm([]byte(word)); pad >= 400 && ok && got != Answered(asked) {
						t.Errorf("%q with %d bytes of padding got outcome %v", word, pad, got)
					}
				}
			}
		}
		if _, got := x.AppendDatagram(nil, []byte("json"), 4, f.now, f.now); got == Answered(JSON) {
			t.Error("a short request got a long form")
		}
	}
	x := f.text(time.UTC, Unix)
	if _, got := x.AppendDatagram(nil, []byte("json"), 4, f.now, f.now); got != Answered(Unix) {
		t.Errorf("instead of a form that is too long: %v, want the default", got)
	}
	if _, got := x.AppendDatagram(nil, []byte("bound"), 2000, f.now, f.now); got != Answered(Unix) {
		t.Errorf("a truncated datagram got %v, want the default", got)
	}
}

func TestEveryAnswerIsRecognized(t *testing.T) {
	for _, state := range []clock.State{{MaxError: time.Second, TAI: 37}, {MaxError: 16 * time.Second}, {Faulty: true}} {
		f := &fake{state: state}
		for _, name := range []string{"UTC", "Asia/Kathmandu", "America/St_Johns"} {
			x := f.text(zone(t, name), DateTime)
			for _, f.now = range moments() {
				for form := range numTextForms {
					b := x.Append(nil, form, f.now)
					if !IsAnswer(b) || !IsAnswer(bytes.TrimSpace(b)) || !IsAnswer(append(b, 0, 0)) {
						t.Errorf("%v at %v: IsAnswer(%q) is false", form, f.now, b)
					}
				}
			}
		}
	}
}

func TestRequestsAreNotTakenForAnswers(t *testing.T) {
	for _, req := range append(Words(),
		"", "\n", "1", "123456789", "2026", "2026-11-21", "2026-11-21 01:17:42", "2026-11-21 01:17:42.81372", "what time is it",
		"{}", `{"a":1}`, "- - -", "a b synced", "1.0 synced", "help me, please, to the time", "help datetime rfc3339", "-", "datetime  rfc3339",
		"2026-11-21_01:17:42.813729", "abcd-11-21 01:17:42.813729", strings.Repeat("9", 12)+"x", strings.Repeat("x", 600)) {
		if IsAnswer([]byte(req)) {
			t.Errorf("IsAnswer(%q) is true", req)
		}
	}
}

func TestHTTPAnswersPassTheStandardLibrarysReader(t *testing.T) {
	f := &fake{now: moment, state: clock.State{MaxError: time.Millisecond}}
	x := f.text(time.UTC, DateTime)
	for _, c := range []struct {
		head, body, kind string
		code             int
	}{
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "2026-11-20 17:17:42.813729\n", "text/plain; charset=utf-8", 200},
		{"GET /unix HTTP/1.0\n\n", "1795195062\n", "text/plain; charset=utf-8", 200},
		{"GET /UNIXMS?x=y HTTP/1.1\r\n\r\n", "1795195062813\n", "text/plain; charset=utf-8", 200},
		{"GET http://host:3333/unix HTTP/1.1\r\n\r\n", "1795195062\n", "text/plain; charset=utf-8", 200},
		{"GET http://host HTTP/1.1\r\n\r\n", "2026-11-20 17:17:42.813729\n", "text/plain; charset=utf-8", 200},
		{"HEAD /rfc3339 HTTP/1.1\r\n\r\n", "", "text/plain; charset=utf-8", 200},
		{"GET /json HTTP/1.1\r\n\r\n", "{", "application/json", 200},
		{"GET /nothing HTTP/1.1\r\n\r\n", "not found", "text/plain; charset=utf-8", 404},
		{"GET /unix/ HTTP/1.1\r\n\r\n", "not found", "text/plain; charset=utf-8", 404},
		{"GET /unix\r\n\r\n", "bad request\n", "text/plain; charset=utf-8", 400},
		{"GET unix HTTP/1.1\r\n\r\n", "bad request\n", "text/plain; charset=utf-8", 400},
		{"HEAD / HTTP/9.9\r\n\r\n", "", "text/plain; charset=utf-8", 400},
		{"GET  / HTTP/1.1\r\n\r\n", "bad request\n", "text/plain; charset=utf-8", 400},
	} {
		raw, outcome := x.AppendHTTP(nil, []byte(c.head), f.now)
		if _, ok := outcome.Form(); ok != (c.code == 200) || (outcome == HTTPError) == ok || len(raw) > MaxHTTP {
			t.Errorf("%q: outcome %d, %d bytes", c.head, outcome, len(raw))
		}
		method, _, _ := strings.Cut(c.head, " ")
		r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%q: %v", c.head, err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if r.StatusCode != c.code || !strings.HasPrefix(string(body), c.body) || r.Header.Get("Content-Type") != c.kind ||
			r.Header.Get("Cache-Control") != "no-store" || !r.Close || r.Header.Get("Date") != "Fri, 20 Nov 2026 17:17:42 GMT" {
			t.Errorf("%q: %s", c.head, raw)
		}
		if method == "GET" && r.ContentLength != int64(len(body)) || method == "HEAD" && c.code == 200 && r.ContentLength != 31 {
			t.Errorf("%q: Content-Length %d", c.head, r.ContentLength)
		}
	}
}

func TestHTTPIsRecognisedByItsMethod(t *testing.T) {
	for b, want := range map[string][2]bool{
		"GET /": {true, false}, "HEAD ": {true, false}, "GE": {false, true}, "": {false, true}, "H": {false, true},
		"GET\n": {false, false}, "GETTY": {false, false}, "get /": {false, false}, "hello": {false, false},
	} {
		if is, maybe := IsHTTP([]byte(b)); is != want[0] || maybe != want[1] {
			t.Errorf("%q: %v, %v", b, is, maybe)
		}
	}
}

func TestHeadEndsAtItsBlankLine(t *testing.T) {
	for b, want := range map[string]int{
		"": -1, "GET / HTTP/1.1\r\n": -1, "GET / HTTP/1.1\r\n\r": -1, "a\r\n\r\nb": 5, "a\n\nb": 3, "a\nb\n\r\n": 6, "a\r\nb\r\n\n": 7,
	} {
		if got := HeadEnd([]byte(b)); got != want {
			t.Errorf("%q: %d, want %d", b, got, want)
		}
	}
}

func TestDefaultFormIsAWordThatGivesATime(t *testing.T) {
	var f Form
	if err := f.UnmarshalText([]byte("UnixMS")); err != nil || f != UnixMS {
		t.Errorf("%v, %v", f, err)
	}
	for _, bad := range []string{"help", "", "iso", " unix", "unix\n"} {
		if err := f.UnmarshalText([]byte(bad)); err == nil || !regexp.MustCompile(`datetime.*json`).MatchString(err.Error()) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestAnswerAllocatesNothing(t *testing.T) {
	c := clock.New(clock.Config{})
	x := NewText(c, time.UTC, DateTime, true)
	buf := make([]byte, 0, MaxHTTP)
	head := []byte("GET /json HTTP/1.1\r\nHost: x\r\n\r\n")
	for form := range numTextForms {
		req := append([]byte(form.String()), make([]byte, 400)...)
		if n := testing.AllocsPerRun(1000, func() { x.AppendDatagram(buf, req, len(req), c.Now(), c.Now()) }); n != 0 {
			t.Errorf("%v: %v allocations", form, n)
		}
		if n := testing.AllocsPerRun(1000, func() { IsAnswer(req) }); n != 0 {
			t.Errorf("IsAnswer of %v: %v allocations", form, n)
		}
	}
	if n := testing.AllocsPerRun(1000, func() { x.AppendHTTP(buf, head, c.Now()) }); n != 0 {
		t.Errorf("HTTP: %v allocations", n)
	}
}

func BenchmarkDatagram(b *testing.B) {
	for _, req := range []string{"hi\n", "unixns\n", "bound\n"} {
		b.Run(strings.TrimSpace(req), func(b *testing.B) {
			c := clock.New(clock.Config{})
			x := NewText(c, time.UTC, DateTime, true)
			buf := make([]byte, 0, MaxText)
			r := []byte(req)
			b.ReportAllocs()
			for b.Loop() {
				x.AppendDatagram(buf, r, len(r), c.Now(), c.Now())
			}
		})
	}
}

func BenchmarkIsAnswer(b *testing.B) {
	r := []byte("hi\n")
	for b.Loop() {
		IsAnswer(r)
	}
}

func TestBoundAndJSONCombineKernelAndUpstream(t *testing.T) {
	f := &fake{now: moment, state: clock.State{MaxError: 99500 * time.Microsecond}}
	c := clock.New(clock.Config{Now: func() time.Time { return f.now }, Kernel: f})
	c.SetMeasurement(clock.Measurement{At: moment, Offset: 20 * time.Millisecond, Bound: 5*time.Millisecond - 1, Life: time.Minute})
	x := NewText(c, time.UTC, DateTime, true)
	if got, want := string(x.Append(nil, Bound, f.now)), "1795195062.828729123 1795195062.838729123 synced\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := string(x.Append(nil, JSON, f.now)); !strings.Contains(got, `"earliest_unix_ns":1795195062828729123,"latest_unix_ns":1795195062838729123,"status":"synced"`) {
		t.Error(got)
	}
	c.SetMeasurement(clock.Measurement{At: moment, Offset: time.Second, Bound: 5*time.Millisecond - 1, Life: time.Minute})
	if got, want := string(x.Append(nil, Bound, f.now)), "1795195062.713729123 1795195063.818729123 unsynced\n"; got != want {
		t.Errorf("contradicted: %q, want %q", got, want)
	}
}

func TestTextCrosses2036LeapSecondsAndZoneChanges(t *testing.T) {
	f := &fake{state: clock.State{MaxError: time.Millisecond}}
	// One Text for all times, to test its cache.
	x := f.text(zone(t, "Europe/Berlin"), DateTime)
	for _, c := range []struct {
		at       time.Time
		dateTime string
		rfc3339  string
		unix     string
	}{
		{time.Date(2036, 2, 7, 6, 28, 15, 999999999, time.UTC), "2036-02-07 07:28:15.999999", "2036-02-07T07:28:15.999999999+01:00", "2085978495"},
		{time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC), "2036-02-07 07:28:16.000000", "2036-02-07T07:28:16.000000000+01:00", "2085978496"},
		{time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC), "2038-01-19 04:14:08.000000", "2038-01-19T04:14:08.000000000+01:00", "2147483648"},
		// For a leap second, the kernel repeats the last second of the day.
		{time.Date(2016, 12, 31, 23, 59, 59, 999999999, time.UTC), "2017-01-01 00:59:59.999999", "2017-01-01T00:59:59.999999999+01:00", "1483228799"},
		{time.Date(2016, 12, 31, 23, 59, 59, 0, time.UTC), "2017-01-01 00:59:59.000000", "2017-01-01T00:59:59.000000000+01:00", "1483228799"},
		{time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC), "2017-01-01 01:00:00.000000", "2017-01-01T01:00:00.000000000+01:00", "1483228800"},
		{time.Date(2026, 3, 29, 0, 59, 59, 999999999, time.UTC), "2026-03-29 01:59:59.999999", "2026-03-29T01:59:59.999999999+01:00", "1774745999"},
		{time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), "2026-03-29 03:00:00.000000", "2026-03-29T03:00:00.000000000+02:00", "1774746000"},
		{time.Date(2026, 10, 25, 0, 59, 59, 0, time.UTC), "2026-10-25 02:59:59.000000", "2026-10-25T02:59:59.000000000+02:00", "1792889999"},
		{time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC), "2026-10-25 02:00:00.000000", "2026-10-25T02:00:00.000000000+01:00", "1792890000"},
	} {
		f.now = c.at
		for form, want := range map[Form]string{DateTime: c.dateTime, RFC3339: c.rfc3339, Unix: c.unix} {
			if got := string(x.Append(nil, form, f.now)); got != want+"\n" {
				t.Errorf("%v of %v: %q, want %q", form, c.at, got, want)
			}
		}
	}
	for leap, want := range map[clock.Leap]string{clock.LeapNone: `"leap":"none"`, clock.LeapInsert: `"leap":"insert"`, clock.LeapDelete: `"leap":"delete"`} {
		g := &fake{now: time.Date(2016, 12, 31, 23, 59, 59, 0, time.UTC), state: clock.State{MaxError: time.Millisecond, Leap: leap}}
		if got := string(g.text(time.UTC, DateTime).Append(nil, JSON, g.now)); !strings.Contains(got, want) {
			t.Errorf("%v: %s", leap, got)
		}
	}
}
