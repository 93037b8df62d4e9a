package tcp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/answer"
)

// step is one action of a client: it sends data in writes of at most cut bytes, and then
// perhaps waits for all outstanding answers.
type step struct {
	data []byte
	cut  int
	deaf bool // does not read while it sends, unless the send buffer is full
	wait bool
}

// farewell is how a client ends its connection.
type farewell uint8

const (
	halfClose farewell = iota // half-close, and read to the end of file
	reset                     // RST, or a local socket's equivalent
	leave                     // close, even with unread answers
	numFarewells
)

// script is the behaviour of a client.
type script struct {
	steps []step
	end   farewell
	local bool // uses a local socket, which has fixed buffers and no timers
	tight bool // uses small buffers
}

const (
	mostInput = 20 << 10 // maximum bytes of input in a script
	mostDue   = 600      // maximum requests in a script, approximately
)

// decode makes a script from arbitrary bytes.
func decode(p patience, b []byte) script {
	next := func() byte {
		if len(b) == 0 {
			return 0
		}
		c := b[0]
		b = b[1:]
		return c
	}
	setup := next()
	s := script{local: setup&1 > 0, tight: setup&2 > 0 && p != eager}
	var request, data []byte
	var deaf bool
	sent, asked := 0, 0
	flush := func(cut int, wait bool) {
		if p == eager { // a request must arrive in one piece, and a pause ends it
			cut, wait = mostInput, true
		}
		s.steps = append(s.steps, step{data, cut, deaf, wait})
		data = nil
	}
	add := func(b ...byte) { request, data, sent = b, append(data, b...), sent+len(b) }
	if p == patient {
		add('\n') // sets sawLine: from now on, partial lines wait for their rest
	}
	for len(b) > 0 && sent < mostInput && asked < mostDue {
		asked++
		switch op := next(); op % 16 {
		case 0, 1, 2:
			words := answer.Words()
			w := words[int(next())%len(words)]
			add([]byte([]string{w, strings.ToUpper(w), " " + w + "\r", w + "\x00"}[op/16%4] + "\n")...)
		case 3:
			add(append(fill(op, int(next())), '\n')...)
		case 4:
			add('\n')
		case 5:
			add(append(fill(op, maxLine-1+[]int{0, 1, 2, 3, readSize - maxLine, readSize - maxLine + 2, 3 * readSize, int(next()) * 8}[op/16%8]), '\n')...)
		case 6, 7:
			n := min(1+int(next()), (mostInput-sent)/max(1, len(request)), mostDue-asked)
			asked += max(0, n)
			r := request
			for range n {
				add(r...)
			}
		case 8, 9:
			flush(1+int(next())%64*[]int{1, 1, 64, 1024}[op/16%4], false)
		case 10:
			flush(1+int(next())*16, true)
		case 11:
			deaf = !deaf
		case 12:
			add(fill(op, 1+int(next())%8)...) // a partial line
		case 13:
			add([]byte("GE")...)
		case 14:
			if op/16%4 == 0 { // rarely, since an HTTP answer ends the script
				add(heads[int(next())%len(heads)]...)
			}
		case 15:
			if op/16%4 == 0 {
				s.end = farewell(next()) % numFarewells
				b = nil
			}
		}
	}
	flush(mostInput, false)
	return s
}

// fill returns n bytes that are not a word of the protocol.
func fill(op byte, n int) []byte {
	return []byte(strings.Repeat(string([]byte{"xyz\x00"[op/16%4]}), n))
}

var heads = [][]byte{
	[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), []byte("GET /unix HTTP/1.0\n\n"), []byte("HEAD /json?x HTTP/1.1\r\n\r\n"), []byte("GET /json HTTP/1.1\r\n\r\n"),
	[]byte("GET /nothing HTTP/1.1\r\n\r\n"), []byte("HEAD nothing\r\n\r\n"), []byte("GET /bound HTTP/1.1\r\nHost"), []byte("GET /" + strings.Repeat("x", answer.MaxHead) + "\r\n"),
}

// player is a client that plays a script.
type player struct {
	fd     int
	ledger ledger
	sent   []stamp
	size   int    // bytes sent
	got    []byte // bytes received and not checked yet
	checks int    // answers checked
	eof    bool
	late   time.Time // when the player gives up
}

// stamp says that the input from the previous stamp's end up to end was sent after at.
type stamp struct {
	end int
	at  time.Time
}

// play plays the script.
func (c *player) play(s script) error {
	c.sent = []stamp{{0, time.Now()}}
	for _, st := range s.steps {
		c.ledger.send(st.data)
		if err := c.write(st); err != nil {
			return err
		}
		if st.wait {
			c.ledger.pause()
			if err := c.await(false); err != nil {
				return err
			}
		}
	}
	switch s.end {
	case reset:
		return unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	case leave:
		return nil
	}
	c.ledger.end()
	if err := unix.Shutdown(c.fd, unix.SHUT_WR); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	return c.await(true)
}

// write sends a step's data.
func (c *player) write(st step) error {
	for b := st.data; len(b) > 0; {
		if !st.deaf {
			if err := c.readAll(); err != nil {
				return err
			}
		}
		c.sent = append(c.sent, stamp{c.size + min(len(b), st.cut), time.Now()})
		n, err := unix.Write(c.fd, b[:min(len(b), st.cut)])
		switch {
		case err == nil:
			b, c.size = b[n:], c.size+n
			c.sent[len(c.sent)-1].end = c.size
		case errors.Is(err, unix.EAGAIN):
			c.sent = c.sent[:len(c.sent)-1]
			if err := c.poll(unix.POLLIN | unix.POLLOUT); err != nil {
				return err
			}
			if err := c.readAll(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// await reads until every outstanding answer has arrived. At the end of the script it also
// waits for the end of file.
func (c *player) await(end bool) error {
	for {
		if err := c.readAll(); err != nil {
			return err
		}
		all := c.checks == len(c.ledger.dues)
		closing := c.checks == len(c.ledger.dues)-1 && c.ledger.closed // the last answer can only be checked at the end of file
		switch {
		case c.eof && !all:
			return fmt.Errorf("end of file after %d of %d answers and %q", c.checks, len(c.ledger.dues), c.got)
		case c.eof, !end && (all || closing):
			return nil
		}
		if err := c.poll(unix.POLLIN); err != nil {
			return err
		}
	}
}

// readAll reads what has arrived, and checks the complete answers.
func (c *player) readAll() error {
	var b [4096]byte
	for !c.eof {
		n, err := unix.Read(c.fd, b[:])
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			break
		}
		if err != nil {
			return fmt.Errorf("read after %d of %d answers: %w", c.checks, len(c.ledger.dues), err)
		}
		c.eof = n == 0
		c.got = append(c.got, b[:n]...)
	}
	return c.check()
}

func (c *player) check() error {
	now := time.Now()
	for ; c.checks < len(c.ledger.dues); c.checks++ {
		d := c.ledger.dues[c.checks]
		for len(c.sent) > 1 && c.sent[0].end < d.end {
			c.sent = c.sent[1:]
		}
		n, err := d.check(c.got, c.eof, c.sent[0].at, now)
		if errors.Is(err, errTooFew) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("answer %d of %d: %w", c.checks+1, len(c.ledger.dues), err)
		}
		c.got = c.got[n:]
	}
	if len(c.got) > 0 {
		return fmt.Errorf("output after the %d answers owed: %q", c.checks, c.got)
	}
	return nil
}

// poll waits for events.
func (c *player) poll(events int16) error {
	for {
		d := time.Until(c.late)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: events}}, int(d/time.Millisecond)+1)
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("poll: %w", err)
		case d <= 0:
			return fmt.Errorf("timeout after %d of %d answers, %d bytes sent and %q received", c.checks, len(c.ledger.dues), c.size, c.got)
		}
	}
}

// stage is the servers that scripts are played against, one for each patience.
type stage [numPatiences]service

func newStage(t testing.TB) (st stage) {
	for p := range numPatiences {
		// In real time, since the pauses of eager clients are real.
		st[p] = startWithClock(t, nil, func(c *Config) { c.Framing = framingOf(p) })
		st[p].do(func() {
			// No timeout may pass during a test, except that of eager clients' pauses.
			s := st[p].Server
			s.lists[partialLine].timeout = time.Minute
			s.lists[lingering].timeout = time.Minute
			s.lists[writing].timeout = time.Minute
			s.lists[partialHead].timeout = time.Minute
			if p == eager {
				s.lists[partialLine].timeout = 2 * time.Millisecond
			}
		})
	}
	return st
}

// connect opens a non-blocking connection to s for a script.
func (s service) connect(c script) (int, error) {
	const small = 2048
	if c.local {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return -1, err
		}
		if c.tight {
			_ = unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_SNDBUF, small)
			_ = unix.SetsockoptInt(fds[1], unix.SOL_SOCKET, unix.SO_SNDBUF, small)
		}
		if err := errors.Join(unix.SetNonblock(fds[0], true), unix.SetNonblock(fds[1], true)); err != nil {
			return -1, err
		}
		s.do(func() { s.Server.open(fds[1], 0) })
		return fds[0], nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	if !c.tight { // large enough that one write sends a whole step
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 8*mostInput)
	} else {
		// With small segments too, or the kernel would wait for more buffer space.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, small)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, 256)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(s.at.Port()), Addr: s.at.Addr().As4()}); err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// play plays scripts concurrently. Then it checks that no connection is open and that the
// counted answers are those owed.
func (st stage) play(t *testing.T, p patience, scripts []script) {
	s := st[p]
	var before uint64
	s.do(func() { before = s.answers() })
	var playing sync.WaitGroup
	var mu sync.Mutex
	due, exact := uint64(0), true
	for i, sc := range scripts {
		playing.Go(func() {
			fd, err := s.connect(sc)
			if err != nil {
				t.Error(err)
				return
			}
			c := player{fd: fd, ledger: ledger{patience: p, text: s.config.Text}, late: time.Now().Add(giveUp)}
			if err := c.play(sc); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			_ = unix.Close(fd)
			mu.Lock()
			defer mu.Unlock()
			due += uint64(len(c.ledger.dues))
			exact = exact && sc.end == halfClose
		})
	}
	playing.Wait()
	for deadline := time.Now().Add(giveUp); ; {
		var open int
		var got uint64
		s.do(func() { open, got = s.conns(), s.answers()-before })
		if open == 0 {
			if exact && got != due {
				t.Errorf("%d answers counted, %d owed", got, due)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are still open", open)
		}
	}
	if n := s.loop.Stats().Panics; n > 0 {
		t.Fatalf("%d panics", n)
	}
}

// TestOwedAnswersArriveInOrderAndNothingElse plays random scripts of splits, pipelines,
// stalls, pauses, half-closes and resets. The seeds are fixed, so that a failed round can
// be repeated.
func TestOwedAnswersArriveInOrderAndNothingElse(t *testing.T) {
	st := newStage(t)
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for i := range rounds {
		r := rand.New(rand.NewPCG(uint64(i), 3333))
		p := patience(i) % numPatiences
		scripts := make([]script, 16)
		for i := range scripts {
			b := make([]byte, 2+r.IntN(100))
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			scripts[i] = decode(p, b)
		}
		if st.play(t, p, scripts); t.Failed() {
			t.Fatalf("round %d failed", i)
		}
	}
}

// FuzzConnections decodes scripts from the input and plays them concurrently.
func FuzzConnections(f *testing.F) {
	for i := range 12 {
		r := rand.New(rand.NewPCG(uint64(i), 868))
		b := make([]byte, 10+20*i)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(byte(i), byte(i), b)
	}
	st := newStage(f)
	f.Fuzz(func(t *testing.T, kind, clients byte, b []byte) {
		p := patience(kind) % numPatiences
		scripts := make([]script, 1+clients%8)
		for i := range scripts {
			n := len(b) / (len(scripts) - i)
			scripts[i], b = decode(p, b[:n]), b[n:]
		}
		st.play(t, p, scripts)
	})
}
