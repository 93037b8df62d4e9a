//go:build linux

package faults_test

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
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
	// maxMoreGoroutines is how many more there may be afterwards: those that /metrics are gathered by are counted as well,
	// and of these there are sometimes more and sometimes fewer.
	maxMoreGoroutines = 4
	// maxIdle is what share of a core nowd may use when all is over.
	maxIdle = 0.01
)

// tally is what a fault counts while it goes on. Its fields may be changed from several goroutines.
type tally struct {
	owed, lost atomic.Int64 // answers to clients that misbehave, or suffer, but have a right to them
	traffic    atomic.Int64 // what nowd has to do that it counts as neither requests nor connections
	done       atomic.Int64 // how often the fault was done
	suspended  atomic.Int64 // the longest time that nowd was stopped, in nanoseconds
	cost       expense

	remarks []string // for the row; of the fault's own goroutine alone
}

// remark adds to the row what is worth knowing besides.
func (y *tally) remark(format string, args ...any) {
	y.remarks = append(y.remarks, fmt.Sprintf(format, args...))
}

// fault is what is done to a nowd.
type fault struct {
	name string
	env  []string
	// run does it until stop is closed.
	run func(t *testing.T, n *nowd, stop <-chan struct{}, y *tally)

	questions []question // of the honest clients; one of each kind, if nil
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

	// once says that what an attack costs does not depend on how long the attacker likes.
	once bool
	// least is which share of their questions honest clients of a kind have answered at least, if not what is promised in
	// general.
	least map[string]float64
	// memory is an upper bound on what an attack makes nowd take, the kernel's for its sockets included; maxGrowth, if 0.
	memory int
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
func (n *nowd) warm(t *testing.T, from place, questions []question) {
	t.Helper()
	for _, q := range questions {
		conn, err := dialAt(from, q.network(), q.Addr, patience)
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

// observation is what was seen of a nowd and of its clients while something was done to it.
type observation struct {
	tally         *tally
	outcomes      []outcome // in the order of the questions
	took, cpu     time.Duration
	peak          int // of resident memory
	memory        int // the most that nowd, and the kernel for its sockets, had more than before
	before, after snapshot
}

// observe does faults to nowd for a time, all at once, while honest clients ask. A time of 0 is as long as the faults
// take by themselves. Afterwards nowd has given back what it took, but for some resident memory.
func observe(t *testing.T, n *nowd, name string, d time.Duration, from place, questions []question, left int, faults ...fault) *observation {
	t.Helper()
	o := &observation{tally: new(tally), before: n.snapshot(t)}
	forgetPeak(t, n.pid())
	began, cpuBefore := time.Now(), cpuTime(t, n.pid())
	clients := startHonest(t, from, questions...)
	watch := startWatch(t, n, o.before.resident, questions)
	stop := make(chan struct{})
	if d > 0 {
		time.AfterFunc(d, func() { close(stop) })
	} else {
		close(stop)
	}
	var running sync.WaitGroup
	for _, f := range faults[1:] {
		running.Go(func() { f.run(t, n, stop, o.tally) })
	}
	faults[0].run(t, n, stop, o.tally) // here, so that it may end the test
	running.Wait()
	o.outcomes = clients.stop(t)
	o.took, o.cpu = time.Since(began), cpuTime(t, n.pid())-cpuBefore
	o.peak = status(t, n.pid(), "VmHWM")
	o.memory = max(watch.stop(t), o.peak-o.before.resident)
	if !n.running() {
		t.Fatalf("%s ends nowd: %v", name, n.cmd.ProcessState)
	}
	o.after = n.settle(t, name, o.before, left)
	if n := o.after.metrics["nowd_loop_panics_total"]; n > 0 {
		t.Errorf("%s: %v panics", name, n)
	}
	return o
}

// questionsOf returns what honest clients ask while these faults are done to nowd, and where they are.
func (n *nowd) questionsOf(faults ...fault) (questions []question, from place) {
	from, host, lossy := n.at, cmp.Or(n.host, "127.0.0.1"), false
	for _, f := range faults {
		if f.questions != nil {
			questions = slices.Clone(f.questions)
		}
		if f.from != nil {
			from, host = f.from, f.host
		}
		lossy = lossy || f.lossy
	}
	if questions == nil {
		questions = []question{{Kind: "udp"}, {Kind: "tcp"}, {Kind: "new"}}
	}
	for i := range questions {
		q := &questions[i]
		q.Lossy = q.Lossy || lossy
		if q.Addr == "" {
			q.Addr = net.JoinHostPort(host, strconv.Itoa(n.port))
		}
	}
	return questions, from
}

// examine does faults to nowd for a time, all at once, while honest clients ask, and adds a row. A time of 0 is as long
// as the faults take by themselves.
func examine(t *testing.T, n *nowd, name string, d time.Duration, faults ...fault) *observation {
	t.Helper()
	questions, from := n.questionsOf(faults...)
	n.warm(t, from, questions)
	echoPort := startEcho(t, n.at, "")
	for _, q := range slices.Clone(questions) {
		host, _, _ := net.SplitHostPort(q.Addr)
		q.Addr, q.Control = net.JoinHostPort(host, strconv.Itoa(echoPort)), true
		questions = append(questions, q)
	}
	r := row{fault: name}
	lossy, overload := false, false
	for _, f := range faults {
		lossy, overload = lossy || f.lossy, overload || f.overload
		if f.alike {
			r.control = max(r.control, controlled(t, f, &nowd{port: echoPort, at: n.at}, from, questions))
		}
	}
	seen := observe(t, n, name, d, from, questions, maxGrowth, faults...)
	y := seen.tally
	r.owed, r.lost = y.owed.Load(), y.lost.Load()
	r.cpu, r.growth = float64(seen.cpu)/float64(seen.took), seen.peak-seen.before.resident
	for _, o := range seen.outcomes {
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
	for _, o := range seen.outcomes {
		if !o.Control {
			r.judge(t, o, seen.took, lossy, limit)
		}
	}
	if r.lost > 0 {
		t.Errorf("%s: %d answers owed are lost, of %d", name, r.lost, r.owed)
	}
	if r.growth > maxGrowth {
		t.Errorf("%s: nowd has grown by %d KiB, want %d at the most", name, r.growth>>10, maxGrowth>>10)
	}
	traffic := float64(y.traffic.Load())
	for _, what := range []string{"nowd_requests_total", "nowd_connections_total"} {
		traffic += seen.after.metrics[what] - seen.before.metrics[what]
	}
	if spun := r.cpu - traffic*float64(worth)/float64(seen.took); spun > maxSpin {
		t.Errorf("%s: nowd uses %.0f %% of a core more than its traffic is worth", name, 100*spun)
	}
	if n := y.done.Load(); n > 0 {
		r.note = fmt.Sprintf("%d times; ", n) + r.note
	}
	r.note = strings.TrimSuffix(r.note, "; ")
	faultTable.add(r)
	return seen
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
	lost := o.Tries - o.Answered
	// Whoever asks as soon as it is answered is taken for a service that answers answers, so often and no more.
	if withheld := min(lost, o.Tries/(longestRun/2)); o.Kind == "udp" && withheld > 0 {
		r.note = fmt.Sprintf("%d of %d honest datagrams not answered", withheld, o.Tries)
		lost -= withheld
	}
	r.owed += int64(o.Tries)
	if lost > 0 {
		r.lost += int64(lost)
		t.Errorf("%s: an honest client (%s) lost %d answers of %d: %s", r.fault, o.Kind, lost, o.Tries, o.Failure)
	}
}

// settle waits until nowd has given back what it took, but for so much of resident memory.
func (n *nowd) settle(t *testing.T, name string, before snapshot, left int) (after snapshot) {
	t.Helper()
	if err := await(patience, func() error {
		after = n.snapshot(t)
		for what, more := range map[string]float64{"go_goroutines": maxMoreGoroutines, "nowd_connections_open": 0} {
			if got, want := after.metrics[what], before.metrics[what]; got > want+more {
				return fmt.Errorf("%s: %s is %v, and was %v", name, what, got, want)
			}
		}
		if after.descriptors > before.descriptors {
			return fmt.Errorf("%s: %d descriptors are open, and were %d", name, after.descriptors, before.descriptors)
		}
		if growth := after.resident - before.resident; growth > left {
			return fmt.Errorf("%s: it has %d KiB more than before", name, growth>>10)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	return after
}
