// Package query asks hosts for the time, over several protocols. It computes the offsets of
// their clocks from this host's, the errors of these offsets, and which hosts disagree.
// Command is the command "nowd query".
//
// The package trusts no host: it reads a limited number of bytes, for a limited time, and
// prints no control characters.
package query

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"nowd/answer"
	"nowd/ntp"
)

// protocol is a way to ask a host.
type protocol struct {
	network string // for names of ports
	port    string // default port
	words   bool   // the request is one of the words of package answer
	quality bool   // an answer can say whether the clock is synchronised
	ask     func(ctx context.Context, h *Host) (Answer, error)
}

var protocols = map[string]protocol{
	"udp":         {"udp", "3333", true, true, askUDP},
	"tcp":         {"tcp", "3333", true, true, askTCP},
	"http":        {"tcp", "3333", true, true, askHTTP},
	"ntp":         {"udp", "123", false, true, askNTP},
	"daytime":     {"udp", "13", false, false, askDaytimeUDP},
	"daytime+tcp": {"tcp", "13", false, false, askDaytimeTCP},
	"time":        {"udp", "37", false, false, askTimeUDP},
	"time+tcp":    {"tcp", "37", false, false, askTimeTCP},
}

// protocolNames returns the names of all protocols, sorted.
func protocolNames() []string { return slices.Sorted(maps.Keys(protocols)) }

// takesWords reports whether the request of a protocol is one of the words of package answer.
func takesWords(proto string) bool { return protocols[proto].words }

// tellsQuality reports whether an answer says whether the clock is synchronised. form is the
// requested form, if the protocol takes words.
func tellsQuality(proto string, form answer.Form) bool {
	p := protocols[proto]
	return p.quality && (!p.words || form == answer.JSON || form == answer.Bound)
}

// tellsTime reports whether an answer has a time that can be compared: DateTime lacks the
// zone, and Help the time.
func tellsTime(proto string, form answer.Form) bool {
	return !protocols[proto].words || form != answer.DateTime && form != answer.Help
}

// Host is a host to ask. Only one goroutine at a time may call its methods.
type Host struct {
	Name  string // the target
	Proto string

	protocol
	addr    string // host:port
	form    answer.Form
	timeout time.Duration
}

// New returns the host of a target: HOST, HOST:PORT, an IPv6 address, or an IPv6 address in
// brackets with or without a port. proto is the name of a protocol. form is the requested
// form, if the protocol takes words. timeout is how long Ask waits.
func New(proto, target string, form answer.Form, timeout time.Duration) (*Host, error) {
	p, ok := protocols[proto]
	if !ok {
		return nil, fmt.Errorf("unknown protocol %q", proto)
	}
	addr, err := parseTarget(target, p.network, p.port)
	if err != nil {
		return nil, err
	}
	return &Host{Name: target, Proto: proto, protocol: p, addr: addr, form: form, timeout: timeout}, nil
}

// Ask asks once. An error begins with the host's name.
func (h *Host) Ask(ctx context.Context) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	a, err := h.ask(ctx, h)
	switch {
	case err == nil:
		return a, nil
	case errors.Is(err, ntp.ErrImplausible): // says more than the timeout
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("no answer within %v", h.timeout)
	}
	return Answer{}, fmt.Errorf("%s: %w", h.Name, err)
}

// Result is the result of asking a host once.
type Result struct {
	Host   *Host
	Answer Answer
	Err    error // why there is no Answer
}

// AskAll asks all hosts at the same time, and returns their results in the order of hosts. It
// calls finished with the index of each host whose result has arrived, from several
// goroutines.
func AskAll(ctx context.Context, hosts []*Host, finished func(i int)) []Result {
	results := make([]Result, len(hosts))
	var all sync.WaitGroup
	for i, h := range hosts {
		all.Go(func() {
			a, err := h.Ask(ctx)
			results[i] = Result{h, a, err}
			finished(i)
		})
	}
	all.Wait()
	return results
}

// maxAnswer is an upper bound on the bytes that are read of a text answer.
const maxAnswer = 4096

// dial connects to addr. When ctx is done, reads and writes on the connection fail. began is
// when the connection was requested, from the address that accepted it. The caller must call
// release, which closes the connection.
func dial(ctx context.Context, network, addr string) (conn net.Conn, began time.Time, release func(), err error) {
	d := net.Dialer{
		FallbackDelay: -1, // try one address after the other, so that began is that of the last
		Control: func(string, string, syscall.RawConn) error {
			began = time.Now()
			return nil
		},
	}
	if conn, err = d.DialContext(ctx, network, addr); err != nil {
		return nil, began, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return conn, began, func() { stop(); _ = conn.Close() }, nil
}
