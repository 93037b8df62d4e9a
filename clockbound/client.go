package clockbound

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

var (
	// ErrNoSegment is the error for a file that is no ClockBound segment, or whose
	// values make no sense.
	ErrNoSegment = errors.New("no ClockBound segment")
	// ErrTooShort is the error for a file that is shorter than its segment.
	ErrTooShort = errors.New("shorter than a ClockBound segment")
	// ErrVersion is the error for a segment of a version other than 2.
	ErrVersion = errors.New("a version of the ClockBound segment that is not supported")
	// ErrNotWritten is the error for a segment that its writer has not written yet, or
	// not to the end.
	ErrNotWritten = errors.New("the ClockBound segment has not been written yet")
	// ErrExpired is the error for a segment that was not written for too long, or not
	// since the host was booted.
	ErrExpired = errors.New("the ClockBound segment has expired")
	// ErrInUse is the error for a segment that another process writes.
	ErrInUse = errors.New("another process writes this ClockBound segment")
	// ErrRemoved is the error for a segment whose file was removed. Clients that have it
	// mapped see what is written; others do not find it.
	ErrRemoved = errors.New("the file of the ClockBound segment was removed: clients that open it now do not find it until its writer is restarted")
)

// Client reads a segment. Its methods may be called from any goroutine.
type Client struct {
	mapped  atomic.Pointer[mapping] // nil once the client is closed
	vmclock *mapping                // nil if the writer did not ask for it when the client was made
	clock   monotonicClock
	last    lastWhole
}

// Open opens the segment at a path: that of nowd's NOWD_CLOCKBOUND, or ClockBound's
// /var/run/clockbound/shm0. The error wraps fs.ErrNotExist if there is no file,
// ErrNoSegment, ErrTooShort, ErrVersion, ErrNotWritten, or errors.ErrUnsupported on
// systems other than Linux.
func Open(path string) (*Client, error) {
	c := new(Client)
	var err error
	if c.clock, err = newMonotonicClock(); err != nil {
		return nil, fmt.Errorf("clockbound: %w", err)
	}
	// Without O_NONBLOCK a named pipe would be waited for: open(2).
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size, header, err := readHeader(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := header.check(size); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m, err := mapFile(file, readOnly)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c.mapped.Store(m)
	var s segment
	if m.memory.load(&s) && s.vmclock != 0 {
		if c.vmclock, err = openVMClock(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return c, nil
}

// Close closes the client. Its other methods return os.ErrClosed from now on. The
// memory is unmapped when no goroutine uses it any more.
func (c *Client) Close() error {
	if c.mapped.Swap(nil) == nil {
		return os.ErrClosed
	}
	return nil
}

// Now returns an interval that contained the true time when Now read the clock. It
// makes no system call, waits for nobody and allocates nothing. If the error is not
// nil, the interval is all of time. The error is ErrExpired, ErrNotWritten,
// ErrVersion or ErrNoSegment, or os.ErrClosed after Close.
func (c *Client) Now() (i Interval, err error) {
	m := c.mapped.Load()
	if m == nil {
		return anyTime(Unknown), os.ErrClosed
	}
	var s segment
	err = c.snapshot(m.memory, &s)
	runtime.KeepAlive(m)
	if err != nil {
		return anyTime(Unknown), err
	}
	if s.vmclock != 0 && !c.confirms(s.marker) {
		return anyTime(Unknown), nil
	}
	// The segment has to be read first, or an update between the two could be from
	// after the time. A pause between the two only makes the bound larger.
	real := time.Now()
	err = s.at(real, c.clock.at(real), &i)
	return i, err
}

// confirms reports whether the virtual machine's clock page has the disruption
// marker of the segment. If it does not, the machine was moved or restored, and the
// writer has yet to find out.
func (c *Client) confirms(marker uint64) bool {
	return c.vmclock != nil && c.vmclock.memory[vmclockMarkerWord].Load() == marker
}

// attempts is how often a segment is read that changes each time or has an update
// under way. A writer that runs is done sooner.
const attempts = 100

// snapshot copies the segment to s. If an update is under way, which it may be for
// ever when the writer has died, s is the last whole segment that this client has
// seen.
func (c *Client) snapshot(m *memory, s *segment) error {
	for range attempts {
		whole := m.load(s)
		switch {
		case s.version != version2 && s.version != 0:
			return ErrVersion
		case whole && s.version == version2:
			c.last.keep(s)
			return nil
		case s.generation != 0 && s.generation%2 == 0 && s.version != 0: // an update came in between
		case c.last.load(s):
			return nil
		}
	}
	if c.last.load(s) {
		return nil
	}
	return ErrNotWritten
}

// lastWhole is the last whole segment that a client has seen. It has two places, of
// which the current one is not written to, so that there is always one to read.
type lastWhole struct {
	places     [2]memory
	current    atomic.Uint32 // index of the place to read
	generation atomic.Uint32 // of the segment in it; 0 if there is none
	writing    atomic.Bool   // a goroutine is in keep
}

// keep makes s the last segment, unless it is that already, or is older. If another
// goroutine is doing so, it leaves it at that.
func (l *lastWhole) keep(s *segment) {
	if l.generation.Load() == uint32(s.generation) || !l.writing.CompareAndSwap(false, true) {
		return
	}
	defer l.writing.Store(false)
	old := uint16(l.generation.Load())
	if old != 0 && int16(s.generation-old) <= 0 {
		return // s was read before the one that is kept
	}
	next := 1 - l.current.Load()
	l.places[next].store(*s, nil)
	l.current.Store(next)
	l.generation.Store(uint32(s.generation))
}

// load copies the segment to s. It returns false if none has been kept.
func (l *lastWhole) load(s *segment) bool {
	if l.generation.Load() == 0 {
		return false
	}
	for !l.places[l.current.Load()].load(s) {
		// Two updates have overtaken this one.
	}
	return true
}

// WaitUntilAfter waits until the true time is certainly after t: commit wait. While
// nothing bounds the clock's error, whatever the reason, it goes on waiting, for the
// reason may pass. When ctx is done, it returns an error that wraps that of ctx, and
// that of Now if there is one. After Close it returns os.ErrClosed.
func (c *Client) WaitUntilAfter(ctx context.Context, t time.Time) error {
	var timer *time.Timer
	for {
		now, err := c.Now()
		switch {
		case errors.Is(err, os.ErrClosed):
			return err
		case now.After(t):
			return nil
		case ctx.Err() != nil:
			return notCertain(ctx, now, err)
		}
		pause := pollInterval
		if now.Status.Bounded() {
			pause = min(t.Sub(now.Earliest)+1, updateInterval)
		}
		if timer == nil {
			timer = time.NewTimer(pause)
			defer timer.Stop()
		} else {
			timer.Reset(pause)
		}
		select {
		case <-ctx.Done():
			return notCertain(ctx, now, err)
		case <-timer.C:
		}
	}
}

const (
	updateInterval = time.Second           // how often writers update a segment
	pollInterval   = 10 * time.Millisecond // how often WaitUntilAfter looks while the error is not bounded
)

// notCertain returns why the wait ended too early.
func notCertain(ctx context.Context, now Interval, err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return fmt.Errorf("%w: the clock is %v", ctx.Err(), now.Status)
}
