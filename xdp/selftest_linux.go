package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"nowd/ntp"
)

// selfTest runs the program on a test frame, which is not sent: BPF_PROG_TEST_RUN of
// bpf(2). It fails if this process is in a time namespace with another monotonic clock
// than the host's (time_namespaces(7)): the program would then answer nothing.
func (d *Driver) selfTest(r *rules) error {
	saved := d.station
	d.station = station{mac: testStation, addrs: []netip.Addr{netip.AddrFrom4(testAddr)}}
	defer func() {
		d.station = saved
		d.loaded.facts.write(slot{})
		clear(d.loaded.cpus)
	}()
	frame := testFrame(r)
	for range 10 { // the machine may delay the program between its readings of the clock
		if err := d.Refresh([]Endpoint{{Text | NTP, netip.IPv4Unspecified()}}); err != nil {
			return err
		}
		verdict, err := d.loaded.program.Run(&ebpf.RunOptions{Data: frame})
		if err != nil {
			return fmt.Errorf("self-test: %w", explain(err))
		}
		if verdict == actionTX {
			return nil
		}
	}
	return errors.New("self-test: the program does not answer; possible cause: nowd is not in the host's time namespace")
}

var (
	testStation = [6]byte{2, 0, 0, 0, 0, 1}
	testAddr    = [4]byte{192, 0, 2, 1} // reserved for documentation: RFC 5737
)

// testFrame returns a frame with a request that the program should answer.
func testFrame(r *rules) []byte {
	port, request := r.textPort, make([]byte, min(r.minRequest, maxText))
	if r.ntpPort != 0 {
		p := ntp.Packet{Version: ntp.MaxVersion, Mode: ntp.ModeClient}
		port, request = r.ntpPort, p.AppendTo(nil)
	}
	length := uint16(8 + len(request))
	b := append([]byte(nil), testStation[:]...)
	b = append(b, 2, 0, 0, 0, 0, 2, 0x08, 0x00)
	b = append(b, 0x45, 0, 0, byte(20+length), 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 2)
	b = append(b, testAddr[:]...)
	sum := uint32(0)
	for i := ip; i < udp4; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[ip+10:], ^uint16(sum+sum>>16))
	b = binary.BigEndian.AppendUint16(b, 40000)
	b = binary.BigEndian.AppendUint16(b, port)
	b = binary.BigEndian.AppendUint16(b, length)
	return append(append(b, 0, 0), request...)
}
