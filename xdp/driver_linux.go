package xdp

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"nowd/guard"
)

// limiter returns the parameters of guard's limiter, which is for one source.
func (l Limit) limiter() limit {
	if l.Rate == 0 {
		return limit{}
	}
	p := guard.ParametersOf(l.Rate, l.Burst)
	return limit{interval: p.Interval, tolerance: p.Tolerance, reserve: p.Reserve}
}

// bucket returns the parameters of guard's Bucket, which is for all sources together.
func (l Limit) bucket() limit {
	p := l.limiter()
	p.reserve = 0
	return p
}

// Driver is a program attached to an interface, and the memory that it shares with this
// process. One goroutine at a time may call its methods. Any goroutine may call Stats,
// Attached and String.
type Driver struct {
	config   Config
	index    int // of the interface
	loaded   *loaded
	link     link.Link
	writer   writer
	monitor  int // descriptor of openMonitor; -1 once closed
	station  station
	unread   bool // station is empty because it could not be read
	attached atomic.Bool
}

// Attach attaches the program to an interface, until Stop or until the process ends. The
// program answers nothing before the first Refresh. An error says what is missing.
func Attach(c Config) (*Driver, error) {
	d := &Driver{config: c, monitor: -1, writer: writer{clock: c.Clock, text: c.Text, ntp: c.NTP}}
	if err := d.attach(); err != nil {
		d.Close()
		return nil, err
	}
	d.attached.Store(true)
	return d, nil
}

// attach checks the kernel, opens the monitor, loads and tests the program, and
// attaches it to the interface.
func (d *Driver) attach() error {
	if err := checkKernel(); err != nil {
		return err
	}
	in, err := net.InterfaceByName(d.config.Interface)
	if err != nil {
		return errors.New("no such interface")
	}
	d.index = in.Index
	// Open the monitor before reading the addresses, so that no change is missed.
	if d.monitor, err = openMonitor(); err != nil {
		return err
	}
	if d.station, err = readStation(d.index); err != nil {
		return err
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	r, err := d.config.rules(cpus)
	if err != nil {
		return err
	}
	if d.loaded, err = load(r); err != nil {
		return explain(err)
	}
	if err := d.selfTest(r); err != nil {
		return err
	}
	flags := link.XDPDriverMode
	if d.config.Generic {
		flags = link.XDPGenericMode
	}
	d.link, err = link.AttachXDP(link.XDPOptions{Program: d.loaded.program, Interface: d.index, Flags: flags})
	return explain(err)
}

// rules returns the parameters of the program.
func (c *Config) rules(cpus int) (*rules, error) {
	r := &rules{ownPorts: c.Ports, minRequest: c.MinRequest, longest: c.LongestRun, source: c.Source.limiter(), total: c.Total.bucket(), cpus: cpus}
	if c.NTP != nil {
		r.ntpPort = c.NTPPort
	}
	if c.Text != nil {
		// The layout is the same for every second.
		if l, ok := c.Text.Layout(time.Unix(1e9, 0)); ok && c.MinRequest <= maxText {
			r.textPort, r.before, r.digits = c.TextPort, len(l.Before), l.Digits
		}
	}
	if r.ntpPort == 0 && r.textPort == 0 {
		return nil, errors.New("nothing to answer: NTP is off, and text is off, has a default form that is not a single time, or has a minimum request of more than 3 bytes")
	}
	return r, nil
}

// Errors of Attach for a missing requirement.
var (
	errKernel = errors.New("the kernel is older than Linux 6.1")
	errPermit = errors.New("CAP_BPF and CAP_NET_ADMIN are required, and a seccomp profile that allows bpf(2)")
	errDriver = errors.New("the driver does not support XDP: append \",generic\" to run the program in the kernel, which saves less CPU time")
	errTaken  = errors.New("the interface already has an XDP program")
)

// explain wraps an error of the kernel with the requirement that it stands for.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES) && !isVerifierError(err):
		return fmt.Errorf("%w: %w", errPermit, err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: %w", errDriver, err)
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%w: %w", errTaken, err)
	}
	return err
}

func isVerifierError(err error) bool {
	var ve *ebpf.VerifierError
	return errors.As(err, &ve)
}

// checkKernel returns an error if the kernel lacks a function that the program calls.
func checkKernel() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	return checkRelease(unix.ByteSliceToString(u.Release[:]))
}

// checkRelease returns an error if a release of Linux lacks bpf_ktime_get_tai_ns of
// bpf-helpers(7).
func checkRelease(release string) error {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err == nil && (major < 6 || major == 6 && minor < 1) {
		return fmt.Errorf("%w: %s", errKernel, release)
	}
	return nil
}

// Refresh writes current facts. endpoints are the addresses of nowd's open sockets. If
// Changed could not read the interface's addresses, Refresh reads them; while that fails,
// the program answers nothing.
func (d *Driver) Refresh(endpoints []Endpoint) error {
	c, err := readClocks()
	if err != nil {
		return err
	}
	if d.unread {
		err = d.readStation()
	}
	d.loaded.facts.write(d.writer.slot(c, d.station, endpoints))
	return err
}

// readStation reads the interface's addresses. If there is no such interface any more, it
// detaches the program.
func (d *Driver) readStation() (err error) {
	d.station, err = readStation(d.index)
	if errors.Is(err, errGone) {
		d.detach()
		err = nil
	}
	d.unread = err != nil
	return err
}

// Forget makes the program answer nothing until the next Refresh. The program keeps the
// endpoints, to count the requests that it passes to the sockets (Stats.Stale).
func (d *Driver) Forget(endpoints []Endpoint) {
	var s slot
	s.setStation(d.station, endpoints)
	d.loaded.facts.write(s)
}

// write writes the slot that is not current, and makes it current.
func (f *facts) write(s slot) {
	next := f.generation + 1
	f.slots[next%2] = s
	atomic.StoreUint64(&f.generation, next)
}

// Monitor returns a descriptor that is readable after a change to any interface. The
// caller then calls Changed.
func (d *Driver) Monitor() int { return d.monitor }

// Changed reads messages from the monitor, and updates the interface's addresses. It
// reports whether the caller must call Refresh or Forget. If the interface was removed, or
// moved to another network namespace, the driver is detached permanently. Changed reads a
// bounded number of messages; the monitor stays readable if there are more.
func (d *Driver) Changed() bool {
	if !readMonitor(d.monitor, d.index) || !d.attached.Load() {
		return false
	}
	_ = d.readStation() // Refresh tries again
	return true
}

// Attached reports whether the program is attached. Any goroutine may call it.
func (d *Driver) Attached() bool { return d.attached.Load() }

// String returns the interface and the mode, in the syntax of NOWD_XDP. Any goroutine may
// call it.
func (d *Driver) String() string {
	if d.config.Generic {
		return d.config.Interface + ",generic"
	}
	return d.config.Interface
}

// detach detaches the program from the interface.
func (d *Driver) detach() {
	d.attached.Store(false)
	if d.link != nil {
		_ = d.link.Close()
	}
}

// Stop detaches the program from the interface. Stats remains valid.
func (d *Driver) Stop() {
	d.detach()
	if d.monitor >= 0 {
		_ = unix.Close(d.monitor)
		d.monitor = -1
	}
}

// Close detaches the program and releases its memory. No method may be called after Close.
func (d *Driver) Close() {
	d.Stop()
	if d.loaded != nil {
		d.loaded.close()
	}
}

// Stats returns a snapshot of a protocol's counters. Any goroutine may call it.
func (d *Driver) Stats(p Protocol) (s Stats) {
	for i := range d.loaded.cpus {
		c := &d.loaded.cpus[i].counters[p>>1]
		load := func(counter int) uint64 { return atomic.LoadUint64(&c[counter]) }
		s.Answers += load(countAnswers)
		s.SourcePort += load(countSourcePort)
		s.OwnPort += load(countOwnPort)
		s.ReplyLoop += load(countReplyLoop)
		s.RateLimit += load(countRateLimit)
		s.TotalLimit += load(countTotalLimit)
		s.Stale += load(countStale)
	}
	return s
}
