package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

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
		return wrong("-i=%v -timeout=%v: want times above 0", *interval, *timeout)
	case !ok:
		return wrong("-ask=%q: want one of %s", *ask, strings.Join(answer.Words(), ", "))
	}

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(stop)
	a := &asker{network: *proto, target: target, timeout: *timeout, request: padded(form, *proto)}
	defer a.hangUp()
	answered := 0
	for i := 0; *count == 0 || i < *count; i++ {
		if i > 0 {
			select {
			case <-stop:
				return status(answered)
			case <-time.After(*interval):
			}
		}
		r, err := a.ask()
		if err != nil {
			fmt.Fprintln(stderr, "nowd query:", err)
			continue
		}
		answered++
		fmt.Fprintln(stdout, r)
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

func (a *asker) ask() (r reply, err error) {
	defer func() {
		if err != nil {
			a.hangUp() // a late answer must not be taken for the next one
		}
	}()
	deadline := time.Now().Add(a.timeout)
	if a.conn == nil {
		if a.conn, err = (&net.Dialer{Deadline: deadline}).Dial(a.network, a.target); err != nil {
			return r, err
		}
	}
	if err := a.conn.SetDeadline(deadline); err != nil {
		return r, err
	}
	r.sent = time.Now()
	if _, err := a.conn.Write(a.request); err != nil {
		return r, err
	}
	var b []byte
	for buf := make([]byte, answer.MaxText); ; {
		n, err := a.conn.Read(buf)
		r.received = time.Now()
		b = append(b, buf[:n]...)
		if a.network == "udp" && err == nil || bytes.HasSuffix(b, []byte("\n")) {
			break
		}
		if err != nil {
			return r, err
		}
	}
	r.text = strings.TrimSpace(string(b))
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
	s := fmt.Sprintf("%s  round trip %v", r.text, trip.Round(time.Microsecond))
	if t, err := time.Parse(time.RFC3339Nano, r.text); err == nil {
		offset := t.Sub(r.sent.Add(trip / 2))
		s += fmt.Sprintf("  offset %+.6fs ±%.6fs", offset.Seconds(), (trip / 2).Seconds())
	}
	return s
}
