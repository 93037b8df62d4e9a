package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"nowd/answer"
)

// query asks a nowd for the time, and prints the answer, how long it took, and
// how far this host's clock is off from it. It fails if nothing was answered.
func query(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("nowd query", flag.ContinueOnError)
	flags.SetOutput(stderr)
	proto := flags.String("proto", "udp", "ask over `udp or tcp`")
	count := flags.Int("n", 1, "ask so `many` times; 0 is for ever")
	interval := flags.Duration("i", time.Second, "the `time` between two questions")
	timeout := flags.Duration("timeout", time.Second, "the `time` to wait for an answer")
	ask := flags.String("ask", "rfc3339", "the `word` to ask")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: nowd query [flags] [HOST:PORT]   (default 127.0.0.1:3333)")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	wrong := func(format string, args ...any) int {
		fmt.Fprintf(stderr, "nowd query: "+format+"\n", args...)
		return 2
	}
	target := "127.0.0.1:3333"
	switch flags.NArg() {
	case 0:
	case 1:
		target = flags.Arg(0)
	default:
		return wrong("one HOST:PORT, but got %q", flags.Args())
	}
	if _, _, err := net.SplitHostPort(target); err != nil {
		return wrong("%q: want HOST:PORT", target)
	}
	form, ok := answer.ParseForm([]byte(*ask))
	switch {
	case *proto != "udp" && *proto != "tcp":
		return wrong("-proto=%q: want udp or tcp", *proto)
	case *count < 0:
		return wrong("-n=%d: want 0 or more", *count)
	case *interval < 0 || *timeout <= 0:
		return wrong("-i=%v -timeout=%v: want times that are not negative, and a time-out above 0", *interval, *timeout)
	case !ok:
		return wrong("-ask=%q: want one of %s", *ask, strings.Join(answer.Words(), ", "))
	}

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	a := &asker{network: *proto, target: target, timeout: *timeout, request: padded(form, *proto)}
	defer a.hangUp()
	answered := 0
	for i := 0; (*count == 0 || i < *count) && ctx.Err() == nil; i++ {
		if i > 0 {
			select {
			case <-ctx.Done():
				continue
			case <-time.After(*interval):
			}
		}
		r, err := a.ask(ctx)
		switch {
		case err == nil:
			answered++
			fmt.Fprintln(stdout, r)
		case ctx.Err() == nil:
			fmt.Fprintln(stderr, "nowd query:", err)
		}
	}
	return status(answered)
}

func status(answered int) int {
	if answered == 0 {
		return 1
	}
	return 0
}

// padded returns the request for a form. A datagram has to be as long as the
// answer, if that is a long one.
func padded(f answer.Form, network string) []byte {
	req := []byte(f.String() + "\n")
	if network == "udp" && f == answer.JSON {
		req = append(req, bytes.Repeat([]byte{' '}, answer.MaxText-len(req))...)
	}
	return req
}

// asker asks one nowd, over one connection for as long as that lasts.
type asker struct {
	network, target string
	timeout         time.Duration
	request         []byte
	conn            net.Conn
}

// reply is an answer and when it came.
type reply struct {
	text           string
	sent, received time.Time
}

// maxReply is how much is read of an answer without an end.
const maxReply = 64 << 10

func (a *asker) ask(ctx context.Context) (r reply, err error) {
	keep := false
	defer func() {
		if !keep { // what comes late must not be taken for the next answer
			a.hangUp()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	if a.conn == nil {
		if a.conn, err = new(net.Dialer).DialContext(ctx, a.network, a.target); err != nil {
			return r, err
		}
	}
	conn := a.conn
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	r.sent = time.Now()
	if _, err := conn.Write(a.request); err != nil {
		return r, err
	}
	var b []byte
	buf := make([]byte, 4096)
	for len(b) < maxReply {
		n, err := conn.Read(buf)
		if n > 0 || a.network == "udp" {
			r.received = time.Now()
		}
		b = append(b, buf[:n]...)
		if a.network == "udp" && err == nil || bytes.IndexByte(buf[:n], '\n') >= 0 {
			keep = true
			break
		}
		// An answer need not end in a newline, if it ends.
		if err != nil && len(b) > 0 {
			break
		}
		if err != nil {
			return r, err
		}
	}
	line, more, _ := bytes.Cut(b, []byte("\n"))
	keep = keep && len(more) == 0
	r.text = strings.TrimSpace(string(line))
	return r, nil
}

func (a *asker) hangUp() {
	if a.conn != nil {
		_ = a.conn.Close()
		a.conn = nil
	}
}

// String shows the answer and the round trip, and, if the answer is a time, the
// offset of the other host's clock from this one's: it told the time at some
// moment of the round trip, so the offset from its middle is right to half of
// it.
func (r reply) String() string {
	trip := r.received.Sub(r.sent)
	s := fmt.Sprintf("%s  round trip %v", printable(r.text), trip.Round(time.Microsecond))
	if t, ok := r.time(); ok {
		offset := t.Sub(r.sent.Add(trip / 2))
		s += fmt.Sprintf("  offset %+.6fs ±%.6fs", offset.Seconds(), (trip / 2).Seconds())
	}
	return s
}

// printable quotes what could do things to a terminal.
func printable(s string) string {
	if strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return strconv.Quote(s)
	}
	return s
}

// time returns the time that the answer tells, if it is precise enough to
// compare and does not hang on a zone.
func (r reply) time() (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339Nano, r.text); err == nil {
		return t, true
	}
	var j struct {
		UnixNS int64 `json:"unix_ns"`
	}
	if json.Unmarshal([]byte(r.text), &j) == nil && j.UnixNS != 0 {
		return time.Unix(0, j.UnixNS), true
	}
	n, err := strconv.ParseInt(r.text, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	switch len(r.text) { // digits, in this age of the world
	case 13:
		return time.UnixMilli(n), true
	case 16:
		return time.UnixMicro(n), true
	case 19:
		return time.Unix(0, n), true
	}
	return time.Time{}, false
}
