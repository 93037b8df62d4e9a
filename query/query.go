// Package query asks hosts for the time, over the protocols of time services. It
// finds the offsets of their clocks from this host's, the errors of these
// offsets, and which hosts disagree. Main is the command nowd query.
//
// It trusts no host: it reads a limited number of bytes, for a limited time, and
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

// protocol is a way to ask. Each has a file.
type protocol struct {
	network string // for looking up names of ports
	port    string // default port
	words   bool   // whether a request is one of the words of package answer
	quality bool   // whether an answer can say whether the clock is synchronised
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

// takesWords reports whether a protocol's request is one of the words of package
// answer.
func takesWords(proto string) bool { return protocols[proto].words }

// tellsQuality reports whether an answer can say whether the host's clock is
// synchronised. form is what a protocol that takes words is asked for.
func tellsQuality(proto string, form answer.Form) bool {
	p := protocols[proto]
	return p.quality && (!p.words || form == answer.JSON || form == answer.Bound)
}

// tellsTime reports whether an answer can be compared with a clock: a form that
// leaves out the zone cannot.
func tellsTime(proto string, form answer.Form) bool {
	return !protocols[proto].words || form != answer.DateTime && form != answer.Help
}

// Host is a host that can be asked, by one goroutine at a time.
type Host struct {
	Name  string // as it was given
	Proto string

	protocol
	addr    string // host:port
	form    answer.Form
	timeout time.Duration
}

// New returns the host that target names: HOST, HOST:PORT, an IPv6 address or
// one in brackets with a port. proto is the name of a protocol, and form what a
// protocol that takes words is asked for. Ask waits for an answer until timeout.
func New(proto, target string, form answer.Form, timeout time.Duration) (*Host, error) {
	p, ok := protocols[proto]
	if !ok {
		return nil, fmt.Errorf("%q is no protocol", proto)
	}
	addr, err := parseTarget(target, p.network, p.port)
	if err != nil {
		return nil, err
	}
	return &Host{Name: target, Proto: proto, protocol: p, addr: addr, form: form, timeout: timeout}, nil
}

// Ask asks once. The error, if there is one, begins with the host's name.
func (h *Host) Ask(ctx context.Context) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	a, err := h.ask(ctx, h)
	switch {
	case err == nil:
		return a, nil
	case errors.Is(err, ntp.ErrImplausible): // it says more than that time has passed
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

// AskAll asks all hosts at the same time and returns their results in the same
// order. It calls finished, from several goroutines, with the index of each host
// whose result is there.
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

// maxAnswer is an upper bound on what is read of a text answer, in bytes.
const maxAnswer = 4096

// dial connects. When ctx is done, reads and writes on the connection fail. began
// is when the connection was requested from the address that accepted it. The
// caller must call release, which closes the connection.
func dial(ctx context.Context, network, addr string) (conn net.Conn, began time.Time, release func(), err error) {
	d := net.Dialer{
		FallbackDelay: -1, // one address after the other, so that began is that of the last
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
