package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"nowd/clock"
	"nowd/command"
	"nowd/peers"
)

const ms = time.Millisecond

// steady is the steering history of a clock that is not steered.
var steady = []peers.Steering{{Age: 0}, {Age: time.Hour}}

// claim returns the claim of a synchronised clock with this bound.
func claim(bound time.Duration) peers.Claim { return peers.Claim{Synced: true, Bound: &bound} }

// address returns the address of member i.
func address(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 10123)
}

// documents returns the documents of members whose clocks have these errors. Each claims a
// bound of 1 ms, and has measured the members at peers.Offsets.
func documents(errs ...time.Duration) (all []*peers.Document) {
	n := len(errs)
	for i := range n {
		d := &peers.Document{
			Version: peers.Version, Node: fmt.Sprintf("node-%d", i), Port: 10123, Interval: time.Second, Claim: claim(ms), Steered: steady,
			Addresses: []netip.AddrPort{address(i)},
		}
		for j := range n {
			if j != i {
				d.Members = append(d.Members, address(j))
			}
		}
		for _, offset := range peers.Offsets(n) {
			j := (i + offset) % n
			off := clock.Around(errs[j]-errs[i], 100*time.Microsecond)
			d.Links = append(d.Links, peers.Link{
				Member: address(j), OffsetMin: off.Low, OffsetMax: off.High, Age: 100 * ms, Took: ms, Claim: claim(ms), Own: claim(ms),
			})
		}
		all = append(all, d)
	}
	return all
}

// fetched returns responses with these documents, each fetched from its member's address.
func fetched(documents ...*peers.Document) (responses []response, members map[netip.AddrPort]bool) {
	members = make(map[netip.AddrPort]bool)
	for _, d := range documents {
		r := response{document: d, asked: clock.Interval{High: ms}}
		if len(d.Addresses) > 0 {
			r.from = netip.AddrPortFrom(d.Addresses[0].Addr(), defaultPort)
		}
		for _, m := range slices.Concat(d.Members, d.Addresses) {
			members[m] = true
		}
		responses = append(responses, r)
	}
	return responses, members
}

// reportOn returns the report on responses, with the defaults of the flags.
func reportOn(responses []response, members map[netip.AddrPort]bool) *Report {
	return newReport(assemble(responses, members, defaultThreshold), time.Unix(1800000000, 0), 0)
}

// kinds returns the kinds of a report's problems.
func kinds(r *Report) (all []string) {
	for _, p := range r.Problems {
		all = append(all, p.Kind)
	}
	return all
}

func TestHealthyClusterHasNoProblems(t *testing.T) {
	r := reportOn(fetched(documents(0, ms/2, 0, -ms/2, 0, 0, 0, 0)...))
	if len(r.Problems) > 0 || len(r.Nodes) != 8 || len(r.Partitions) != 1 || r.Most > 2*ms || r.Least < ms/2 {
		t.Errorf("%+v", r)
	}
	var text bytes.Buffer
	writeText(&text, r)
	for _, want := range []string{
		"node    from the majority      bound       verdict\n",
		"node-1  +0.000500s ±", "±0.001000s  ok\n",
		"\nany two of 8 clocks differ by at most 0.00", "; two of them differ by at least 0.000",
		"\na clock that is off by more than 0.010", " is named, while a majority is right\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

func TestWrongNodesAreNamedWithWitnesses(t *testing.T) {
	r := reportOn(fetched(documents(0, 0, 80*ms, 0, 0, 5*ms, 0, 0)...))
	if got := kinds(r); !slices.Equal(got, []string{"wrong", "bound_false", "bound_false"}) {
		t.Fatalf("%+v", r.Problems)
	}
	far, liar := r.Nodes[2], r.Nodes[5]
	if !slices.Equal(far.Verdicts, []Verdict{Wrong, BoundFalse}) || len(far.Witnesses) < 4 || far.Offset.Low < 79*ms {
		t.Errorf("%+v", far)
	}
	if !slices.Equal(liar.Verdicts, []Verdict{BoundFalse}) || len(liar.BoundWitnesses) < 4 || liar.Disputes != 7 {
		t.Errorf("%+v", liar)
	}
	for _, w := range slices.Concat(far.Witnesses, liar.BoundWitnesses) {
		if w.Node != 2 && w.Offset.Low < 4*ms { // of the node from the other, whichever measured
			t.Errorf("%+v", w)
		}
	}
	for i, n := range r.Nodes {
		if i != 2 && i != 5 && !slices.Equal(n.Verdicts, []Verdict{OK}) {
			t.Errorf("%+v", n)
		}
	}
	if text := r.Problems[0].Text; !strings.HasPrefix(text, "node-2, +0.0799") || !strings.Contains(text, "contradicted by 7 of 7 others, measured against node-") {
		t.Error(text)
	}
}

func TestMissingAndUnmeasuredNodesAreNamed(t *testing.T) {
	all := documents(0, 0, 0, 0, 0)
	all[3].Steered = nil // as after a start: older measurements of it are useless
	responses, members := fetched(all...)
	responses[1].document, responses[1].err = nil, errors.New("no answer")
	r := reportOn(responses, members)
	if got := kinds(r); !slices.Equal(got, []string{"missing", "unmeasured"}) || r.Nodes[0].Error != "no answer" {
		t.Errorf("%+v", r)
	}
	responses = slices.Delete(responses, 1, 2)
	if r := reportOn(responses, members); !strings.Contains(r.Problems[0].Text, "10.0.0.1:10123: not asked") {
		t.Errorf("%+v", r.Problems)
	}
	refused := response{from: netip.MustParseAddrPort("10.0.0.9:8086"), err: errors.New("refused")}
	if r := reportOn([]response{refused}, nil); len(r.Nodes) != 1 || !slices.Equal(kinds(r), []string{"missing"}) {
		t.Errorf("%+v", r)
	}
	if r := reportOn(nil, nil); !slices.Equal(kinds(r), []string{"missing"}) {
		t.Errorf("%+v", r)
	}
}

func TestTiesAndPartitionsAreReported(t *testing.T) {
	r := reportOn(fetched(documents(0, 80*ms)...))
	if !r.Tie || !slices.Equal(kinds(r), []string{"disputed"}) || !strings.Contains(r.Problems[0].Text, "tie") {
		t.Errorf("%+v", r)
	}
	all := documents(0, 0, 0, 0)
	for i, d := range all { // 0 and 2 measure each other, and 1 and 3
		d.Links[0].Member = address((i + 2) % 4)
		d.Links = d.Links[:1]
	}
	r = reportOn(fetched(all...))
	if len(r.Partitions) != 2 || !slices.Equal(kinds(r), []string{"partition"}) {
		t.Errorf("%+v", r)
	}
	var text bytes.Buffer
	writeText(&text, r)
	if !strings.Contains(text.String(), "group 1: node-0, node-2\ngroup 2: node-1, node-3\n") || !strings.Contains(text.String(), "within one group") {
		t.Error(text.String())
	}
}

// TestAddressCountsNotTheName: a member that takes the name and the address of another one
// does not become it.
func TestAddressCountsNotTheName(t *testing.T) {
	all := documents(0, 0, 0, 0, 0)
	forged := *all[4]
	forged.Node, forged.Addresses = "node-0", []netip.AddrPort{address(0), address(4)} // fetched from 10.0.0.4
	responses, members := fetched(append(all[:4], &forged)...)
	responses[4].from = netip.AddrPortFrom(address(4).Addr(), defaultPort)
	r := reportOn(responses, members)
	if len(r.Nodes) != 5 || r.Nodes[0].Name != "node-0 at 10.0.0.0:10123" || r.Nodes[1].Name != "node-0 at 10.0.0.4:10123" || len(r.Problems) > 0 {
		t.Errorf("%+v", r)
	}
	// The document of a member without its own address is not used.
	forged.Addresses = []netip.AddrPort{address(0)}
	r = reportOn(responses, members)
	if got := kinds(r); !slices.Equal(got, []string{"missing", "stray"}) {
		t.Errorf("%+v", r.Problems)
	}
	// A member does not get the address of another one that is down.
	forged.Addresses = []netip.AddrPort{address(0), address(4)}
	responses[0].document, responses[0].err = nil, errors.New("down")
	r = reportOn(responses, members)
	if got := kinds(r); !slices.Equal(got, []string{"missing"}) || len(r.Nodes) != 5 {
		t.Errorf("%+v", r)
	}
}

func TestMemberWithTwoAddressesIsOne(t *testing.T) {
	all := documents(0, 0, 0)
	v6 := netip.MustParseAddrPort("[2001:db8::2]:10123")
	all[2].Addresses = append(all[2].Addresses, v6)
	all[0].Links[0].Member = v6 // node-0 measures node-2 at this address
	all[0].Members = append(all[0].Members, v6)
	responses, members := fetched(all...)
	r := reportOn(responses, members) // asked over IPv4 only
	if len(r.Nodes) != 3 || len(r.Problems) > 0 {
		t.Errorf("%+v", r)
	}
	again := responses[2]
	again.from = netip.AddrPortFrom(v6.Addr(), defaultPort)
	r = reportOn(append(responses, again), members)
	if len(r.Nodes) != 3 || len(r.Problems) > 0 {
		t.Errorf("asked over both: %+v", r)
	}
}

func TestPortForwardsReachMembers(t *testing.T) {
	responses, members := fetched(documents(0, 0, 80*ms, 0)...)
	for i := range responses {
		responses[i].from = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(18086+i))
	}
	r := reportOn(responses, members)
	if len(r.Nodes) != 4 || !r.Nodes[2].Has(Wrong) || len(r.Problems) != 2 {
		t.Errorf("%+v", r)
	}
}

// serve serves documents at loopback, and returns the targets.
func serve(t *testing.T, documents ...*peers.Document) (targets []string) {
	t.Helper()
	loopback := netip.MustParseAddr("127.0.0.1")
	at := make(map[netip.AddrPort]netip.AddrPort) // each has the port of its own server
	for _, d := range documents {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != peers.Path {
				t.Errorf("asked for %s", r.URL)
			}
			_ = json.NewEncoder(w).Encode(d)
		}))
		t.Cleanup(s.Close)
		port := uint16(s.Listener.Addr().(*net.TCPAddr).Port)
		at[d.Addresses[0]] = netip.AddrPortFrom(loopback, port)
		d.Port = port
		targets = append(targets, s.Listener.Addr().String())
	}
	for _, d := range documents {
		d.Addresses[0] = at[d.Addresses[0]]
		for k := range d.Members {
			d.Members[k] = at[d.Members[k]]
		}
		for k := range d.Links {
			d.Links[k].Member = at[d.Links[k].Member]
		}
	}
	return targets
}

// parsed returns the options of a command line.
func parsed(t *testing.T, args ...string) *options {
	t.Helper()
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	o := newOptions(flags)
	if err := errors.Join(flags.Parse(args), o.check(flags.Args())); err != nil {
		t.Fatal(err)
	}
	return o
}

// runMain runs the command without confining this process.
func runMain(t *testing.T, args ...string) (status int, stdout string) {
	t.Helper()
	var out bytes.Buffer
	o := parsed(t, args...)
	status = o.run(t.Context(), func(round int, r *Report) { o.print(round, r, &out) })
	return status, out.String()
}

func TestExamplesAreValid(t *testing.T) {
	for line := range strings.Lines(Command.Examples) {
		parsed(t, strings.Fields(line)[2:]...)
	}
}

func TestExitStatusSaysWhetherAllIsWell(t *testing.T) {
	good := serve(t, documents(0, 0, ms, 0)...)
	bad := serve(t, documents(0, 0, 80*ms, 0)...)
	for _, c := range []struct {
		args []string
		want int
	}{
		{good, 0},
		{[]string{strings.Join(good, ",")}, 0},
		{append([]string{"-max-skew", "1s"}, good...), 0},
		{append([]string{"-max-skew", "1ms"}, good...), 1},
		{good[1:], 1},
		{bad, 1},
		{append([]string{"-threshold", "1s"}, bad...), 1}, // its bound is false
		{[]string{"no-such-name.invalid"}, 1},
	} {
		if got, out := runMain(t, c.args...); got != c.want {
			t.Errorf("%v: %d, want %d\n%s", c.args, got, c.want, out)
		}
	}
}

// rounds is a buffer that calls end after so many lines.
type rounds struct {
	bytes.Buffer
	left int
	end  func()
}

func (r *rounds) Write(b []byte) (int, error) {
	if r.left -= bytes.Count(b, []byte("\n")); r.left <= 0 {
		r.end()
	}
	return r.Buffer.Write(b)
}

func TestWatchReportsUntilItIsEnded(t *testing.T) {
	for _, c := range []struct {
		errs []time.Duration
		want int
	}{{[]time.Duration{0, 0, 0}, 0}, {[]time.Duration{0, 80 * ms, 0}, 1}} {
		o := parsed(t, append([]string{"-w", "-i", "1ms", "-o", "json"}, serve(t, documents(c.errs...)...)...)...)
		ctx, cancel := context.WithCancel(t.Context())
		out := &rounds{left: 3, end: cancel}
		if status := o.run(ctx, func(round int, r *Report) { o.print(round, r, out) }); status != c.want || strings.Count(out.String(), "\n") != 3 {
			t.Errorf("%d, want %d\n%s", status, c.want, out.String())
		}
		cancel()
	}
}

func TestMistakesOnTheCommandLine(t *testing.T) {
	const hostOrPort = "want HOST, HOST:PORT or [IPv6]:PORT"
	p := command.Program{Name: "nowd", Default: "cluster", Commands: []*command.Command{&Command}}
	for args, want := range map[string]string{
		"": "want a TARGET", "-o xml a": `invalid value "xml" for flag -o: want one of text, json, svg`, "-max-skew -1s a": "want a time of 0 or more", "-timeout 0 a": "want a time above 0",
		"a:b": hostOrPort, "a:0": hostOrPort, "a,": hostOrPort, ":8086": hostOrPort, "-o svg -w a": "-o svg: draws one picture; want it without -w",
		"-nonsense a": "unknown flag -nonsense; want one of -i, -listen, -max-skew, -o, -threshold, -timeout, -w", "a -w": `"-w": flags come before TARGET`,
		"-listen :0 a": "-listen: want -w as well", "-w -listen :0 -o json a": "-o json: -listen prints no reports",
	} {
		var stdout, stderr bytes.Buffer
		status := p.Run(append([]string{"cluster"}, strings.Fields(args)...), nil, &stdout, &stderr)
		if status != 2 || stdout.Len() > 0 || !strings.Contains(stderr.String(), want) || !strings.HasSuffix(stderr.String(), "\n\"nowd cluster -h\" prints the help.\n") {
			t.Errorf("%q: %d, %q, want %q", args, status, stderr.String(), want)
		}
	}
	for text, want := range map[string]target{
		"nowd.example": {"nowd.example", 8086}, "nowd.example:99": {"nowd.example", 99}, "10.0.0.1": {"10.0.0.1", 8086},
		"2001:db8::1": {"2001:db8::1", 8086}, "[2001:db8::1]": {"2001:db8::1", 8086}, "[2001:db8::1]:99": {"2001:db8::1", 99},
	} {
		if got, err := parseTarget(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestJSONHasEveryField(t *testing.T) {
	_, out := runMain(t, append([]string{"-o", "json"}, serve(t, documents(0, 0, 80*ms, 0)...)...)...)
	var l reportLine
	decoder := json.NewDecoder(strings.NewReader(out))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&l); err != nil || strings.Count(out, "\n") != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	n := l.Nodes[2]
	if l.Version != 1 || l.OK || *l.Most < 80*ms || *l.Least < 79*ms || *l.Detects < 10*ms || len(l.Partitions) != 1 || len(l.Problems) != 2 || l.Problems[0].Kind != "wrong" {
		t.Errorf("%s", out)
	}
	if n.Name != "node-2" || !slices.Equal(n.Verdicts, []string{"wrong", "bound_false"}) || *n.OffsetMin < 79*ms || *n.OffsetMax > 81*ms || *n.Bound != ms || !*n.Synced || *n.Partition != 0 || n.Error != nil || len(n.Witnesses) < 2 {
		t.Errorf("%+v", n)
	}
	for _, list := range []string{"nodes", "partitions", "problems", "inconsistent", "verdicts", "witnesses", "bound_witnesses"} {
		if strings.Contains(out, `"`+list+`":null`) {
			t.Errorf("%s is null", list)
		}
	}
}

func TestPictureIsWellFormed(t *testing.T) {
	all := documents(0, ms, 80*ms, -2*ms, 0, 57*365*24*time.Hour)
	all[1].Node = "<script>\x1b[31m\u202e\"&'"
	all[3].Steered = nil
	responses, members := fetched(all...)
	for _, r := range []*Report{reportOn(responses, members), reportOn(nil, nil), reportOn(fetched(documents(0, 0)...))} {
		var picture bytes.Buffer
		writeSVG(&picture, r)
		rows := 0
		for decoder := xml.NewDecoder(&picture); ; {
			token, err := decoder.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			switch e := token.(type) {
			case xml.StartElement:
				if e.Name.Local == "g" {
					rows++
				}
				if e.Name.Local == "script" {
					t.Error("a node's name is markup")
				}
				for _, a := range e.Attr {
					if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
						t.Errorf("%+v", e)
					}
				}
			case xml.CharData:
				if bytes.ContainsAny(e, "\x1b\u202e") {
					t.Errorf("%q", e)
				}
			}
		}
		if rows != len(r.Nodes) {
			t.Errorf("%d rows for %d nodes", rows, len(r.Nodes))
		}
	}
}

// TestTerminalIsSafeFromNames: control characters in a member's name are not printed.
func TestTerminalIsSafeFromNames(t *testing.T) {
	all := documents(0, 0, 80*ms, 0)
	for _, d := range all {
		d.Node += "\x1b]0;owned\x07\n"
	}
	var text bytes.Buffer
	writeText(&text, reportOn(fetched(all...)))
	if strings.ContainsAny(text.String(), "\x1b\x07") || strings.Count(text.String(), "\n") != 4+2+2+2 {
		t.Errorf("%q", text.String())
	}
}

// TestHostileMembersAreMissing: a member with a malicious or broken answer counts as missing,
// and the report on the others is complete.
func TestHostileMembersAreMissing(t *testing.T) {
	endless := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"version":1,"node":"`)
		for chunk := strings.Repeat("x", 1<<16); ; {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	}
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
	}
	good := serve(t, documents(0, 0, 0, 0, 0)...)
	for name, handler := range map[string]http.HandlerFunc{
		"endless":   endless,
		"silent":    func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"not found": http.NotFound,
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		},
		"long header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Padding", strings.Repeat("x", 1<<20))
			_, _ = io.WriteString(w, `{"version":1}`)
		},
		"long number": text(`{"version":1,"interval_ns":` + strings.Repeat("9", 1<<20) + `}`),
		"no json":     text("hello"),
		"another":     text(`{"version":2}`),
		"overflow":    text(`{"version":1,"links":[{"age_ns":1e99}]}`),
		"ages":        text(`{"version":1,"steered":[{"age_ns":5},{"age_ns":1}]}`),
		"many":        text(`{"version":1,"steered":[` + strings.Repeat(`{"age_ns":0},`, maxEntries) + `{"age_ns":0}]}`),
		"no interval": text(`{"version":1,"steered":[{"age_ns":0,"min_ns":2,"max_ns":1}]}`),
	} {
		s := httptest.NewServer(handler)
		t.Cleanup(s.Close)
		status, out := runMain(t, append([]string{"-timeout", "1s", s.Listener.Addr().String()}, good...)...)
		if status != 1 || strings.Count(out, "  ok\n") != 5 || !strings.Contains(out, "missing: "+s.Listener.Addr().String()) {
			t.Errorf("%s: %d\n%.2000s", name, status, out)
		}
		if len(out) > 2000 {
			t.Errorf("%s: a report of %d bytes", name, len(out))
		}
	}
}

// TestForgedLinksDoNotBreakTheReport: impossible links of one member make the report
// inconsistent, but no other member wrong.
func TestForgedLinksDoNotBreakTheReport(t *testing.T) {
	all := documents(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	liar := all[7]
	for k := range liar.Links {
		liar.Links[k].OffsetMin, liar.Links[k].OffsetMax = math.MaxInt64-1, math.MaxInt64
	}
	liar.Links = append(liar.Links, peers.Link{Member: address(9), OffsetMin: -time.Hour, OffsetMax: -time.Hour})
	r := reportOn(fetched(all...))
	if !slices.Equal(kinds(r), []string{"inconsistent"}) || !slices.Contains(r.Cycles[0].Nodes, 17) && !slices.Contains(r.Cycles[0].Nodes, 7) {
		t.Errorf("%+v", r)
	}
	for _, n := range r.Nodes {
		if n.Has(Wrong) || n.Has(BoundFalse) {
			t.Errorf("%+v", n)
		}
	}
}

// TestHundredsOfMembersAreReportedOn asks hundreds of loopback addresses of one server.
func TestHundredsOfMembersAreReportedOn(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8")
	}
	const n, wrong = 300, 200
	errs := make([]time.Duration, n)
	errs[wrong] = time.Hour // far more than any drift during the round
	all := documents(errs...)
	loopback := func(a netip.AddrPort) netip.AddrPort {
		b := a.Addr().As4()
		b[0], b[1] = 127, 1
		return netip.AddrPortFrom(netip.AddrFrom4(b), a.Port())
	}
	byAddress := make(map[netip.Addr]*peers.Document)
	for _, d := range all {
		d.Addresses[0] = loopback(d.Addresses[0])
		for k := range d.Members {
			d.Members[k] = loopback(d.Members[k])
		}
		for k := range d.Links {
			d.Links[k].Member = loopback(d.Links[k].Member)
		}
		byAddress[d.Addresses[0].Addr()] = d
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr).AddrPort()
		_ = json.NewEncoder(w).Encode(byAddress[at.Addr().Unmap()])
	}))
	l, err := net.Listen("tcp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	s.Listener = l
	s.Start()
	defer s.Close()
	var targets []string
	for a := range byAddress {
		targets = append(targets, netip.AddrPortFrom(a, uint16(l.Addr().(*net.TCPAddr).Port)).String())
	}
	began := time.Now()
	status, out := runMain(t, "-timeout", "30s", "-o", "json", strings.Join(targets, ","))
	t.Logf("%d members in %v", n, time.Since(began))
	var report reportLine
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != 1 || len(report.Nodes) != n || len(report.Partitions) != 1 {
		t.Fatalf("%d, %v, %d nodes, %+v", status, err, len(report.Nodes), report.Problems)
	}
	for _, p := range report.Problems {
		if !strings.HasPrefix(p.Text, fmt.Sprintf("node-%d", wrong)) {
			t.Errorf("%+v", p)
		}
	}
	if len(report.Problems) != 2 || *report.Most < time.Hour || *report.Least < time.Hour-time.Minute {
		t.Errorf("%v to %v: %+v", *report.Least, *report.Most, report.Problems)
	}
}

// A cluster of one node is common at the first try.
func TestOneNodeIsNotComparedWithItself(t *testing.T) {
	if got := reportOn(fetched(documents(0)...)).summary(); got != "1 node; comparing clocks takes two" {
		t.Error(got)
	}
}
