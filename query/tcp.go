package query

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// askTCP sends a word as a line, and takes the first line of the answer. The round trip begins
// after the connection is established.
func askTCP(ctx context.Context, h *Host) (Answer, error) {
	conn, _, release, err := dial(ctx, "tcp", h.addr)
	if err != nil {
		return Answer{}, err
	}
	defer release()
	sent := time.Now()
	if _, err := io.WriteString(conn, h.form.String()+"\n"); err != nil {
		return Answer{}, err
	}
	text, received, err := readLine(conn)
	if err != nil {
		return Answer{}, err
	}
	if text == "" {
		return Answer{}, errEmpty
	}
	return newAnswer(text, parseText(text), sent, received), nil
}

// errClosed is the error of a host that closes the connection without an answer.
var errClosed = errors.New("the host closed the connection without an answer")

// readLine reads a line of at most maxAnswer bytes, and returns when its last bytes arrived.
// The end of the connection, or the deadline, also ends a line.
func readLine(conn net.Conn) (line string, received time.Time, err error) {
	b := make([]byte, 0, maxAnswer)
	for len(b) < cap(b) {
		n, err := conn.Read(b[len(b):cap(b)])
		if n > 0 {
			received = time.Now()
		}
		b = b[:len(b)+n]
		if bytes.IndexByte(b, '\n') >= 0 || err != nil && len(b) > 0 {
			break
		}
		if err == io.EOF {
			return "", received, errClosed
		}
		if err != nil {
			return "", received, err
		}
	}
	return firstLine(b), received, nil
}

func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return strings.TrimSpace(string(line))
}
