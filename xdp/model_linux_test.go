package xdp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"nowd/answer"
)

// model is a second, simple implementation of the program, in Go.
type model struct {
	rules   *rules
	station station
	serves  map[netip.Addr]Protocol
	text    *answer.Text
	ntp     *answer.NTP
}

// packet is a frame that the program may answer.
type packet struct {
	protocol Protocol
	size     int // of all headers
	src, dst netip.Addr
	sport    uint16
	dport    uint16
	request  []byte
}

// parse returns the packet in a frame. It returns false if the program must pass the frame.
func (m *model) parse(frame []byte) (p packet, ok bool) {
	if len(frame) < 14 {
		return p, false
	}
	eth, b := frame[:14], frame[14:]
	var datagram int // the length of the IP packet's payload
	switch binary.BigEndian.Uint16(eth[12:]) {
	case 0x0800:
		if len(b) < 28 || b[0] != 0x45 || b[9] != 17 || binary.BigEndian.Uint16(b[6:])&^0x4000 != 0 || checksum(b[:20]) != 0 {
			return p, false
		}
		p.src, p.dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		if b[12] == 0 || b[12] == 127 || b[12] >= 224 {
			return p, false
		}
		datagram = int(binary.BigEndian.Uint16(b[2:])) - 20
		p.size = 42
	case 0x86dd:
		if len(b) < 48 || b[0]>>4 != 6 || b[6] != 17 || b[46] == 0 && b[47] == 0 {
			return p, false
		}
		p.src, p.dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		if b[8] == 0xff || bytes.Equal(b[8:16], make([]byte, 8)) {
			return p, false
		}
		datagram = int(binary.BigEndian.Uint16(b[4:]))
		p.size = 62
	default:
		return p, false
	}
	b = frame[p.size-8:]
	p.sport, p.dport = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	switch {
	case int(binary.BigEndian.Uint16(b[4:])) != datagram || datagram < 8 || datagram > len(b):
		return p, false
	case datagram < len(b) && len(frame) > 64: // the rest is more than padding
		return p, false
	case !bytes.Equal(eth[:6], m.station.mac[:]) || eth[6]&1 != 0:
		return p, false
	case slices.Contains(m.station.addrs, p.src):
		return p, false
	}
	switch p.dport {
	case m.rules.ntpPort:
		p.protocol = NTP
	case m.rules.textPort:
		p.protocol = Text
	}
	p.request = b[8:datagram]
	return p, p.protocol&m.serves[p.dst] != 0 && m.isRequest(p)
}

func (m *model) isRequest(p packet) bool {
	n := len(p.request)
	if p.protocol == Text {
		return m.rules.minRequest <= n && n <= 3
	}
	if n != 48 || p.request[0] == 0x0b {
		return false
	}
	version, mode := p.request[0]>>3&7, p.request[0]&7
	return mode == 3 && 1 <= version && version <= 4
}

// dropped reports whether guard drops datagrams from p's source port, and the counter.
func (m *model) dropped(p packet) (counter int, dropped bool) {
	switch {
	case p.protocol == NTP && p.sport == 123:
		return 0, false
	case p.sport < 1024:
		return countSourcePort, true
	}
	return countOwnPort, slices.Contains(m.rules.ownPorts, p.sport)
}

// answer returns the frame that answers packet p in frame.
func (m *model) answer(frame []byte, p packet, received, sent time.Time) []byte {
	var data []byte
	if p.protocol == NTP {
		data, _ = m.ntp.AppendDatagram(nil, p.request, len(p.request), received, sent)
	} else {
		data, _ = m.text.AppendDatagram(nil, p.request, len(p.request), received, sent)
	}
	out := slices.Clone(frame)
	out = append(out, make([]byte, max(0, p.size+len(data)-len(out)))...)
	copy(out, frame[6:12])
	copy(out[6:], frame[:6])
	ip := out[14:]
	length := uint16(8 + len(data))
	pseudo := binary.BigEndian.AppendUint16(append(p.src.AsSlice(), p.dst.AsSlice()...), 17)
	pseudo = binary.BigEndian.AppendUint16(pseudo, length)
	if p.src.Is4() {
		copy(ip, []byte{0x45, 0, byte((length + 20) >> 8), byte(length + 20), 0, 0, 0x40, 0, 64, 17, 0, 0})
		copy(ip[12:], p.dst.AsSlice())
		copy(ip[16:], p.src.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], checksum(ip[:20]))
	} else {
		copy(ip, []byte{0x60, 0, 0, 0, byte(length >> 8), byte(length), 17, 64})
		copy(ip[8:], p.dst.AsSlice())
		copy(ip[24:], p.src.AsSlice())
	}
	udp := out[p.size-8:]
	binary.BigEndian.PutUint16(udp, p.dport)
	binary.BigEndian.PutUint16(udp[2:], p.sport)
	binary.BigEndian.PutUint16(udp[4:], length)
	binary.BigEndian.PutUint16(udp[6:], 0)
	copy(udp[8:], data)
	sum := checksum(append(pseudo, udp[:length]...))
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return out
}

// checksum returns the checksum of RFC 1071. It is 0 for data that includes its checksum.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i, c := range b {
		sum += uint32(c) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
