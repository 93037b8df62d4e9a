//go:build linux

package e2e_test

import (
	encoding "encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/beevik/ntp"
	"golang.org/x/sys/unix"
)

// xdpModes are the modes of XDP, with what NOWD_XDP has behind the interface's name.
var xdpModes = map[string]string{"driver": "", "generic": ",generic"}

// xdpClients send requests that the driver answers. HOST is nowd's address.
var xdpClients = []dialectClient{
	{program: "nc.openbsd", command: "nc.openbsd -u -W1 -w2 HOST 3333", stdin: "hi\n", verify: inForm("datetime")},
	{program: "nc.openbsd", command: "nc.openbsd -u -w1 HOST 3333", stdin: "\n", verify: inForm("datetime")},
	{program: "nc.traditional", command: "nc.traditional -u -q1 HOST 3333", stdin: "hi\n", verify: inForm("datetime")},
	{program: "ncat", command: "sh -c '(echo hi; sleep 1) | ncat -u HOST 3333'", verify: inForm("datetime")},
	{program: "socat", command: "socat -t1 - UDP:BRACKETED:3333", stdin: "hi\n", verify: inForm("datetime")},
	{program: "bash", command: "bash -c 'exec 3<>/dev/udp/HOST/3333; echo hi >&3; head -n 1 <&3'", verify: inForm("datetime")},
	{program: "ntpdig", command: "ntpdig HOST", verify: verifyNtpdig},
	{program: "ntpdate", command: "ntpdate -q HOST", verify: verifyNtpdig},
	{program: "chronyd", command: "chronyd -Q -t 10 -f /dev/null 'server HOST iburst maxsamples 1'", verify: verifyChronyd},
	{program: "rdate", command: "rdate -pn HOST", verify: inLayout(time.UnixDate)},
}

func TestDriverAnswersClients(t *testing.T) {
	t.Parallel()
	for name, mode := range xdpModes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t)
			n := w.start(t, xdpSettings(mode))
			w.wake(t, n)
			for _, host := range []string{server4, server6} {
				for _, c := range xdpClients {
					if host == server6 && c.program == "nc.traditional" {
						continue // it has no IPv6
					}
					bracketed := host
					if host == server6 {
						bracketed = "[" + host + "]"
					}
					c.command = strings.NewReplacer("HOST", host, "BRACKETED", bracketed).Replace(c.command)
					t.Run(c.command, func(t *testing.T) {
						tool(t, c.program)
						before := n.driverAnswers(t)
						var r result
						s := during(func() { r = runIn(t, w.client, c.command, c.stdin) })
						shown := strings.ReplaceAll(r.stdout+r.stderr, host, "127.0.0.1")
						if r.status != 0 {
							t.Errorf("exit status %d\n%s", r.status, shown)
						} else if err := c.verify(shown, s); err != nil {
							t.Errorf("%v\n%s", err, shown)
						}
						if n.driverAnswers(t) == before {
							t.Error("the driver did not answer")
						}
					})
				}
				t.Run("library of NTP, "+host, func(t *testing.T) { w.checkLibrary(t, n, host) })
			}
			t.Run("chronyd", func(t *testing.T) { w.checkChronyd(t, n) })
		})
	}
}

// checkLibrary asks over NTP with beevik's library.
func (w *wire) checkLibrary(t *testing.T, n *nowd, host string) {
	before := n.driverAnswers(t)
	r, err := ntp.QueryWithOptions(host, ntp.QueryOptions{Timeout: patience, Dialer: func(_, remote string) (net.Conn, error) {
		return w.dial(t, "udp", remote), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(); err != nil || r.Stratum != 10 || r.RootDispersion < synced.MaxError || r.ClockOffset.Abs() > r.RTT/2+time.Microsecond {
		t.Errorf("%v: %+v", err, r)
	}
	if n.driverAnswers(t) == before {
		t.Error("the driver did not answer")
	}
}

// checkChronyd has chronyd select nowd.
func (w *wire) checkChronyd(t *testing.T, n *nowd) {
	c := startChronyd(t, w.client, "server "+server4+" iburst minpoll 0 maxpoll 0")
	before := n.driverAnswers(t)
	eventually(t, patience, func() error {
		sources, err := c.ask("sources")
		if err != nil {
			return err
		}
		if len(sources) != 10 || sources[1] != "*" {
			return fmt.Errorf("not selected: %q", sources)
		}
		if asked := n.driverAnswers(t) - before; asked < 4 {
			return fmt.Errorf("the driver has answered only %v times", asked)
		}
		return nil
	})
}

// TestDriversTimesAreWithinTheClientsWindow: in 100,000 exchanges the time is never
// before the request was sent or after the answer was received.
func TestDriversTimesAreWithinTheClientsWindow(t *testing.T) {
	questions := 100_000
	if testing.Short() {
		questions = 4000
	}
	for name, mode := range xdpModes {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			n := w.start(t, xdpSettings(mode, "NOWD_FORMAT=rfc3339"))
			w.wake(t, n)
			answered := n.driverAnswers(t)
			for _, host := range []string{server4, server6} {
				text, packets := w.dial(t, "udp", net.JoinHostPort(host, "3333")), w.dial(t, "udp", net.JoinHostPort(host, "123"))
				for i := range questions / 4 {
					line, s := askOn(t, text, "")
					if err := verify("rfc3339", line, time.UTC, s); err != nil {
						t.Fatal(err)
					}
					packet, s := askOn(t, packets, string(ntpRequest(4, 3, uint64(i))))
					if err := verifyNTP([]byte(packet), 4, uint64(i), s); err != nil {
						t.Fatal(err)
					}
				}
			}
			if by := n.driverAnswers(t) - answered; by < uint64(questions)*9/10 {
				t.Errorf("the driver gave %v of %d answers", by, questions)
			}
		})
	}
}

// TestDriverLeavesAllElseAlone: the driver passes what it does not answer, and it is
// answered as without XDP.
func TestDriverLeavesAllElseAlone(t *testing.T) {
	t.Parallel()
	for name, mode := range xdpModes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t)
			n := w.start(t, xdpSettings(mode, "NOWD_DAYTIME_LISTEN=:13"))
			w.wake(t, n)
			before := n.driverAnswers(t)
			for _, host := range []string{server4, server6} {
				at := func(port string) string { return net.JoinHostPort(host, port) }
				for word, request := range map[string]string{"unix": "unix", "datetime": strings.Repeat("x", 1400), "rfc3339": "rfc3339" + strings.Repeat(" ", 4000)} {
					if word == "rfc3339" {
						word = "datetime" // the sockets read only the beginning of such a long datagram
					}
					answer, s := askOn(t, w.dial(t, "udp", at("3333")), request)
					if err := verify(word, answer, time.UTC, s); err != nil {
						t.Errorf("%d bytes to %s: %v", len(request), host, err)
					}
				}
				answer, s := askOn(t, w.dial(t, "tcp", at("3333")), "hi\n")
				if err := verify("datetime", answer, time.UTC, s); err != nil {
					t.Errorf("TCP to %s: %v", host, err)
				}
				long, s := askOn(t, w.dial(t, "udp", at("123")), string(ntpRequest(4, 3, 7))+strings.Repeat("x", 20))
				if err := verifyNTP([]byte(long), 4, 7, s); err != nil {
					t.Errorf("a MAC, to %s: %v", host, err)
				}
				daytime, s := askOn(t, w.dial(t, "udp", at("13")), "")
				if err := verifyDaytime(strings.TrimSuffix(daytime, "\n")+"\n", s); err != nil {
					t.Errorf("daytime of %s: %v", host, err)
				}
				if _, err := exec.LookPath("busybox"); err == nil {
					if r := runIn(t, w.client, "busybox ping -c 1 -W 5 "+host, ""); r.status != 0 {
						t.Errorf("ping %s: %s%s", host, r.stdout, r.stderr)
					}
				}
			}
			if by := n.driverAnswers(t) - before; by != 0 {
				t.Errorf("the driver gave %v answers to requests for the sockets", by)
			}
		})
	}
}

// TestDriverStopsAnsweringForAStoppedService: when nowd no longer writes the time for the
// driver, the driver passes everything to the sockets, and no request is lost.
func TestDriverStopsAnsweringForAStoppedService(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	n := w.start(t, xdpSettings(""))
	w.wake(t, n)
	conn := w.dial(t, "udp", server4+":3333")
	n.stop(t)
	stopped := time.Now()
	const brief = 200 * time.Millisecond
	for { // until the driver stops answering
		if err := conn.SetDeadline(time.Now().Add(brief)); err != nil {
			t.Fatal(err)
		}
		var answer string
		var err error
		s := during(func() { answer, err = exchange(conn, "") })
		if errors.Is(err, syscall.EAGAIN) || err != nil && errors.As(err, new(net.Error)) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := verify("datetime", answer, time.UTC, s); err != nil {
			t.Fatal(err)
		}
		if time.Since(stopped) > patience {
			t.Fatal("the driver does not stop answering")
		}
	}
	if after := time.Since(stopped); after > 6*time.Second { // 3 s, and slack for a busy machine
		t.Errorf("the driver answered for another %v", after)
	}
	n.signal(t, syscall.SIGCONT)
	hurry(t, conn)
	buf := make([]byte, 64)
	if _, err := conn.Read(buf); err != nil {
		t.Errorf("the request that waited got no answer: %v", err)
	}
	w.wake(t, n)
}

func TestNothingIsLeftOfAKilledService(t *testing.T) {
	t.Parallel()
	for name, mode := range xdpModes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t)
			n := w.start(t, xdpSettings(mode))
			if !w.hasProgram(t) {
				t.Fatal("no program is attached")
			}
			n.signal(t, syscall.SIGKILL)
			n.wait(t)
			eventually(t, patience, func() error {
				if w.hasProgram(t) {
					return errors.New("a program is still attached")
				}
				return nil
			})
			w.start(t, xdpSettings(mode)) // nothing is left on the interface
		})
	}
}

func TestObstaclesToTheDriverAreReportedAtStart(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.start(t, xdpSettings(""))
	more := []string{"NOWD_UDP_LISTEN=:4444", "NOWD_TCP_LISTEN=off", "NOWD_NTP_LISTEN=off", "NOWD_HEALTH_LISTEN=127.0.0.1:8087"}
	for want, c := range map[string]struct{ command, setting string }{
		"already has an XDP program": {"", serverLink},
		"no such interface":          {"", "eth7"},
		"CAP_BPF and CAP_NET_ADMIN":  {"setpriv --bounding-set=-bpf,-sys_admin ", serverLink + ",generic"},
		"not an Ethernet interface":  {"", "lo"},
		`want INTERFACE`:             {"", serverLink + ",fast"},
		"nothing to answer":          {"env NOWD_FORMAT=json ", serverLink},
	} {
		var env strings.Builder
		for _, e := range append(more, "NOWD_XDP="+c.setting) {
			env.WriteString(e + " ")
		}
		r := runIn(t, w.server, c.command+"env "+env.String()+binary, "")
		if r.status != 2 || !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, "NOWD_XDP") {
			t.Errorf("%s%s: exit status %d, want 2 and %q\n%s", c.command, c.setting, r.status, want, r.stderr)
		}
	}
}

// TestTwoCapabilitiesAreEnough: CAP_BPF and CAP_NET_ADMIN suffice at ports that need no
// capability.
func TestTwoCapabilitiesAreEnough(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	path, err := fakeBinary()
	if err != nil {
		t.Fatal(err)
	}
	n := &nowd{udp: server4 + ":3333", health: "127.0.0.1:8086", ns: w.server,
		args: []string{"--bounding-set=-all,+bpf,+net_admin", "--inh-caps=-all", path}}
	n.run(t, tool(t, "setpriv"), xdpSettings("", "NOWD_NTP_LISTEN=:1123"))
	n.awaitReady(t, 200)
	w.wake(t, n)
}

// TestIdleDriverMakesNoSystemCall: without traffic nowd does not write the time for the
// driver.
func TestIdleDriverMakesNoSystemCall(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	n := w.start(t, xdpSettings(""))
	conn := w.dial(t, "udp", server4+":3333")
	trace := attach(t, n)
	eventually(t, patience, func() error {
		before := n.driverAnswers(t)
		askOn(t, conn, "")
		if n.driverAnswers(t) == before {
			return errors.New("the driver does not answer")
		}
		return nil
	})
	loop := trace.awaitWait(t, n, socketAt(t, n, 3333))
	eventually(t, patience, func() error { // until the last tick of its timer
		before := trace.read(t)
		time.Sleep(3 * time.Second)
		if calls := trace.read(t)[len(before):].of(loop); !undisturbed(calls) {
			return fmt.Errorf("the loop made system calls without traffic:\n%s", strings.Join(calls, "\n"))
		}
		return nil
	})
}

// socketAt returns nowd's descriptor of the IPv4 socket at a UDP port.
func socketAt(t *testing.T, n *nowd, port int) int {
	t.Helper()
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/udp", n.pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 10 || !strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
			continue
		}
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", n.pid()))
		for _, path := range fds {
			if to, _ := os.Readlink(path); to == "socket:["+f[9]+"]" {
				fd, _ := strconv.Atoi(filepath.Base(path))
				return fd
			}
		}
	}
	t.Fatalf("nothing is at port %d:\n%s", port, table)
	return -1
}

// TestNothingOfTheDriverRunsWithoutIt: without NOWD_XDP no descriptor of a program, a map
// or a netlink socket is open.
func TestNothingOfTheDriverRunsWithoutIt(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.checkTime(t, "udp")
	netlink, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/netlink", n.pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(netlink)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == strconv.Itoa(n.pid()) {
			t.Errorf("a netlink socket: %s", line)
		}
	}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", n.pid()))
	if err != nil || len(fds) == 0 {
		t.Fatal(fds, err)
	}
	for _, path := range fds {
		if to, _ := os.Readlink(path); strings.Contains(to, "bpf") {
			t.Errorf("%s is open", to)
		}
	}
}

// TestSocketsServeWhenTheInterfaceIsGone: nowd logs that the interface is gone, and
// ignores a new interface of the same name.
func TestSocketsServeWhenTheInterfaceIsGone(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	n := w.start(t, xdpSettings(""))
	w.wake(t, n)
	w.server.ip(t, "link", "del", serverLink)
	attached := `nowd_xdp_attached{interface="` + serverLink + `"}`
	n.awaitMetric(t, attached, 0)
	if !strings.Contains(n.stderr.String(), "the interface is gone") {
		t.Error("the log does not say that the interface is gone")
	}
	w.join(t)
	answered := n.driverAnswers(t)
	answer, s := askOn(t, w.dial(t, "udp", server4+":3333"), "")
	if err := verify("datetime", answer, time.UTC, s); err != nil {
		t.Error(err)
	}
	if w.hasProgram(t) || n.driverAnswers(t) != answered || n.metric(t, attached) != 0 {
		t.Error("the driver of the new interface answers")
	}
}

// TestAddressesOfTheInterfaceAreFollowed: the driver answers for the addresses that the
// interface has now, and for no others.
func TestAddressesOfTheInterfaceAreFollowed(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	n := w.start(t, xdpSettings(""))
	const another = "192.0.2.77"
	w.server.addAddress(t, serverLink, another)
	conn := w.dial(t, "udp", another+":3333")
	eventually(t, patience, func() error {
		before := n.driverAnswers(t)
		askOn(t, conn, "")
		if n.driverAnswers(t) == before {
			return errors.New("the sockets answer for the new address")
		}
		return nil
	})
	// The driver does not answer for the address of another interface.
	w.server.ip(t, "address", "add", "203.0.113.9/32", "dev", "lo")
	w.client.ip(t, "route", "add", "203.0.113.9", "via", server4)
	w.wake(t, n)
	before := n.driverAnswers(t)
	askOn(t, w.dial(t, "udp", "203.0.113.9:3333"), "")
	if n.driverAnswers(t) != before {
		t.Error("the driver answers for another interface")
	}
}

// TestFloodOfSpoofedSourcesTakesNoMemory: in a flood from a million sources honest
// clients get their answers, and memory stays as it is.
func TestFloodOfSpoofedSourcesTakesNoMemory(t *testing.T) {
	sources := 1_000_000
	if testing.Short() {
		sources /= 20
	}
	w := newWire(t)
	n := w.start(t, append(xdpSettings(""), "NOWD_RATE_LIMIT=2000"))
	w.wake(t, n)
	f := w.newFlooder(t, 3333, "")
	before := resident(t, n.pid())
	answered := n.driverAnswers(t)
	conn := w.dial(t, "udp", server4+":3333")
	for i := range sources {
		f.send(t, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		if i%10_000 == 0 {
			answer, s := askOn(t, conn, "")
			if err := verify("datetime", answer, time.UTC, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	if by := n.driverAnswers(t) - answered; by < uint64(sources)/2 {
		t.Errorf("the driver gave %v answers to %d sources", by, sources)
	}
	if after := resident(t, n.pid()); after > before+(4<<20) {
		t.Errorf("%d MiB before the flood, %d MiB after it", before>>20, after>>20)
	}
}

// TestDriverEndsAReplyLoop: one spoofed datagram in the name of a service that answers
// every answer gets at most longestRun answers from the driver, which counts the one
// that it withholds.
func TestDriverEndsAReplyLoop(t *testing.T) {
	t.Parallel()
	const longestRun = 2000 // for this NOWD_RATE_LIMIT
	for mode, setting := range xdpModes {
		for protocol, c := range map[string]struct {
			port    int
			request string
		}{
			"udp": {3333, "?\n"}, // any short text
			"ntp": {123, string(ntpRequest(4, 3, 7))},
		} {
			t.Run(protocol+", "+mode, func(t *testing.T) {
				t.Parallel()
				w := newWire(t)
				n := w.start(t, xdpSettings(setting, fmt.Sprintf("NOWD_RATE_LIMIT=%d", longestRun)))
				w.wake(t, n)
				received := w.startResponder(t, c.request)
				withheld := `nowd_drops_total{protocol="` + protocol + `",reason="reply_loop"}`
				n.awaitMetric(t, withheld, 0)
				before := n.driverAnswers(t)
				w.newFlooder(t, c.port, c.request).send(t, netip.MustParseAddr(client4))
				n.awaitMetric(t, withheld, 1)
				byDriver := n.driverAnswers(t) - before
				// The sockets answer while the driver is not sure of the time. They have a run
				// of their own, and withhold no answer in its first half.
				bySockets := received.Load() - byDriver
				t.Logf("%d answers by the driver, %d by the sockets", byDriver, bySockets)
				if byDriver < longestRun/2 || byDriver > longestRun {
					t.Errorf("the driver answers one spoofed datagram %d times, want %d to %d", byDriver, longestRun/2, longestRun)
				}
				if bySockets >= longestRun/2 {
					t.Errorf("the sockets give %d answers, so they may have ended the loop", bySockets)
				}
			})
		}
	}
}

// startResponder starts a service at the client's end that answers every datagram with
// the same one. Its address is client4, and its port is that of a flooder. It counts the
// datagrams that it receives.
func (w *wire) startResponder(t *testing.T, answer string) *atomic.Uint64 {
	t.Helper()
	var conn net.PacketConn
	var err error
	w.client.do(func() { conn, err = net.ListenPacket("udp4", fmt.Sprintf("%s:%d", client4, flooderPort)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	received := new(atomic.Uint64)
	go func() {
		for buf := make([]byte, 64); ; {
			_, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			received.Add(1)
			_, _ = conn.WriteTo([]byte(answer), from)
		}
	}()
	return received
}

// flooder sends a request from any source address: packet(7).
type flooder struct {
	fd    int
	frame []byte
}

// flooderPort is the source port of a flooder's datagrams.
const flooderPort = 40000

// newFlooder returns a flooder at the client's end, which sends to a port of server4.
func (w *wire) newFlooder(t *testing.T, port int, request string) *flooder {
	t.Helper()
	f := &flooder{fd: -1}
	var server, client *net.Interface
	var err error
	w.server.do(func() { server, err = net.InterfaceByName(serverLink) })
	if err != nil {
		t.Fatal(err)
	}
	w.client.do(func() {
		if client, err = net.InterfaceByName(clientLink); err != nil {
			return
		}
		if f.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		t.Cleanup(func() { _ = unix.Close(f.fd) })
		err = unix.Bind(f.fd, &unix.SockaddrLinklayer{Ifindex: client.Index})
	})
	if err != nil {
		t.Fatal(err)
	}
	b := append(append([]byte(nil), server.HardwareAddr...), client.HardwareAddr...)
	length := byte(8 + len(request))
	b = append(b, 8, 0, 0x45, 0, 0, 20+length, 0, 0, 0x40, 0, 64, 17, 0, 0, 0, 0, 0, 0)
	b = append(b, netip.MustParseAddr(server4).AsSlice()...)
	b = append(b, flooderPort>>8, flooderPort&0xff, byte(port>>8), byte(port), 0, length, 0, 0)
	f.frame = append(b, request...)
	return f
}

func (f *flooder) send(t *testing.T, from netip.Addr) {
	t.Helper()
	ip := f.frame[14:34]
	copy(ip[12:], from.AsSlice())
	ip[10], ip[11] = 0, 0
	sum := uint32(0)
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(encoding.BigEndian.Uint16(ip[i:]))
	}
	encoding.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	for {
		_, err := unix.Write(f.fd, f.frame)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
	}
}
