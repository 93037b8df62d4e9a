//go:build linux

package faults_test

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The limits that no fault may break.
const (
	maxGrowth = 8 << 20 // of resident memory, at its peak
	// maxP99 is for honest clients, on top of that of the control.
	maxP99 = 50 * time.Millisecond
	// minAnswers is of how many answers a p99 is one: of fewer it is the last.
	minAnswers = 100
	// maxSpin is what share of a core nowd may use beyond what its traffic is worth.
	maxSpin = 0.3
	// worth is how much of a core's time a piece of traffic may take: a request, a connection, a KiB, a signal. It is
	// several times what one does, for a spin is without any.
	worth = 50 * time.Microsecond
	// maxIdle is what share of a core nowd may use when all is over.
	maxIdle = 0.01
)

// row is one of the table that the tests print in the end.
type row struct {
	fault            string
	held             float64 // answers a second to honest clients
	owed, lost       int64
	udp, tcp, p99New time.Duration
	control          time.Duration
	cpu              float64 // share of a core
	growth           int     // bytes
	note             string
}

type rows struct {
	sync.Mutex
	all []row
}

var table rows

func (ro *rows) add(r row) {
	ro.Lock()
	defer ro.Unlock()
	ro.all = append(ro.all, r)
}

// remark adds to the note of the row that was added last.
func (ro *rows) remark(what string) {
	ro.Lock()
	defer ro.Unlock()
	if n := len(ro.all); n > 0 {
		ro.all[n-1].note += "; " + what
	}
}

func (ro *rows) print(w io.Writer) {
	ro.Lock()
	defer ro.Unlock()
	if len(ro.all) == 0 {
		return
	}
	ms := func(d time.Duration) string {
		if d == 0 {
			return "-"
		}
		return fmt.Sprintf("%.1f", float64(d)/1e6)
	}
	const line = "%-28s %9s %9s %5s %8s %8s %8s %8s %6s %8s  %s\n"
	fmt.Fprintf(w, "\n"+line, "", "answers/s", "answers", "", "p99, ms:", "", "new", "", "CPU,", "growth,", "")
	fmt.Fprintf(w, line, "fault", "held", "owed", "lost", "UDP", "TCP", "TCP", "echo", "%", "KiB", "")
	for _, r := range ro.all {
		fmt.Fprintf(w, line, r.fault, fmt.Sprintf("%.0f", r.held), fmt.Sprint(r.owed), fmt.Sprint(r.lost),
			ms(r.udp), ms(r.tcp), ms(r.p99New), ms(r.control), fmt.Sprintf("%.0f", 100*r.cpu), fmt.Sprint(r.growth>>10), r.note)
	}
}

// tally is what a fault counts while it goes on. Its fields may be changed from several goroutines.
type tally struct {
	owed, lost atomic.Int64 // answers to clients that misbehave, or suffer, but have a right to them
	traffic    atomic.Int64 // what nowd has to do that it counts as neither requests nor connections
	done       atomic.Int64 // how often the fault was done
	suspended  atomic.Int64 // the longest time that nowd was stopped, in nanoseconds
}

// fault is what is done to a nowd.
type fault struct {
	name string
	env  []string
	// run does it until stop is closed.
	run func(t *testing.T, n *nowd, stop <-chan struct{}, y *tally)

	kinds []string // of the honest clients; all, if nil
	// lossy says that the kernel has to throw datagrams away: more arrive than a process can take. Then at least one
	// answer in four tries is what an honest client gets.
	lossy bool
	// alike says that it is done to the control as well, by itself: where a flood takes all of the machine, it delays
	// whoever is flooded, and nobody else.
	alike bool
	// overload says that the tests want more of the machine than it has, so how soon anybody is answered is not judged.
	overload bool
	// from is where the honest clients are, if not on nowd's host, and what they call it there.
	from place
	host string
}

// snapshot is how much of everything nowd has.
type snapshot struct {
	descriptors int
	resident    int
	metrics     map[string]float64
}

func (n *nowd) snapshot(t *testing.T) snapshot {
	t.Helper()
	m := n.metrics(t)
	return snapshot{descriptors(t, n.pid()), status(t, n.pid(), "VmRSS"), m}
}

// warm has nowd take the memory that it takes for good once it has served somebody.
func (n *nowd) warm(t *testing.T) {
	t.Helper()
	for _, network := range []string{"udp", "tcp"} {
		conn, err := dialAt(n.at, network, n.addr(), patience)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		for range 100 {
			if _, err := io.WriteString(conn, "json\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(make([]byte, 1<<10)); err != nil {
				t.Fatal(err)
			}
		}
		conn.Close()
	}
	for range 10 {
		n.metrics(t)
	}
}

// examine does faults to nowd for a time, all at once, while honest clients ask, and adds a row. A time of 0 is as long
// as the faults take by themselves.
func examine(t *testing.T, n *nowd, name string, d time.Duration, faults ...fault) *tally {
	t.Helper()
	n.warm(t)
	kinds, from, host := []string{"udp", "tcp", "new"}, n.at, "127.0.0.1"
	lossy, overload := false, false
	for _, f := range faults {
		if f.kinds != nil {
			kinds = f.kinds
		}
		if f.from != nil {
			from, host = f.from, f.host
		}
		lossy, overload = lossy || f.lossy, overload || f.overload
	}
	echoPort := startEcho(t, n.at, "")
	var questions []question
	for _, kind := range kinds {
		questions = append(questions,
			question{Kind: kind, Addr: fmt.Sprintf("%s:%d", host, n.port), Lossy: lossy},
			question{Kind: kind, Addr: fmt.Sprintf("%s:%d", host, echoPort), Control: true, Lossy: lossy})
	}
	r := row{fault: name}
	for _, f := range faults {
		if f.alike {
			r.control = max(r.control, controlled(t, f, &nowd{port: echoPort, at: n.at}, from, questions))
		}
	}
	var y tally
	before := n.snapshot(t)
	forgetPeak(t, n.pid())
	began, cpuBefore := time.Now(), cpuTime(t, n.pid())
	clients := startHonest(t, from, questions...)
	stop := make(chan struct{})
	var running sync.WaitGroup
	for _, f := range faults {
		running.Go(func() { f.run(t, n, stop, &y) })
	}
	if d > 0 {
		time.Sleep(d)
	}
	close(stop)
	running.Wait()
	outcomes := clients.stop(t)
	took, cpu := time.Since(began), cpuTime(t, n.pid())-cpuBefore
	peak := status(t, n.pid(), "VmHWM")
	if !n.running() {
		t.Fatalf("%s ends nowd: %v", name, n.cmd.ProcessState)
	}

	r.owed, r.lost = y.owed.Load(), y.lost.Load()
	r.cpu, r.growth = float64(cpu)/float64(took), peak-before.resident
	for _, o := range outcomes {
		if o.Max > time.Second {
			t.Logf("%s: %s (echo: %t) was once answered after %v; see whether the other was", name, o.Kind, o.Control, o.Max)
		}
		if o.Control {
			r.control = max(r.control, o.P99)
		}
	}
	limit := promised() + r.control + time.Duration(y.suspended.Load())
	if overload {
		limit = time.Hour
	}
	for _, o := range outcomes {
		if !o.Control {
			r.judge(t, o, took, lossy, limit)
		}
	}
	if r.lost > 0 {
		t.Errorf("%s: %d answers owed are lost, of %d", name, r.lost, r.owed)
	}
	if r.growth > maxGrowth {
		t.Errorf("%s: nowd has grown by %d KiB, want %d at the most", name, r.growth>>10, maxGrowth>>10)
	}
	after := n.settle(t, name, before)
	traffic := float64(y.traffic.Load())
	for _, what := range []string{"nowd_requests_total", "nowd_connections_total"} {
		traffic += after.metrics[what] - before.metrics[what]
	}
	if spun := r.cpu - traffic*float64(worth)/float64(took); spun > maxSpin {
		t.Errorf("%s: nowd uses %.0f %% of a core more than its traffic is worth", name, 100*spun)
	}
	if n := after.metrics["nowd_loop_panics_total"]; n > 0 {
		t.Errorf("%s: %v panics", name, n)
	}
	if n := y.done.Load(); n > 0 {
		r.note = fmt.Sprintf("%d times; ", n) + r.note
	}
	r.note = strings.TrimSuffix(r.note, "; ")
	table.add(r)
	return &y
}

// promised returns the p99 that is asked for. The strict one is for a machine that is the tests' alone, which only who
// starts them can know: go test runs packages side by side, and other work may go on besides.
func promised() time.Duration {
	if os.Getenv("NOWD_FAULTS_ALONE") == "true" {
		return maxP99
	}
	return time.Second
}

// controlled returns the p99 of the control's clients while a fault is done to it.
func controlled(t *testing.T, f fault, control *nowd, from place, questions []question) (p99 time.Duration) {
	t.Helper()
	clients := startHonest(t, from, slices.DeleteFunc(slices.Clone(questions), func(q question) bool { return !q.Control })...)
	stop := make(chan struct{})
	time.AfterFunc(brief, func() { close(stop) })
	f.run(t, control, stop, new(tally))
	for _, o := range clients.stop(t) {
		p99 = max(p99, o.P99)
	}
	return p99
}

// judge adds what became of an honest client.
func (r *row) judge(t *testing.T, o outcome, took time.Duration, lossy bool, limit time.Duration) {
	t.Helper()
	r.held += float64(o.Answered) / took.Seconds()
	*map[string]*time.Duration{"udp": &r.udp, "tcp": &r.tcp, "new": &r.p99New}[o.Kind] = o.P99
	if o.Wrong != "" {
		t.Errorf("%s: an honest client (%s) got a wrong answer: %s", r.fault, o.Kind, o.Wrong)
	}
	if o.P99 > limit && o.Answered >= minAnswers {
		t.Errorf("%s: an honest client's p99 (%s) is %v of %d, want %v at the most", r.fault, o.Kind, o.P99, o.Answered, limit)
	}
	if o.Kind == "udp" && lossy {
		if 4*o.Answered < o.Tries {
			t.Errorf("%s: an honest client gets %d answers in %d tries, want one in four", r.fault, o.Answered, o.Tries)
		}
		r.note = fmt.Sprintf("%d of %d honest datagrams answered", o.Answered, o.Tries)
		return
	}
	r.owed += int64(o.Tries)
	if lost := o.Tries - o.Answered; lost > 0 {
		r.lost += int64(lost)
		t.Errorf("%s: an honest client (%s) lost %d answers of %d: %s", r.fault, o.Kind, lost, o.Tries, o.Failure)
	}
}

// settle waits until nowd has given back what it took, and is at rest.
func (n *nowd) settle(t *testing.T, name string, before snapshot) (after snapshot) {
	t.Helper()
	if err := await(patience, func() error {
		after = n.snapshot(t)
		for _, what := range []string{"go_goroutines", "nowd_connections_open"} {
			if got, want := after.metrics[what], before.metrics[what]; got > want {
				return fmt.Errorf("%s: %s is %v, and was %v", name, what, got, want)
			}
		}
		if after.descriptors > before.descriptors {
			return fmt.Errorf("%s: %d descriptors are open, and were %d", name, after.descriptors, before.descriptors)
		}
		if growth := after.resident - before.resident; growth > maxGrowth {
			return fmt.Errorf("%s: it has %d KiB more than before", name, growth>>10)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	return after
}
