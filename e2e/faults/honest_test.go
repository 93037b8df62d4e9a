//go:build linux

package faults_test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Honest clients ask during every fault. They run in a process of their own, so that the cost of a fault to the tests
// does not delay them. So does the control: an echo service over Go's net package. The honest clients ask the control
// in the same way at the same time. Delays of the control's answers come from the machine, not from nowd.

var roles = map[string]func(){"client": playClient, "echo": playEcho}

// question is a request that an honest client repeats.
type question struct {
	Kind    string // udp; tcp: on one connection; new: on a new connection each time
	Addr    string
	Control bool // for the control
	Lossy   bool // datagrams may be lost, so ask again soon

	Askers     int           // number of clients; 0: 1
	Every      time.Duration // pause of a client between two requests; 0: pace
	Hesitation time.Duration // time between connecting and asking
}

func (q question) network() string {
	if q.Kind == "udp" {
		return "udp"
	}
	return "tcp"
}

// outcome has the results of one question.
type outcome struct {
	question
	Tries, Answered int
	Wrong           string        // why the first wrong answer was wrong
	Failure         string        // the last error
	P50, P99, Max   time.Duration // of the answered requests
}

const (
	// pace is the default pause between two requests.
	pace = 4 * time.Millisecond
	// datagramTimeout is the time after which a client takes a datagram for lost, and asks again from another port.
	datagramTimeout = 250 * time.Millisecond
	// owedTimeout is the time limit for an answer that is owed.
	owedTimeout = 10 * time.Second
)

// playClient reads the questions from standard input, asks until standard input ends, and writes the outcomes to
// standard output.
func playClient() {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	var questions []question
	if err == nil {
		err = json.Unmarshal(line, &questions)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	stop := make(chan struct{})
	var asking sync.WaitGroup
	outcomes := make([]outcome, len(questions))
	for i, q := range questions {
		asking.Go(func() { outcomes[i] = q.ask(stop) })
	}
	_, _ = io.Copy(io.Discard, in)
	close(stop)
	asking.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(outcomes); err != nil {
		os.Exit(2)
	}
}

// ask asks until stop is closed. If many datagrams are lost, several clients ask, so that there are enough answers for a p99.
func (q question) ask(stop <-chan struct{}) outcome {
	askers := cmp.Or(q.Askers, 1)
	if q.Kind == "udp" && q.Lossy {
		askers = cmp.Or(q.Askers, 4)
	}
	outcomes, took := make([]outcome, askers), make([][]time.Duration, askers)
	var asking sync.WaitGroup
	for i := range askers {
		asking.Go(func() { outcomes[i], took[i] = (&asker{question: q}).run(stop) })
	}
	asking.Wait()
	o := outcomes[0]
	for _, more := range outcomes[1:] {
		o.Tries += more.Tries
		o.Answered += more.Answered
		o.Wrong = cmp.Or(o.Wrong, more.Wrong)
		o.Failure = cmp.Or(o.Failure, more.Failure)
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	if n := len(all); n > 0 {
		o.P50, o.P99, o.Max = all[n/2], all[n*99/100], all[n-1]
	}
	return o
}

type asker struct {
	question
	conn net.Conn
	in   *bufio.Reader
}

func (a *asker) run(stop <-chan struct{}) (o outcome, took []time.Duration) {
	o = outcome{question: a.question}
	for ; !closed(stop); a.pause(stop) {
		began := time.Now()
		wrong, err := a.ask()
		if errors.Is(err, errHeldUp) {
			a.hangUp()
			continue
		}
		o.Tries++
		if err != nil {
			o.Failure = err.Error()
			a.hangUp()
			continue
		}
		took = append(took, time.Since(began))
		o.Answered++
		if wrong != nil && o.Wrong == "" { // later ones may be its consequence
			o.Wrong = wrong.Error()
		}
		if a.Kind == "new" {
			a.hangUp()
		}
	}
	a.hangUp()
	return o, took
}

func (a *asker) pause(stop <-chan struct{}) {
	select {
	case <-stop:
	case <-time.After(cmp.Or(a.Every, pace)):
	}
}

// errHeldUp means that the machine delayed a client for so long that nowd no longer owed it an answer.
var errHeldUp = errors.New("held up")

// hesitate waits before a client's first request.
func (a *asker) hesitate() error {
	if a.Hesitation == 0 {
		return nil
	}
	const grace = 200 * time.Millisecond // less than nowd waits for new clients
	began := time.Now()
	if time.Sleep(a.Hesitation); time.Since(began) > grace {
		return errHeldUp
	}
	return nil
}

func (a *asker) hangUp() {
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
}

// ask sends one request. It returns what is wrong with the answer, or the error if there was none.
func (a *asker) ask() (wrong, err error) {
	timeout := owedTimeout
	if a.Kind == "udp" && a.Lossy {
		timeout = datagramTimeout
	}
	before := time.Now()
	if a.conn == nil {
		if a.conn, err = net.DialTimeout(a.network(), a.Addr, timeout); err != nil {
			return nil, err
		}
		a.in = bufio.NewReader(a.conn)
		if err := a.hesitate(); err != nil {
			return nil, err
		}
	}
	_ = a.conn.SetDeadline(before.Add(timeout))
	const request = "unixns\n"
	if _, err := io.WriteString(a.conn, request); err != nil {
		return nil, err
	}
	answer, err := a.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if a.Control {
		if answer != request {
			wrong = fmt.Errorf("the echo says %q", answer)
		}
		return wrong, nil
	}
	return verify("unixns", strings.TrimSuffix(answer, "\n"), before, time.Now()), nil
}

// playEcho runs an echo service at the address of its command line, over UDP and TCP, until standard input ends.
func playEcho() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	socket, err := net.ListenPacket("udp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	go echo(socket)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// echo answers each datagram with its contents: RFC 862.
func echo(socket net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := socket.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = socket.WriteTo(buf[:n], from)
	}
}

// role returns a command that starts this program in a role.
func role(t *testing.T, at place, name string, args ...string) (cmd *exec.Cmd, in io.WriteCloser, out *bufio.Reader) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	startIn(t, at, cmd)
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	return cmd, in, bufio.NewReader(r)
}

// startEcho starts an echo service at an address, and returns its port. An empty address stands for all.
func startEcho(t *testing.T, at place, host string) int {
	t.Helper()
	port := freePort(t)
	_, _, out := role(t, at, "echo", fmt.Sprintf("%s:%d", host, port))
	if line, err := out.ReadString('\n'); err != nil {
		t.Fatalf("the echo service prints %q, %v", line, err)
	}
	return port
}

// honest is a process of honest clients.
type honest struct {
	in  io.WriteCloser
	out *bufio.Reader
}

func startHonest(t *testing.T, at place, questions ...question) *honest {
	t.Helper()
	_, in, out := role(t, at, "client")
	b, err := json.Marshal(questions)
	if err == nil {
		_, err = in.Write(append(b, '\n'))
	}
	if err != nil {
		t.Fatal(err)
	}
	return &honest{in, out}
}

// stop ends the clients, and returns the outcomes of their questions, in order.
func (h *honest) stop(t *testing.T) (outcomes []outcome) {
	t.Helper()
	h.in.Close()
	if err := json.NewDecoder(h.out).Decode(&outcomes); err != nil {
		t.Fatalf("the honest clients: %v", err)
	}
	return outcomes
}
