package udp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// message returns a control message as the kernel lays it out.
func message(level, kind int, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = int32(level), int32(kind)
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

// FuzzControl: for any control messages, pktinfo is one of them, complete and with its
// address unchanged. readControl changes nothing else.
func FuzzControl(f *testing.F) {
	v4 := message(unix.IPPROTO_IP, unix.IP_PKTINFO, []byte{1, 0, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1})
	v6 := func(addr string) []byte {
		return message(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, append(netip.MustParseAddr(addr).AsSlice(), 7, 0, 0, 0))
	}
	other := message(unix.SOL_SOCKET, unix.SO_TIMESTAMP, make([]byte, 16))
	for _, b := range [][]byte{
		nil, v4, v6("::1"), v6("fe80::1"), v6("ff02::1"), append(bytes.Clone(other), v4...), append(bytes.Clone(v4), other...), v4[:len(v4)-8], v4[:unix.CmsgLen(0)], make([]byte, unix.CmsgLen(0)),
		message(unix.IPPROTO_IP, unix.IP_PKTINFO, nil), message(unix.IPPROTO_IP, unix.IP_PKTINFO, make([]byte, 11)), append(message(0, 0, nil), v6("2001:db8::1")...), append(other[:len(other)-3], v4...), bytes.Repeat([]byte{0xff}, maxControl),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var buffers [2]controlBuffer // the second one detects writes past the first
		memory := unsafe.Slice(unsafe.SliceData(buffers[0].bytes()), 2*maxControl)
		for i := range memory {
			memory[i] = 0x5a
		}
		n := copy(memory[:maxControl], b)
		control := memory[:n:n]
		before := bytes.Clone(memory[:])
		got := readControl(control)
		if !bytes.Equal(memory[n:], before[n:]) {
			t.Fatalf("%x: readControl wrote past the end", control)
		}
		if got.pktinfo == nil {
			if got.multicast || !bytes.Equal(control, before[:n]) {
				t.Fatalf("%x: changed to %x without a pktinfo message", before[:n], control)
			}
			return
		}
		at := int(uintptr(unsafe.Pointer(&got.pktinfo[0])) - uintptr(unsafe.Pointer(&control[0])))
		if at < 0 || at+len(got.pktinfo) > n {
			t.Fatalf("%x: pktinfo is outside the buffer", before[:n])
		}
		was, h := before[at:at+len(got.pktinfo)], (*unix.Cmsghdr)(unsafe.Pointer(&got.pktinfo[0]))
		if int(h.Len) != len(got.pktinfo) {
			t.Fatalf("%x: header length %d, want %d", got.pktinfo, h.Len, len(got.pktinfo))
		}
		data, old := got.pktinfo[unix.CmsgLen(0):], was[unix.CmsgLen(0):]
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO:
			if !bytes.Equal(data[4:], old[4:]) || binary.NativeEndian.Uint32(data) != 0 || got.multicast == bytes.Equal(data[4:8], data[8:12]) {
				t.Errorf("%x rewritten from %x, multicast: %v", data, old, got.multicast)
			}
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO:
			addr := netip.AddrFrom16([16]byte(data))
			index := binary.NativeEndian.Uint32(data[16:])
			if addr.IsLinkLocalUnicast() && index != binary.NativeEndian.Uint32(old[16:]) || !addr.IsLinkLocalUnicast() && index != 0 || !bytes.Equal(data[:16], old[:16]) || got.multicast != addr.IsMulticast() {
				t.Errorf("%x rewritten from %x, multicast: %v", data, old, got.multicast)
			}
		default:
			t.Errorf("pktinfo is %x, neither IP_PKTINFO nor IPV6_PKTINFO", got.pktinfo)
		}
	})
}
