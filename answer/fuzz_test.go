package answer

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"nowd/clock"
)

// edgeCases are valid and invalid requests and answers at the limits of the parsers.
var edgeCases = []string{
	"", "\n", "\x00", "unix", " UNIX\r\n", "unixns\x00\x00", "help", "json                ", "datetime\n\n", "dаtetime", "u nix",
	"datetime" + strings.Repeat(" ", 40), "DATETIME" + strings.Repeat("\x00", 40), strings.Repeat(" ", 40) + "datetime",
	"1795195062", "-0000000001", "1795195062.810229123 1795195062.817229123 synced\n", "- - unsynced", "- - synced", "- -", "-", "--", "synced", " synced", "- synced",
	"2026-11-21 01:17:42.813729", "2026-11-21T01:17:42.813729123+08:00", "12026-11-21 01:17:42.813729\n", "-0044-03-15 12:00:00.000000", "2026-11-21 01:17:42.", "9999999999999",
	`{"time":"`, `{"time"`, "{", help, help + " ", "datetime rfc3339",
}

// text returns a Text whose clock shows now, in a zone offset seconds east of UTC. The
// kernel reports maxError, or nothing if that is negative.
func text(now time.Time, offset int32, maxError time.Duration, form Form, newline bool) *Text {
	k := &fake{state: clock.State{MaxError: maxError, EstError: maxError / 2, Offset: -maxError, TAI: 37}}
	if maxError < 0 {
		k.err = clock.ErrUnsupported
	}
	c := clock.New(clock.Config{Now: func() time.Time { return now }, Kernel: k})
	return NewText(c, time.FixedZone("", int(offset)%(24*60*60)), form, newline)
}

// at returns a time within a million years of 1970. Clocks show less.
func at(sec int64, nsec uint32) time.Time {
	const million = 1e6 * 366 * 24 * 60 * 60
	return time.Unix(sec%million, int64(nsec%1e9))
}

// seconds are unix times at which something changes: sign, width, year, era.
var seconds = []int64{
	0, 1, -1, 999_999_999, 1_000_000_000, -1_000_000_000, 9_999_999_999, 10_000_000_000, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 2_085_978_495, 2_085_978_496,
	-62_135_596_800, -62_135_596_801, -62_167_219_200, -62_167_219_201, 253_402_300_799, 253_402_300_800, 9_223_372_036, 9_223_372_037, -9_223_372_037, 31_556_889_864_403_199, 1_795_195_062,
}

// FuzzForm: ParseForm accepts the words and nothing else.
func FuzzForm(f *testing.F) {
	for _, s := range append(edgeCases, Words()...) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		word := strings.Trim(string(b), " \t\n\v\f\r\x00")
		want := slices.IndexFunc(Words(), func(w string) bool { return strings.EqualFold(w, word) && len(w) == len(word) })
		got, ok := ParseForm(b)
		if ok != (want >= 0) || ok && (int(got) != want || got.String() != Words()[want]) {
			t.Errorf("%q: %v, %v", b, got, ok)
		}
		if ok && IsAnswer(b) {
			t.Errorf("IsAnswer(%q) is true", b)
		}
		const before = Help
		f := before
		err := f.UnmarshalText(b)
		if (err == nil) != (ok && got != Help && word == string(b)) || err == nil && f != got || err != nil && f != before {
			t.Errorf("%q as a setting: %v, %v", b, f, err)
		}
	})
}

// FuzzOwnAnswers: IsAnswer recognises every answer, at any time and in any zone. No answer
// is longer than MaxText.
func FuzzOwnAnswers(f *testing.F) {
	for i, sec := range seconds {
		f.Add(sec, uint32(i)*99_999_999, int32(i*3617-20000), int64(i)*1_000_000, byte(i))
		f.Add(-sec, uint32(1), int32(-i), int64(-1), byte(i+1))
	}
	f.Fuzz(func(t *testing.T, sec int64, nsec uint32, offset int32, maxError int64, form byte) {
		now := at(sec, nsec)
		x := text(now, offset, time.Duration(maxError), Form(form)%numTextForms, true)
		b := x.Append([]byte("before"), x.form, now)
		b, kept := bytes.CutPrefix(b, []byte("before"))
		if !kept || len(b) == 0 || len(b) > MaxText || bytes.IndexByte(b, '\n') != len(b)-1 {
			t.Errorf("%v at %v: %q", x.form, now, b)
		}
		for _, b := range [][]byte{b, b[:len(b)-1], append([]byte(" \x00\r\n"), b...), append(b[:len(b):len(b)], make([]byte, 100)...)} {
			if !IsAnswer(b) {
				t.Errorf("%v at %v: IsAnswer(%q) is false", x.form, now, b)
			}
		}
		// The cache of the previous second does not affect the next.
		next := now.Add(time.Second)
		if got, want := x.Append(nil, x.form, next), text(now, offset, time.Duration(maxError), x.form, true); !bytes.Equal(got, want.Append(nil, x.form, next)) && x.form != JSON && x.form != Bound {
			t.Errorf("%v at %v, after another second: %q", x.form, next, got)
		}
	})
}

// textAnswer matches answers in text.
var textAnswer = regexp.MustCompile(`^(-?\d{10,}|-?\d{4,}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.(\d{6}|\d{9}(Z|[+-]\d\d:\d\d))|-?\d{10,}\.\d{9} -?\d{10,}\.\d{9} (un)?synced|- - unsynced|\{"time":"[^\n]*\}|` + regexp.QuoteMeta(help) + `)$`)

// FuzzIsAnswer: IsAnswer recognises everything that matches textAnswer, also with padding.
func FuzzIsAnswer(f *testing.F) {
	for _, s := range edgeCases {
		f.Add([]byte(s), uint8(len(s)))
	}
	f.Fuzz(func(t *testing.T, b []byte, pad uint8) {
		own := IsAnswer(b)
		if !textAnswer.Match(trim(b)) {
			return
		}
		if padded := append(append(make([]byte, pad), b...), make([]byte, pad)...); !own || !IsAnswer(padded) {
			t.Errorf("IsAnswer(%q) is false", b)
		}
	})
}

// FuzzDatagram: no answer is empty or longer than its request and maxUnpadded. Its form is
// the requested one or a default.
func FuzzDatagram(f *testing.F) {
	for i, s := range append(edgeCases, Words()...) {
		f.Add([]byte(s), uint16(0), seconds[i%len(seconds)], uint32(i), int32(i*1800), int64(i-3), byte(i))
		f.Add([]byte(s), uint16(i), -seconds[i%len(seconds)], uint32(i), int32(-i*1800), int64(1e15), byte(i*5))
		f.Add(append([]byte(s), make([]byte, 400)...), uint16(i%2), seconds[i%len(seconds)], uint32(i), int32(i), int64(1e6), byte(i*7))
	}
	for n := 180; n < 340; n += 7 { // about as long as the answer
		f.Add(append([]byte("json"), make([]byte, n)...), uint16(0), int64(1_795_195_062), uint32(1), int32(n), int64(n), byte(n))
	}
	f.Fuzz(func(t *testing.T, req []byte, more uint16, sec int64, nsec uint32, offset int32, maxError int64, kind byte) {
		now := at(sec, nsec)
		x := text(now, offset, time.Duration(maxError), Form(kind/2)%numTextForms, kind&1 > 0)
		size := len(req) + int(more)
		b, outcome := x.AppendDatagram([]byte("before"), req, size, now, now)
		got, ok := outcome.Form()
		if !ok {
			t.Fatalf("no answer to %q", req)
		}
		b, kept := bytes.CutPrefix(b, []byte("before"))
		if !kept || len(b) == 0 || len(b) > max(64, size) || len(b) > MaxText {
			t.Fatalf("an answer of %d bytes to a request %q of %d", len(b), req, size)
		}
		if want := x.Append(nil, got, now); !bytes.Equal(b, want) {
			t.Fatalf("answer %q in form %v, want %q", b, got, want)
		}
		asked, isWord := ParseForm(req)
		if !isWord || more > 0 {
			asked = x.form
		}
		fits := func(f Form) bool { return len(x.Append(nil, f, now)) <= max(64, size) }
		switch {
		case got == asked && fits(asked):
		case got == x.form && !fits(asked) && fits(x.form):
		case got == DateTime && !fits(asked) && !fits(x.form):
		default:
			t.Errorf("form %v for request %q of %d bytes, with default form %v", got, req, size, x.form)
		}
	})
}

// FuzzHTTP: every HTTP request gets a valid HTTP answer, which contains nothing from the
// request.
func FuzzHTTP(f *testing.F) {
	for _, s := range []string{
		"/ HTTP/1.1\r\nHost: x\r\n\r\n", "/unix HTTP/1.0\n\n", "http://x HTTP/1.1\n\r\n", "http:///json?x=y HTTP/1.1\n\r\n", "", " ", "\n", "/", "/ \r\n\r\n", "/bound HTTP/1.\n\n",
		"/\x00unix HTTP/1.1\n\n", "//unix HTTP/1.1\n\n", "/?/unix HTTP/1.1\n\n", "/% HTTP/1.1\r\r\n\n", "/unix\r\n\r\n", "* HTTP/1.1\n\n", "/help HTTP/1.1 \r\n\r\nrest", strings.Repeat("x", MaxHead), "/\rSet-Cookie: x HTTP/1.1\n\n",
	} {
		f.Add([]byte(s), false, byte(len(s)), byte(1))
		f.Add([]byte(s), true, byte(0), byte(len(s)))
	}
	blank := regexp.MustCompile(`\n\r?\n`)
	now := moment
	f.Fuzz(func(t *testing.T, b []byte, bare bool, cut, form byte) {
		method := http.MethodGet
		if bare {
			method = http.MethodHead
		}
		b = append([]byte(method+" "), b...)
		if is, _ := IsHTTP(b); !is {
			t.Fatalf("IsHTTP(%q) is false", b)
		}
		if is, maybe := IsHTTP(b[:min(int(cut), len(method))]); is || !maybe {
			t.Fatalf("IsHTTP of the beginning %q: %v, %v", b[:cut], is, maybe)
		}
		end := -1
		if m := blank.FindIndex(b); m != nil {
			end = m[1]
		}
		if got := HeadEnd(b); got != end {
			t.Fatalf("the head of %q ends at %d, want %d", b, got, end)
		}
		x := text(now, 3600, time.Millisecond, Form(form)%Help, form&16 > 0)
		var raw []byte
		code, outcome := http.StatusRequestTimeout, NoRequest
		if end >= 0 {
			raw, outcome = x.AppendHTTP([]byte("before"), b[:end], now)
		} else {
			raw, outcome = AppendHTTPError([]byte("before"), b, code, now)
		}
		got, ok := outcome.Form()
		if !ok && outcome != HTTPError {
			t.Fatalf("%q: no answer", b)
		}
		raw, kept := bytes.CutPrefix(raw, []byte("before"))
		if !kept || len(raw) > MaxHTTP {
			t.Fatalf("an answer of %d bytes to %q", len(raw), b)
		}
		in := bufio.NewReader(bytes.NewReader(raw))
		r, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%q for %q: %v", raw, b, err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || in.Buffered() > 0 {
			t.Fatalf("%q for %q: %v", raw, b, err)
		}
		if r.ContentLength < 1 || !bare && int(r.ContentLength) != len(body) || bare && len(body) > 0 {
			t.Errorf("%q for %q: Content-Length %d", raw, b, r.ContentLength)
		}
		if date, err := http.ParseTime(r.Header.Get("Date")); err != nil || !date.Equal(now.Truncate(time.Second)) {
			t.Errorf("%q for %q: %v", raw, b, err)
		}
		if len(r.Header) != 4 || !r.Close || r.ProtoMajor != 1 || r.ProtoMinor != 1 {
			t.Errorf("%q for %q", raw, b)
		}
		switch {
		case end < 0:
			if ok || r.StatusCode != code {
				t.Errorf("%q for %q", raw, b)
			}
		case (r.StatusCode == http.StatusOK) != ok:
			t.Errorf("%q, outcome %d, for %q", raw, outcome, b)
		case ok && !bare && !bytes.Equal(body, x.Append(nil, got, now)):
			t.Errorf("%q, in form %v, for %q", raw, got, b)
		case !ok && r.StatusCode != http.StatusNotFound && r.StatusCode != http.StatusBadRequest:
			t.Errorf("%q for %q", raw, b)
		}
	})
}

// FuzzIsHTTP: IsHTTP recognises only input that begins with a method.
func FuzzIsHTTP(f *testing.F) {
	for _, s := range append(edgeCases, "G", "GET", "GET ", "HEAD", "HEAD /", "GETS", "HEA ", "get /", "POST /") {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := string(b)
		want := [2]bool{strings.HasPrefix(s, "GET ") || strings.HasPrefix(s, "HEAD "), len(s) < 4 && strings.HasPrefix("GET ", s) || len(s) < 5 && strings.HasPrefix("HEAD ", s)}
		if is, maybe := IsHTTP(b); is != want[0] || maybe != want[1] {
			t.Errorf("%q: %v, %v", b, is, maybe)
		}
	})
}
