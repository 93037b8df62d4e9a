package query

import (
	"bytes"
	"context"
	"errors"
	"time"

	"nowd/answer"
)

// errEmpty is the error of an answer without text.
var errEmpty = errors.New("an empty answer")

// askUDP sends a word as a datagram, and takes the first datagram that comes back.
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

// request returns the datagram that asks for a form. It pads every request with spaces: nowd
// sends a long answer only to a request of the same length, and with NOWD_UDP_MIN_REQUEST
// none to a short one.
func request(f answer.Form) []byte {
	b := []byte(f.String() + "\n")
	return append(b, bytes.Repeat([]byte{' '}, answer.MaxText-len(b))...)
}

// exchangeDatagram sends a datagram and returns the answer, cut to maxAnswer. The socket is
// connected, so that datagrams from other sources are no answer. It is used once, so that
// late answers to an earlier request are none.
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
