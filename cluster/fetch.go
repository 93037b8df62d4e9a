package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"nowd/clock"
	"nowd/peers"
)

const (
	// concurrent is an upper bound on the requests at a time.
	concurrent = 32

	// maxDocument is an upper bound on the body of an answer, in bytes.
	maxDocument = 4 << 20

	// maxHeader is an upper bound on the header of an answer, in bytes.
	maxHeader = 64 << 10

	// maxError is an upper bound on the text of an error, in bytes: it may quote what a
	// member sent.
	maxError = 200

	// maxEntries is an upper bound on the length of each list, and of the name, in a
	// document.
	maxEntries = 4096

	// defaultPort is the port of the health endpoint.
	defaultPort = 8086
)

// target is a TARGET of the command line: a member at each address of a host.
type target struct {
	host string
	port uint16
}

// addresses returns the addresses of a target. It resolves the host.
func (t target) addresses(ctx context.Context) (all []netip.AddrPort, err error) {
	if ip, err := netip.ParseAddr(t.host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), t.port)}, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", t.host)
	for _, ip := range found {
		all = append(all, netip.AddrPortFrom(ip.Unmap(), t.port))
	}
	return all, err
}

// response is the result of asking one member.
type response struct {
	from     netip.AddrPort
	asked    clock.Interval  // from the request to the answer, since the round began
	document *peers.Document // without Members; nil if err is set
	err      error
}

// fetcher fetches documents.
type fetcher struct {
	targets []target
	timeout time.Duration

	mu      sync.Mutex
	members map[netip.AddrPort]bool // in the documents of this round
}

// fetch asks all members, up to concurrent at a time. The error is about targets that
// cannot be resolved, or about too many members.
func (f *fetcher) fetch(ctx context.Context) (responses []response, err error) {
	f.members = make(map[netip.AddrPort]bool)
	var addresses []netip.AddrPort
	for _, t := range f.targets {
		lookup, cancel := context.WithTimeout(ctx, f.timeout)
		found, e := t.addresses(lookup)
		cancel()
		err = errors.Join(err, e)
		addresses = append(addresses, found...)
	}
	slices.SortFunc(addresses, netip.AddrPort.Compare)
	addresses = slices.Compact(addresses)
	if len(addresses) > peers.MaxMembers {
		return nil, fmt.Errorf("the targets have %d addresses; want at most %d", len(addresses), peers.MaxMembers)
	}
	responses = make([]response, len(addresses))
	began := time.Now()
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(concurrent, len(addresses)) {
		workers.Go(func() {
			for i := range next {
				responses[i] = f.ask(ctx, addresses[i], began)
			}
		})
	}
	for i := range addresses {
		next <- i
	}
	close(next)
	workers.Wait()
	return responses, err
}

// ask asks one member.
func (f *fetcher) ask(ctx context.Context, from netip.AddrPort, began time.Time) response {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	r := response{from: from, asked: clock.Interval{Low: time.Since(began)}}
	r.document, r.err = get(ctx, from)
	r.asked.High = time.Since(began)
	if errors.Is(r.err, context.DeadlineExceeded) {
		r.err = fmt.Errorf("no answer within %v", f.timeout)
	}
	if r.err != nil {
		r.err = shortened(r.err)
		return r
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range slices.Concat(r.document.Members, r.document.Addresses) {
		if len(f.members) < 2*peers.MaxMembers { // over IPv4 and IPv6
			f.members[m] = true
		}
	}
	r.document.Members = nil // saves memory: all documents have the same long list
	return r
}

// get fetches the document of a member.
func get(ctx context.Context, from netip.AddrPort) (*peers.Document, error) {
	// The host in the URL is not used: a URL cannot have the zone of an IPv6 address.
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: maxHeader,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", from.String())
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://nowd"+peers.Path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, errors.Unwrap(err) // a *url.Error: its URL tells nothing
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, fmt.Errorf("%s is not found: NOWD_PEERS is off", peers.Path)
	default:
		return nil, errors.New(answer.Status)
	}
	var d peers.Document
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxDocument)).Decode(&d); err != nil {
		return nil, err
	}
	if err := check(&d); err != nil {
		return nil, err
	}
	return &d, nil
}

// shortened cuts the text of an error to maxError bytes.
func shortened(err error) error {
	text := err.Error()
	if len(text) <= maxError {
		return err
	}
	const end = "…"
	return errors.New(strings.ToValidUTF8(text[:maxError-len(end)], "") + end)
}

// check returns an error for a document that no nowd of this version can have made.
func check(d *peers.Document) error {
	if d.Version != peers.Version {
		return fmt.Errorf("the document has version %d, want %d", d.Version, peers.Version)
	}
	if len(d.Links) > maxEntries || len(d.Steered) > maxEntries || len(d.Members) > peers.MaxMembers || len(d.Addresses) > maxEntries || len(d.Node) > maxEntries {
		return errors.New("the document is too long")
	}
	age := time.Duration(0)
	for i, s := range d.Steered {
		if i == 0 && s.Age != 0 || s.Age < age || s.Min > s.Max {
			return errors.New("the document is invalid: steered has a wrong order or an empty interval")
		}
		age = s.Age
	}
	return nil
}
