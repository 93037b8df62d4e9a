package query

import (
	"bytes"
	"context"
	"errors"
	"time"

	"nowd/answer"
)

// errEmpty is the error of a host that answers with nothing.
var errEmpty = errors.New("an empty answer")

// askUDP sends a word as a datagram and takes the first datagram that comes back.
func askUDP(ctx context.Context, h *Host) (Answer, error) {
	b, sent, received, err := exchangeDatagram(ctx, h.addr, request(h.form))
	if err != nil {
		return Answer{}, err
	}
	text := firstLine(b)
	if text == "" {
		return Answer{}, errEmpty
	}
	return newAnswer(text, parseText(text), sent, received), nil
}

// request returns the datagram that asks for a form. A long answer is sent only
// to a request of the same length, so request pads with spaces.
func request(f answer.Form) []byte {
	b := []byte(f.String() + "\n")
	if f == answer.JSON {
		b = append(b, bytes.Repeat([]byte{' '}, answer.MaxText-len(b))...)
	}
	return b
}

// exchangeDatagram sends a datagram and returns the answer, cut to maxAnswer. The
// socket is connected, so that no datagram from elsewhere is taken for the
// answer, and used once, so that no late one is.
func exchangeDatagram(ctx context.Context, addr string, request []byte) (b []byte, sent, received time.Time, err error) {
	conn, _, release, err := dial(ctx, "udp", addr)
	if err != nil {
		return nil, sent, received, err
	}
	defer release()
	sent = time.Now()
	if _, err := conn.Write(request); err != nil {
		return nil, sent, received, err
	}
	b = make([]byte, maxAnswer)
	n, err := conn.Read(b)
	return b[:n], sent, time.Now(), err
}
