package xdp

import (
	"errors"
	"net/netip"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/clock"
)

// inNamespace moves the test to a new network namespace with a pair of interfaces, veth0
// and veth1. The thread ends with the test.
func inNamespace(t *testing.T) {
	t.Helper()
	newBench(t, answer.DateTime, nil) // skips the test without root
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	run(t, "ip link set lo up")
	run(t, "ip link add veth0 type veth peer name veth1")
	for _, name := range []string{"veth0", "veth1"} {
		run(t, "ip link set "+name+" addrgenmode none") // only the test adds addresses
		run(t, "ip link set "+name+" up")
	}
	run(t, "ip addr add 192.0.2.1/24 dev veth0")
	run(t, "ip addr add 2001:db8::1/64 dev veth0 nodad")
}

func run(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

func testConfig(name string, generic bool) Config {
	c := clock.New(clock.Config{})
	return Config{
		Interface: name, Generic: generic, Clock: c,
		Text: answer.NewText(c, time.UTC, answer.DateTime, true), TextPort: textPort,
		NTP: answer.NewNTP(c, 10, [4]byte{'N', 'O', 'W', 'D'}), NTPPort: ntpPort,
		Ports: []uint16{textPort},
	}
}

func TestCloseDetachesTheProgram(t *testing.T) {
	inNamespace(t)
	for _, generic := range []bool{false, true, false} { // Attach fails if a program is still attached
		d, err := Attach(testConfig("veth0", generic))
		if err != nil {
			t.Fatal(err)
		}
		for _, second := range []bool{false, true} {
			if _, err := Attach(testConfig("veth0", second)); !errors.Is(err, errTaken) {
				t.Errorf("generic %v, then %v: error %v, want %v", generic, second, err, errTaken)
			}
		}
		if !d.Attached() || d.Stats(NTP) != (Stats{}) || d.Stats(Text) != (Stats{}) {
			t.Errorf("attached: %v, %+v", d.Attached(), d.Stats(NTP))
		}
		d.Close()
	}
}

func TestErrorsOfAttachSayWhatIsMissing(t *testing.T) {
	inNamespace(t)
	if _, err := Attach(testConfig("veth7", false)); err == nil || err.Error() != "no such interface" {
		t.Error(err)
	}
	run(t, "ip link add link veth1 name macvlan0 type macvlan")
	if _, err := Attach(testConfig("macvlan0", false)); !errors.Is(err, errDriver) {
		t.Errorf("macvlan, which does not support XDP: %v", err)
	}
	if d, err := Attach(testConfig("macvlan0", true)); err != nil {
		t.Errorf("generic: %v", err)
	} else {
		d.Close()
	}
	if _, err := Attach(testConfig("lo", true)); err == nil || err.Error() != "not an Ethernet interface" {
		t.Error(err)
	}
	c := testConfig("veth0", false)
	c.NTP, c.Text = nil, nil
	if _, err := Attach(c); err == nil {
		t.Error("attached with nothing to answer")
	}
}

func TestAddressesAreFollowed(t *testing.T) {
	inNamespace(t)
	d, err := Attach(testConfig("veth0", false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	has := func(addr string) bool {
		return slices.ContainsFunc(d.station.addrs, func(a netip.Addr) bool { return a.String() == addr })
	}
	if !has("192.0.2.1") || !has("2001:db8::1") {
		t.Errorf("%v", d.station.addrs)
	}
	// The kernel may report a change a moment later.
	change := func(command string, done func() bool) {
		t.Helper()
		run(t, command)
		for deadline := time.Now().Add(15 * time.Second); !done(); {
			if time.Now().After(deadline) {
				t.Fatalf("%s: the change was not noticed: %+v", command, d.station)
			}
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(d.Monitor()), Events: unix.POLLIN}}, 1000)
			d.Changed()
		}
	}
	change("ip addr add 192.0.2.9/24 dev veth0", func() bool { return has("192.0.2.9") })
	change("ip addr del 192.0.2.9/24 dev veth0", func() bool { return !has("192.0.2.9") })
	change("ip addr add 2001:db8::9/64 dev veth0 nodad", func() bool { return has("2001:db8::9") })
	change("ip link set veth0 address 02:00:00:00:00:77", func() bool { return d.station.mac == [6]byte{2, 0, 0, 0, 0, 0x77} })
	run(t, "ip link add veth2 type veth peer name veth3")
	before := d.station
	d.Changed()
	if !reflect.DeepEqual(before, d.station) {
		t.Errorf("a change of another interface changed the addresses: %+v", d.station)
	}
	change("ip link del veth0", func() bool { return !d.Attached() })
	if d.Attached() || len(d.station.addrs) > 0 {
		t.Errorf("still attached to a removed interface: %v", d.station.addrs)
	}
	if d.Changed() {
		t.Error("Changed reports a change of a removed interface")
	}
}

// TestLostMessageIsAChange: messages about another interface fill the monitor's buffer, so
// that the kernel drops the one about a new address.
func TestLostMessageIsAChange(t *testing.T) {
	inNamespace(t)
	d, err := Attach(testConfig("veth0", false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	for d.Changed() { // by attaching
	}
	if err := unix.SetsockoptInt(d.Monitor(), unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		t.Fatal(err)
	}
	run(t, "for i in $(seq 2 60); do echo addr add 192.0.2.$i/24 dev veth1; done | ip -batch -")
	run(t, "ip addr add 192.0.2.99/24 dev veth0")
	for range 60 {
		d.Changed()
	}
	if !slices.Contains(d.station.addrs, netip.MustParseAddr("192.0.2.99")) {
		t.Errorf("%v", d.station.addrs)
	}
}

// TestAddressesAreReadAgainAfterAFailure: no descriptor is left when an address is added.
func TestAddressesAreReadAgainAfterAFailure(t *testing.T) {
	inNamespace(t)
	d, err := Attach(testConfig("veth0", false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	run(t, "ip addr add 192.0.2.9/24 dev veth0")
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(d.Monitor()), Events: unix.POLLIN}}, 15_000)

	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	changed := d.Changed()
	failure := d.Refresh(nil)
	addrs := d.station.addrs
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !changed || !errors.Is(failure, unix.EMFILE) || len(addrs) > 0 {
		t.Errorf("without descriptors: changed is %v, error %v, addresses %v", changed, failure, addrs)
	}
	if err := d.Refresh(nil); err != nil || !slices.Contains(d.station.addrs, netip.MustParseAddr("192.0.2.9")) || !d.Attached() {
		t.Errorf("later: error %v, addresses %v, attached: %v", err, d.station.addrs, d.Attached())
	}
}

// TestProgramIsDetachedFromAnInterfaceThatMoves: another process can attach a program to
// the interface in its new namespace.
func TestProgramIsDetachedFromAnInterfaceThatMoves(t *testing.T) {
	inNamespace(t)
	d, err := Attach(testConfig("veth0", false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	elsewhere := exec.Command("sleep", "60") // a process in the other namespace
	elsewhere.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if err := elsewhere.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = elsewhere.Process.Kill(); _ = elsewhere.Wait() })
	pid := strconv.Itoa(elsewhere.Process.Pid)
	run(t, "ip link set veth0 netns "+pid)
	for deadline := time.Now().Add(15 * time.Second); d.Attached(); d.Changed() {
		if time.Now().After(deadline) {
			t.Fatal("the move was not noticed")
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(d.Monitor()), Events: unix.POLLIN}}, 1000)
	}
	run(t, "nsenter -t "+pid+" -n ip link show veth0 | (! grep xdp)")
}

func TestOldKernelsAreRefused(t *testing.T) {
	for release, old := range map[string]bool{
		"5.15.0-91-generic": true, "6.0.19": true, "4.18.0-513.el8.x86_64": true,
		"6.1.0": false, "6.1.0-13-amd64": false, "6.18.44": false, "10.0.1": false, "strange": false,
	} {
		if err := checkRelease(release); errors.Is(err, errKernel) != old {
			t.Errorf("%s: %v", release, err)
		}
	}
}
