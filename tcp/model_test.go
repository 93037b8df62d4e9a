package tcp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"nowd/answer"
)

// This file is a model of the server: a second, simple implementation of which answers a
// client must get for its input. It knows nothing of buffers, reads and writes. The tests
// compare the server with it.

// due is an answer that a client must get.
type due struct {
	form answer.Form // unless it is an HTTP error
	code int         // HTTP status; 0 for text
	bare bool        // an answer to HEAD, without a body
	end  int         // offset in the input at which its request ends
}

// patience says what a client's pauses mean.
type patience int

const (
	lines   patience = iota // nothing: only whole lines are requests
	patient                 // nothing: the server's timeout is longer than any pause
	eager                   // the input before a pause is a request
	numPatiences
)

// ledger holds the answers that a client must get for its input so far.
type ledger struct {
	patience
	text     *answer.Text
	left     []byte // unparsed input
	at       int    // where left begins in the input
	skipping bool   // left begins within a line that is too long
	closed   bool   // the rest of the input is ignored
	dues     []due
}

// send records that the client sends b.
func (l *ledger) send(b []byte) {
	l.left = append(l.left, b...)
	for l.next() {
	}
}

// pause records that the client waits for answers.
func (l *ledger) pause() {
	if l.patience == eager && len(l.left) > 0 && !isHead(l.left) && !l.skipping && !l.closed {
		l.owe(due{form: l.text.Form(l.left)}, len(l.left))
	}
}

// end records that the client half-closes.
func (l *ledger) end() {
	if len(l.left) > 0 && !l.skipping && !l.closed {
		if isHead(l.left) {
			l.owe(due{code: http.StatusBadRequest, bare: l.left[0] == 'H'}, len(l.left))
		} else if l.patience != lines {
			l.owe(due{form: l.text.Form(l.left)}, len(l.left))
		}
	}
	if len(l.dues) == 0 {
		l.owe(due{form: l.text.Form(nil)}, 0)
	}
}

// next parses the beginning of left, and reports whether there may be more to parse.
func (l *ledger) next() bool {
	line, _, whole := bytes.Cut(l.left, []byte("\n"))
	switch {
	case l.closed || len(l.left) == 0:
		return false
	case l.skipping:
		l.skipping = !whole
		l.drop(min(len(line)+1, len(l.left)))
	case isHead(l.left):
		return l.nextHead()
	case len(line) > maxLine:
		l.owe(due{form: l.text.Form(nil)}, maxLine+1)
		l.skipping = true
	case whole:
		l.owe(due{form: l.text.Form(line)}, len(line)+1)
	default:
		return false
	}
	return true
}

func (l *ledger) nextHead() bool {
	begin := l.left[:min(len(l.left), answer.MaxHead)]
	end := len(begin)
	for _, blank := range []string{"\n\n", "\n\r\n"} {
		if i := bytes.Index(begin, []byte(blank)); i >= 0 {
			end = min(end, i+len(blank))
		}
	}
	d := due{code: http.StatusRequestHeaderFieldsTooLarge, bare: begin[0] == 'H'}
	if head := begin[:end]; bytes.HasSuffix(head, []byte("\n\n")) || bytes.HasSuffix(head, []byte("\n\r\n")) {
		d.form, d.code = l.answerTo(head)
	} else if end < answer.MaxHead {
		return false
	}
	l.owe(d, end)
	l.closed = true
	return false
}

// answerTo returns the form and the status of the answer to a head.
func (l *ledger) answerTo(head []byte) (answer.Form, int) {
	line, _, _ := strings.Cut(string(head), "\n")
	words := strings.SplitN(strings.TrimSuffix(line, "\r"), " ", 3)
	if len(words) < 3 || !strings.HasPrefix(words[2], "HTTP/1.") {
		return 0, http.StatusBadRequest
	}
	target := words[1]
	if host, ok := strings.CutPrefix(target, "http://"); ok {
		if i := strings.IndexByte(host, '/'); i >= 0 {
			target = host[i:]
		} else {
			target = "/"
		}
	}
	if target == "" || target[0] != '/' {
		return 0, http.StatusBadRequest
	}
	path, _, _ := strings.Cut(target[1:], "?")
	if path == "" {
		return l.text.Form(nil), http.StatusOK
	}
	if form, ok := answer.ParseForm([]byte(path)); ok {
		return form, http.StatusOK
	}
	return 0, http.StatusNotFound
}

// owe adds an answer to the first size bytes of left.
func (l *ledger) owe(d due, size int) {
	d.end = l.at + size
	l.dues = append(l.dues, d)
	l.drop(size)
}

func (l *ledger) drop(size int) {
	l.left = l.left[size:]
	l.at += size
}

func isHead(b []byte) bool {
	return bytes.HasPrefix(b, []byte("GET ")) || bytes.HasPrefix(b, []byte("HEAD "))
}

// errTooFew means that the bytes received may be the beginning of an answer.
var errTooFew = errors.New("incomplete answer")

// check checks that b begins with the answer d, with a time from early to late, and
// returns its length. eof says that b is the end of the output.
func (d due) check(b []byte, eof bool, early, late time.Time) (int, error) {
	if d.code != 0 {
		if !eof {
			return 0, errTooFew
		}
		return len(b), d.checkHTTP(b, early, late)
	}
	n := bytes.IndexByte(b, '\n') + 1
	if n == 0 {
		return 0, errTooFew
	}
	return n, checkText(d.form, string(b[:n-1]), early, late)
}

func (d due) checkHTTP(b []byte, early, late time.Time) error {
	method := http.MethodGet
	if d.bare {
		method = http.MethodHead
	}
	in := bufio.NewReader(bytes.NewReader(b))
	r, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		return fmt.Errorf("%q: %w", b, err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("%q: %w", b, err)
	}
	date, err := http.ParseTime(r.Header.Get("Date"))
	switch {
	case err != nil:
		return fmt.Errorf("%q: %w", b, err)
	case r.StatusCode != d.code || !r.Close || in.Buffered() > 0 || d.bare != (len(body) == 0):
		return fmt.Errorf("%q: want one response with status %d", b, d.code)
	case !d.bare && r.ContentLength != int64(len(body)):
		return fmt.Errorf("%q: Content-Length %d, want %d", b, r.ContentLength, len(body))
	case !within(date, time.Second, early, late):
		return fmt.Errorf("%q: want a date from %v to %v", b, early, late)
	case d.code == http.StatusOK && !d.bare:
		return checkText(d.form, strings.TrimSuffix(string(body), "\n"), early, late)
	}
	return nil
}

// checkText checks the form and the time of a text answer without its newline.
func checkText(form answer.Form, s string, early, late time.Time) error {
	at, unit, err := timeOf(form, s)
	if err != nil {
		return fmt.Errorf("%q, want a %v: %w", s, form, err)
	}
	if unit != 0 && !within(at, unit, early, late) {
		return fmt.Errorf("%q, want a time from %v to %v", s, early, late)
	}
	return nil
}

// timeOf parses an answer. It returns its time and the unit that the time is truncated to,
// or 0 for an answer without a time.
func timeOf(form answer.Form, s string) (at time.Time, unit time.Duration, err error) {
	switch form {
	case answer.DateTime:
		at, err = time.Parse("2006-01-02 15:04:05.000000", s)
		return at, time.Microsecond, err
	case answer.RFC3339:
		at, err = time.Parse("2006-01-02T15:04:05.000000000Z07:00", s)
		return at, time.Nanosecond, err
	case answer.Unix, answer.UnixMS, answer.UnixUS, answer.UnixNS:
		unit = map[answer.Form]time.Duration{answer.Unix: time.Second, answer.UnixMS: time.Millisecond, answer.UnixUS: time.Microsecond, answer.UnixNS: 1}[form]
		n, err := strconv.ParseInt(s, 10, 64)
		if err == nil && len(s) != len(strconv.FormatInt(time.Now().UnixNano()/int64(unit), 10)) {
			err = errors.New("wrong unit")
		}
		return time.Unix(0, n*int64(unit)), unit, err
	case answer.Bound:
		words := strings.Split(s, " ")
		if len(words) != 3 || words[2] != "synced" && words[2] != "unsynced" {
			err = errors.New("not two times and a status")
		}
		return at, 0, err
	case answer.JSON:
		var j struct {
			Time   time.Time
			NS     int64 `json:"unix_ns"`
			Status string
		}
		err = json.Unmarshal([]byte(s), &j)
		if err == nil && j.Time.UnixNano() != j.NS {
			err = errors.New("time and unix_ns differ")
		}
		return j.Time, time.Nanosecond, err
	default:
		if s != strings.Join(answer.Words(), " ") {
			err = errors.New("not the list of words")
		}
		return at, 0, err
	}
}

// within reports whether at, truncated to unit, may be a time from early to late.
func within(at time.Time, unit time.Duration, early, late time.Time) bool {
	return at.Add(unit).After(early.Round(0)) && !at.After(late.Round(0))
}
