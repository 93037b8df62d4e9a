//go:build linux

package faults_test

import (
	"cmp"
	"errors"
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
	maxGrowth = 8 << 20 // of resident memory at its peak, in bytes
	// maxP99 is the limit for the honest clients' p99, above that of the control.
	maxP99 = 50 * time.Millisecond
	// minAnswers is the least number of answers for which a p99 is not simply the slowest answer.
	minAnswers = 100
	// maxSpin is the share of a core that nowd may use beyond what its traffic is worth.
	maxSpin = 0.3
	// worth is the CPU time that one unit of traffic may take: a request, a connection, a KiB, a signal. It is several
	// times the real cost, because a spinning loop uses CPU time without any traffic.
	worth = 50 * time.Microsecond
	// maxMoreGoroutines is the number of additional goroutines after a fault. It allows for those that gather /metrics,
	// whose number varies.
	maxMoreGoroutines = 4
	// maxIdle is the share of a core that nowd may use after all faults.
	maxIdle = 0.01
)

// tally has the counters of a running fault. Several goroutines may change its fields.
type tally struct {
	owed, lost atomic.Int64 // answers owed to the fault's own clients, and those of them that got lost
	traffic    atomic.Int64 // work for nowd that is neither a request nor a connection
	done       atomic.Int64 // repetitions of the fault
	suspended  atomic.Int64 // the longest time for which nowd was stopped, in nanoseconds
	cost       expense

	remarks []string // for the row; only the fault's own goroutine writes them
}

// remark adds a note to the row.
func (y *tally) remark(format string, args ...any) {
	y.remarks = append(y.remarks, fmt.Sprintf(format, args...))
}

// fault is a fault to run against a nowd.
type fault struct {
	name string
	env  []string
	// run runs the fault until stop is closed.
	run func(t *testing.T, n *nowd, stop <-chan struct{}, y *tally)

	questions []question // of the honest clients; nil: one of each kind
	// lossy means that the kernel must drop datagrams, because more arrive than a process can read. An honest client then
	// gets an answer to at least one request in four.
	lossy bool
	// alike means that the test also runs the fault against the control, by itself: a flood that takes the whole machine
	// delays only the service that is flooded.
	alike bool
	// overload means that the tests overload the machine, so that the test does not judge how late answers are.
	overload bool
	// from is the place of the honest clients, if not nowd's host, and host is nowd's address there.
	from place
	host string

	// once means that the attack ends by itself, so that its cost does not grow with time.
	once bool
	// least is the least share of answered questions, by kind of honest clients, where it differs from the general
	// promise.
	least map[string]float64
	// memory is an upper bound on the memory that an attack adds, with the kernel's for nowd's sockets; 0: maxGrowth.
	memory int
}

// snapshot has nowd's use of resources at one time.
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

// warm has nowd serve clients once, so that it allocates the memory that it keeps.
func (n *nowd) warm(t *testing.T, from place, questions []question) {
	t.Helper()
	for _, q := range questions {
		conn, err := dialAt(from, q.network(), q.Addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(patience)
		for answered := 0; answered < 100; {
			until := deadline
			if q.Lossy && q.Kind == "udp" {
				until = time.Now().Add(datagramTimeout)
			}
			_ = conn.SetDeadline(until)
			if _, err := io.WriteString(conn, "json\n"); err != nil {
				t.Fatal(err)
			}
			switch _, err := conn.Read(make([]byte, 1<<10)); {
			case err == nil:
				answered++
			case until != deadline && time.Now().Before(deadline) && errors.Is(err, os.ErrDeadlineExceeded):
				// After an earlier round the clients' address may still be over its limit: ask again.
			default:
				t.Fatal(err)
			}
		}
		conn.Close()
	}
	for range 10 {
		n.metrics(t)
	}
}

// observation has the measurements of a nowd and its clients during faults.
type observation struct {
	tally         *tally
	outcomes      []outcome // in the order of the questions
	took, cpu     time.Duration
	peak          int // of resident memory
	memory        int // the greatest increase of nowd's memory, with the kernel's for its sockets
	before, after snapshot
}

// observe runs faults against nowd for this time, all at once, while honest clients ask. With a time of 0 the faults end by
// themselves. It waits until nowd has released its resources, except some resident memory.
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
	faults[0].run(t, n, stop, o.tally) // in this goroutine, so that it may end the test
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

// questionsOf returns the questions of the honest clients during these faults, and the place of the clients.
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

// examine runs faults against nowd for this time, all at once, while honest clients ask, and adds a row. With a time of 0 the
// faults end by themselves.
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
			t.Logf("%s: %s (echo: %t): the slowest answer took %v; compare with the other service", name, o.Kind, o.Control, o.Max)
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
		t.Errorf("%s: %d of %d answers owed are lost", name, r.lost, r.owed)
	}
	if r.growth > maxGrowth {
		t.Errorf("%s: nowd has grown by %d KiB, want at most %d", name, r.growth>>10, maxGrowth>>10)
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

// promised returns the limit for the p99. The strict one is for a machine without other work. Only the caller can know
// that, by NOWD_FAULTS_ALONE: go test runs packages at the same time.
func promised() time.Duration {
	if os.Getenv("NOWD_FAULTS_ALONE") == "true" {
		return maxP99
	}
	return time.Second
}

// controlled returns the p99 of the control's clients while the fault runs against the control.
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

// judge adds the outcome of an honest client.
func (r *row) judge(t *testing.T, o outcome, took time.Duration, lossy bool, limit time.Duration) {
	t.Helper()
	r.held += float64(o.Answered) / took.Seconds()
	*map[string]*time.Duration{"udp": &r.udp, "tcp": &r.tcp, "new": &r.p99New}[o.Kind] = o.P99
	if o.Wrong != "" {
		t.Errorf("%s: an honest client (%s) got a wrong answer: %s", r.fault, o.Kind, o.Wrong)
	}
	if o.P99 > limit && o.Answered >= minAnswers {
		t.Errorf("%s: an honest client's p99 (%s) is %v of %d answers, want at most %v", r.fault, o.Kind, o.P99, o.Answered, limit)
	}
	if o.Kind == "udp" && lossy {
		if 4*o.Answered < o.Tries {
			t.Errorf("%s: an honest client gets %d answers in %d tries, want one in four", r.fault, o.Answered, o.Tries)
		}
		r.note = fmt.Sprintf("%d of %d honest datagrams answered", o.Answered, o.Tries)
		return
	}
	lost := o.Tries - o.Answered
	// nowd may take a client that asks as soon as it is answered for a reply loop, and withhold one answer of
	// longestRun/2.
	if withheld := min(lost, o.Tries/(longestRun/2)); o.Kind == "udp" && withheld > 0 {
		r.note = fmt.Sprintf("%d of %d honest datagrams not answered", withheld, o.Tries)
		lost -= withheld
	}
	r.owed += int64(o.Tries)
	if lost > 0 {
		r.lost += int64(lost)
		t.Errorf("%s: an honest client (%s) lost %d of %d answers: %s", r.fault, o.Kind, lost, o.Tries, o.Failure)
	}
}

// settle waits until nowd has released its resources, except left bytes of resident memory.
func (n *nowd) settle(t *testing.T, name string, before snapshot, left int) (after snapshot) {
	t.Helper()
	if err := await(patience, func() error {
		after = n.snapshot(t)
		for what, more := range map[string]float64{"go_goroutines": maxMoreGoroutines, "nowd_connections_open": 0} {
			if got, want := after.metrics[what], before.metrics[what]; got > want+more {
				return fmt.Errorf("%s: %s is %v, was %v before", name, what, got, want)
			}
		}
		if after.descriptors > before.descriptors {
			return fmt.Errorf("%s: %d descriptors are open, %d were before", name, after.descriptors, before.descriptors)
		}
		if growth := after.resident - before.resident; growth > left {
			return fmt.Errorf("%s: nowd has %d KiB more than before", name, growth>>10)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	return after
}
