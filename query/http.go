package query

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// maxHTTPHeader is an upper bound on the header of a response, in bytes.
const maxHTTPHeader = 64 << 10

// askHTTP gets the path of the form's word, and takes the first line of the body. The round
// trip begins after the connection is established. askHTTP follows no redirects and uses no
// proxy.
func askHTTP(ctx context.Context, h *Host) (Answer, error) {
	conn, _, release, err := dial(ctx, "tcp", h.addr)
	if err != nil {
		return Answer{}, err
	}
	defer release()
	timed := &timedConn{Conn: conn}
	transport := &http.Transport{
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return timed, nil },
		DisableKeepAlives:      true, // there is only one request
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHTTPHeader,
	}
	request := &http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Scheme: "http", Host: h.addr, Path: "/" + h.form.String()},
		Header: http.Header{"User-Agent": {"nowd"}},
	}
	response, err := transport.RoundTrip(request.WithContext(ctx))
	if err != nil {
		if timed.closedSilently() {
			return Answer{}, errClosed
		}
		return Answer{}, fmt.Errorf("no HTTP response: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return Answer{}, fmt.Errorf("HTTP status %s", response.Status)
	}
	line, err := bufio.NewReader(io.LimitReader(response.Body, maxAnswer)).ReadSlice('\n')
	if len(line) == 0 && err != nil {
		return Answer{}, fmt.Errorf("no answer in the HTTP body: %w", err)
	}
	text := firstLine(line)
	if text == "" {
		return Answer{}, errEmpty
	}
	sent, received := timed.times()
	return newAnswer(text, parseText(text), sent, received), nil
}

// timedConn is a connection that records when the request was sent and when the last bytes
// arrived. The goroutines of http.Transport read and write it.
type timedConn struct {
	net.Conn
	mu             sync.Mutex
	sent, received time.Time // just before the first Write; just after the last Read that returned data
	eof            bool
}

var _ net.Conn = (*timedConn)(nil)

func (c *timedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	if c.sent.IsZero() {
		c.sent = time.Now()
	}
	c.mu.Unlock()
	return c.Conn.Write(b)
}

func (c *timedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > 0 {
		c.received = now
	}
	c.eof = c.eof || errors.Is(err, io.EOF)
	return n, err
}

func (c *timedConn) times() (sent, received time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent, c.received
}

// closedSilently reports whether the host closed the connection without sending a byte.
func (c *timedConn) closedSilently() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.eof && c.received.IsZero()
}
