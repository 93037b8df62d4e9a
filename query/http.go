package query

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

var errClosed = errors.New("the connection was closed without an answer")

// maxHTTP is how much is read of a response, header and all, in bytes.
const maxHTTP = 64 << 10

// askHTTP gets the path that is a word and takes the first line of the body. The
// connection is made before the time is taken; redirections are not followed.
func askHTTP(ctx context.Context, h *Host) (Answer, error) {
	conn, _, release, err := dial(ctx, "tcp", h.addr)
	if err != nil {
		return Answer{}, err
	}
	defer release()
	sent := time.Now()
	if _, err := fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: nowd\r\nConnection: close\r\n\r\n", h.form, h.addr); err != nil {
		return Answer{}, err
	}
	r := &stamped{Conn: conn}
	response, err := http.ReadResponse(bufio.NewReader(io.LimitReader(r, maxHTTP)), nil)
	if errors.Is(err, io.ErrUnexpectedEOF) && r.last.IsZero() {
		return Answer{}, errClosed
	}
	if err != nil {
		return Answer{}, fmt.Errorf("no response in HTTP: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return Answer{}, fmt.Errorf("HTTP status %s", response.Status)
	}
	line, err := bufio.NewReader(io.LimitReader(response.Body, maxAnswer)).ReadSlice('\n')
	if len(line) == 0 && err != nil {
		return Answer{}, fmt.Errorf("no answer in the body: %w", err)
	}
	text := firstLine(line)
	return newAnswer(text, parseText(text), sent, r.last), nil
}

// stamped is a connection that knows when the last came from it.
type stamped struct {
	net.Conn
	last time.Time
}

func (s *stamped) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if n > 0 {
		s.last = time.Now()
	}
	return n, err
}
