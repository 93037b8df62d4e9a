package answer

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxHead is the maximum length of an HTTP request's head, in bytes.
const MaxHead = 8 << 10

// IsHTTP reports whether a request that starts with b is an HTTP request, and if not,
// whether it may become one with more input.
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

// HeadEnd returns the length of the HTTP request head at the beginning of b, including its
// blank line. It returns -1 if b has no blank line.
func HeadEnd(b []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return -1
		}
		from += i + 1
		switch next := b[from:]; {
		case len(next) > 0 && next[0] == '\n':
			return from + 1
		case len(next) > 1 && next[0] == '\r' && next[1] == '\n':
			return from + 2
		}
	}
}

// MaxHTTP is an upper bound on the length of an HTTP answer, in bytes.
const MaxHTTP = MaxText + 512

// AppendHTTP appends the answer to an HTTP/1.0 or HTTP/1.1 request (RFC 9112). head is the
// request's head, including its blank line. The path is the word of the form, or / for the
// default form. For an unknown word the status is 404, and for a malformed head 400.
func (t *Text) AppendHTTP(b, head []byte, now time.Time) ([]byte, Outcome) {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	method, afterMethod, _ := strings.Cut(string(bytes.TrimSuffix(line, []byte("\r"))), " ")
	target, version, _ := strings.Cut(afterMethod, " ")
	if proxied, ok := strings.CutPrefix(target, "http://"); ok { // RFC 9112, section 3.2.2
		_, target, _ = strings.Cut(proxied, "/")
		target = "/" + target
	}
	if !strings.HasPrefix(version, "HTTP/1.") || !strings.HasPrefix(target, "/") {
		return appendHTTPError(b, http.StatusBadRequest, method, now)
	}
	path, _, _ := strings.Cut(target[1:], "?")
	f := t.form
	if path != "" {
		var ok bool
		if f, ok = ParseForm([]byte(path)); !ok {
			return appendHTTP(b, http.StatusNotFound, plainText, []byte(notFound), method, now), HTTPError
		}
	}
	contentType := plainText
	if f == JSON {
		contentType = "application/json"
	}
	var body [MaxText]byte
	return appendHTTP(b, http.StatusOK, contentType, t.Append(body[:0], f, now), method, now), Answered(f)
}

// AppendHTTPError appends an HTTP answer with an error status, such as
// http.StatusRequestTimeout. head is the request's head, which may be incomplete.
func AppendHTTPError(b, head []byte, code int, now time.Time) ([]byte, Outcome) {
	method, _, _ := strings.Cut(string(head[:min(len(head), len("HEAD "))]), " ")
	return appendHTTPError(b, code, method, now)
}

func appendHTTPError(b []byte, code int, method string, now time.Time) ([]byte, Outcome) {
	body := strings.ToLower(http.StatusText(code)) + "\n"
	return appendHTTP(b, code, plainText, []byte(body), method, now), HTTPError
}

const plainText = "text/plain; charset=utf-8"

var notFound = "not found; there are: /" + strings.Join(words, " /") + "\n"

func appendHTTP(b []byte, code int, contentType string, body []byte, method string, now time.Time) []byte {
	b = strconv.AppendInt(append(b, "HTTP/1.1 "...), int64(code), 10)
	b = append(append(b, ' '), http.StatusText(code)...)
	b = now.UTC().AppendFormat(append(b, "\r\nDate: "...), http.TimeFormat)
	b = append(append(b, "\r\nContent-Type: "...), contentType...)
	b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), int64(len(body)), 10)
	b = append(b, "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"...)
	if method == http.MethodHead {
		return b
	}
	return append(b, body...)
}
