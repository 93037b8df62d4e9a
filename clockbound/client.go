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
	// ErrNoSegment is the error for a file that is not a ClockBound segment, or whose
	// values are invalid.
	ErrNoSegment = errors.New("not a ClockBound segment")
	// ErrTooShort is the error for a file that is shorter than its segment.
	ErrTooShort = errors.New("shorter than a ClockBound segment")
	// ErrVersion is the error for a segment of a version other than 2.
	ErrVersion = errors.New("unsupported version of the ClockBound segment")
	// ErrNotWritten is the error for a segment whose first update is not complete.
	ErrNotWritten = errors.New("the ClockBound segment has not been written yet")
	// ErrExpired is the error for a segment whose last update is too old, or from
	// before the host was booted.
	ErrExpired = errors.New("the ClockBound segment has expired")
	// ErrInUse is the error for a segment that another process writes.
	ErrInUse = errors.New("another process writes this ClockBound segment")
	// ErrRemoved is the error for a segment whose file was removed. Clients that have
	// mapped it still see updates. New clients cannot open it.
	ErrRemoved = errors.New("the file of the ClockBound segment was removed: new clients cannot open it until the writer is restarted")
)

// Client reads a segment. Any goroutine may call its methods.
type Client struct {
	mapped  atomic.Pointer[mapping] // nil once the client is closed
	vmclock *mapping                // nil if the segment did not require it at Open
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
	// Without O_NONBLOCK, opening a named pipe waits for its writer: open(2).
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

// Close closes the client. Its methods then return os.ErrClosed. The memory is
// unmapped once no goroutine uses it.
func (c *Client) Close() error {
	if c.mapped.Swap(nil) == nil {
		return os.ErrClosed
	}
	return nil
}

// Now returns an interval that contained the true time when Now read the clock. It
// makes no system call, never blocks and allocates nothing. The error is ErrExpired,
// ErrNotWritten, ErrVersion or ErrNoSegment, or os.ErrClosed after Close. With an
// error, the interval is all of time.
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
	// Read the segment before the clock. The other way round, an update in between
	// could be newer than the time. A pause in between only makes the bound larger.
	real := time.Now()
	err = s.at(real, c.clock.at(real), &i)
	return i, err
}

// confirms reports whether the virtual machine's clock page has the segment's
// disruption marker. If it has another one, the machine was moved or restored, and
// the writer has not noticed yet.
func (c *Client) confirms(marker uint64) bool {
	return c.vmclock != nil && c.vmclock.memory[vmclockMarkerWord].Load() == marker
}

// attempts is an upper bound on how often snapshot reads a segment that an update
// changes meanwhile. An update takes less time than that, unless its writer stops.
const attempts = 100

// snapshot copies the segment to s. During an update, s is the last whole segment
// that this client has seen. An update lasts for ever if the writer dies in it.
func (c *Client) snapshot(m *memory, s *segment) error {
	for range attempts {
		whole := m.load(s)
		switch {
		case s.version != version2 && s.version != 0:
			return ErrVersion
		case whole && s.version == version2:
			c.last.keep(s)
			return nil
		case s.generation != 0 && s.generation%2 == 0 && s.version != 0: // an update came in between: read again
		case c.last.load(s):
			return nil
		}
	}
	if c.last.load(s) {
		return nil
	}
	return ErrNotWritten
}

// lastWhole is the last whole segment that a client has seen. It has two copies.
// keep never writes to the current one, so load can always read that.
type lastWhole struct {
	copies     [2]memory
	current    atomic.Uint32 // index of the copy to read
	generation atomic.Uint32 // of the segment in the current copy; 0 if there is none
	writing    atomic.Bool   // a goroutine is in keep
}

// keep makes s the last whole segment, unless the current one is as new or newer, or
// another goroutine is in keep.
func (l *lastWhole) keep(s *segment) {
	if l.generation.Load() == uint32(s.generation) || !l.writing.CompareAndSwap(false, true) {
		return
	}
	defer l.writing.Store(false)
	old := uint16(l.generation.Load())
	if old != 0 && int16(s.generation-old) <= 0 {
		return // s is older than the current one
	}
	next := 1 - l.current.Load()
	l.copies[next].store(*s, nil)
	l.current.Store(next)
	l.generation.Store(uint32(s.generation))
}

// load copies the segment to s. It returns false if none has been kept.
func (l *lastWhole) load(s *segment) bool {
	if l.generation.Load() == 0 {
		return false
	}
	for !l.copies[l.current.Load()].load(s) {
		// Two calls of keep came in between.
	}
	return true
}

// WaitUntilAfter waits until the true time is certainly after t: commit wait. It also
// waits while the clock's error is not bounded, or Now returns an error, because both
// may end. When ctx is done, it returns an error that wraps that of ctx, and that of
// Now if there is one. After Close it returns os.ErrClosed.
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
			return waitError(ctx, now, err)
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
			return waitError(ctx, now, err)
		case <-timer.C:
		}
	}
}

const (
	updateInterval = time.Second           // between two updates of a segment
	pollInterval   = 10 * time.Millisecond // between two calls of Now while the error is not bounded
)

// waitError returns the error of a wait that ctx has ended. now and err are the last
// results of Now.
func waitError(ctx context.Context, now Interval, err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return fmt.Errorf("%w: the clock is %v", ctx.Err(), now.Status)
}
