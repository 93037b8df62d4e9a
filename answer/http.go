package answer

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxHead is how long the head of an HTTP request may be.
const MaxHead = 8 << 10

// IsHTTP reports whether a request that starts with b is one in HTTP, and
// whether it may still become one when more of it is there.
func IsHTTP(b []byte) (is, maybe bool) {
	if len(b) > 0 && b[0] != 'G' && b[0] != 'H' { // nearly always
		return false, false
	}
	for _, method := range [...]string{"GET ", "HEAD "} {
		if n := min(len(b), len(method)); string(b[:n]) == method[:n] {
			is = is || n == len(method)
			maybe = maybe || n < len(method)
		}
	}
	return is, maybe
}

// HeadEnd returns the length of an HTTP request's head in b, its blank line
// included, or -1 if it is not all there.
func HeadEnd(b []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return -1
		}
		from += i + 1
		switch rest := b[from:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return from + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return from + 2
		}
	}
}

// MaxHTTP is as long as no answer over HTTP is.
const MaxHTTP = MaxText + 512

// AppendHTTP appends the answer to a request in HTTP/1.0 or 1.1, of which head
// holds everything up to the blank line: RFC 9112. The path's word chooses the
// form. It returns the form, or NumForms where no time was given.
func (t *Text) AppendHTTP(b, head []byte, now time.Time) ([]byte, Form) {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	method, rest, _ := strings.Cut(string(bytes.TrimSuffix(line, []byte("\r"))), " ")
	target, version, _ := strings.Cut(rest, " ")
	if proxied, ok := strings.CutPrefix(target, "http://"); ok { // RFC 9112, section 3.2.2
		_, target, _ = strings.Cut(proxied, "/")
		target = "/" + target
	}
	if !strings.HasPrefix(version, "HTTP/1.") || !strings.HasPrefix(target, "/") {
		return appendHTTPError(b, http.StatusBadRequest, method, now), NumForms
	}
	path, _, _ := strings.Cut(target[1:], "?")
	f := t.form
	if path != "" {
		var ok bool
		if f, ok = ParseForm([]byte(path)); !ok {
			return appendHTTP(b, http.StatusNotFound, plain, []byte(notFound), method, now), NumForms
		}
	}
	kind := plain
	if f == JSON {
		kind = "application/json"
	}
	var body [MaxText]byte
	return appendHTTP(b, http.StatusOK, kind, t.Append(body[:0], f, now), method, now), f
}

// AppendHTTPError appends the answer to a head that is not all there, which
// gives no time: http.StatusRequestTimeout, say.
func (t *Text) AppendHTTPError(b, head []byte, code int, now time.Time) []byte {
	method, _, _ := strings.Cut(string(head[:min(len(head), len("HEAD "))]), " ")
	return appendHTTPError(b, code, method, now)
}

func appendHTTPError(b []byte, code int, method string, now time.Time) []byte {
	body := strings.ToLower(http.StatusText(code)) + "\n"
	return appendHTTP(b, code, plain, []byte(body), method, now)
}

const plain = "text/plain; charset=utf-8"

var notFound = "not found; there are: /" + strings.Join(words, " /") + "\n"

func appendHTTP(b []byte, code int, kind string, body []byte, method string, now time.Time) []byte {
	b = strconv.AppendInt(append(b, "HTTP/1.1 "...), int64(code), 10)
	b = append(append(b, ' '), http.StatusText(code)...)
	b = now.UTC().AppendFormat(append(b, "\r\nDate: "...), http.TimeFormat)
	b = append(append(b, "\r\nContent-Type: "...), kind...)
	b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), int64(len(body)), 10)
	b = append(b, "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"...)
	if method == http.MethodHead {
		return b
	}
	return append(b, body...)
}
