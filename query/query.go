// Package query asks hosts for the time, over the protocols that time services
// speak, and tells how far their clocks are off from this host's, how sure that
// is, and which of them disagree.
//
// It trusts nobody: of what a host sends it reads a little, for a limited time,
// and shows nothing of it that could do things to a terminal.
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
)

// protocol is a way to ask. Each has a file.
type protocol struct {
	network string // to look up names of ports
	port    string // where there is no other
	words   bool   // whether the question is one of the words of package answer
	quality bool   // whether an answer can tell how good the clock is
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

// Protocols returns the names of all protocols.
func Protocols() []string { return slices.Sorted(maps.Keys(protocols)) }

// TakesWords reports whether a protocol's question is one of the words of
// package answer.
func TakesWords(proto string) bool { return protocols[proto].words }

// TellsQuality reports whether an answer can say whether the host's clock is
// synchronised; form is what is asked of a protocol that takes words.
func TellsQuality(proto string, form answer.Form) bool {
	p := protocols[proto]
	return p.quality && (!p.words || form == answer.JSON || form == answer.Bound)
}

// TellsTime reports whether an answer can be compared with a clock: it does not
// hang on a zone that is not told.
func TellsTime(proto string, form answer.Form) bool {
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

// New returns the host to which target points: HOST, HOST:PORT, an address of
// IPv6 or one in brackets with a port. proto is one of Protocols; form is what
// is asked of those that take words; each answer is waited for as long as
// timeout.
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
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("no answer within %v", h.timeout)
	}
	return Answer{}, fmt.Errorf("%s: %w", h.Name, err)
}

// Result is what came of asking a host once.
type Result struct {
	Host   *Host
	Answer Answer
	Err    error // why there is no Answer
}

// AskAll asks all hosts at the same time and returns what came of each, in their
// order. It calls came, from any goroutine, with the index of a host that is
// done.
func AskAll(ctx context.Context, hosts []*Host, came func(i int)) []Result {
	results := make([]Result, len(hosts))
	var all sync.WaitGroup
	for i, h := range hosts {
		all.Go(func() {
			a, err := h.Ask(ctx)
			results[i] = Result{h, a, err}
			came(i)
		})
	}
	all.Wait()
	return results
}

// maxAnswer is how much is read of a text answer, in bytes.
const maxAnswer = 4096

// dial connects, for as long as ctx lasts: who then waits for the connection
// gets an error. began is when the connection was first asked for. release is to
// be called in the end.
func dial(ctx context.Context, network, addr string) (conn net.Conn, began time.Time, release func(), err error) {
	d := net.Dialer{
		FallbackDelay: -1, // one address after the other, so that began is the one's that answers
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
