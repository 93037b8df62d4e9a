package xdp

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/cilium/ebpf/asm"
)

// rules holds the parameters of a program. They are constants in its code.
type rules struct {
	textPort, ntpPort uint16 // 0 if the program does not answer the protocol
	ownPorts          []uint16
	minRequest        int // minimum length of a text request, in bytes
	before, digits    int // of a text answer's Layout
	longest           int // maximum number of answers in a run: guard's breaker; 0 for no breaker
	source, total     limit
	cpus              int
}

// limit holds the parameters of a token bucket: guard's limiter. The state of a bucket is
// its theoretical arrival time (TAT). All are in nanoseconds. An interval of 0 is no limit.
type limit struct {
	interval  int64 // between two tokens
	tolerance int64 // how far the TAT may be ahead of the time
	reserve   int64 // beyond tolerance, chance decides up to here; 0 for no chance
}

// maxText is the length of the longest text request that the program answers, in bytes. All
// words are longer, so such a request gets the default form.
const maxText = 3

// maxPadded is the length of the longest frame that may be longer than its IP packet:
// padding to Ethernet's minimum, plus the four bytes of a removed VLAN tag.
const maxPadded = 64

// The registers that calls preserve.
const (
	ctx     = asm.R6 // struct xdp_md
	udp     = asm.R7 // the UDP header in the frame
	current = asm.R8 // the current slot of facts
	percpu  = asm.R9 // the CPU's memory: cpu
)

// Stack offsets. The stack holds the values that the verifier must track.
const (
	stackHeader   = -8  // offset of the UDP header in the frame: udp4 or udp6
	stackProtocol = -16 // protocolText or protocolNTP
	stackSaved    = -40 // three registers, saved during a call
)

// Offsets in a frame.
const (
	etherType = 12
	ip        = 14
	udp4      = ip + 20
	udp6      = ip + 40
)

// program returns the program's code. The names of its maps are facts, counts, sources and
// flows.
//
// The program passes every frame that it cannot answer unchanged to the sockets. To that
// end it makes the answer in the CPU's memory, and copies it into the frame after the last
// check.
func (r *rules) program() asm.Instructions {
	return slices.Concat(
		r.parse(),
		r.readFacts(),
		judgeIPv4(), judgeIPv6(),
		r.judgeRequest(), judgeFacts(), r.judgeSource(), r.judgeFlow(), r.judgeRate(),
		r.answerText(), answerNTP(),
		check(),
		headIPv4(), headIPv6(), send(),
		r.end(),
	)
}

// parse finds the UDP header of a datagram to one of the ports. All other traffic ends
// here.
func (r *rules) parse() asm.Instructions {
	p := asm.Instructions{
		asm.Mov.Reg(ctx, asm.R1),
		asm.LoadMem(udp, ctx, 0, asm.Word),    // data
		asm.LoadMem(asm.R2, ctx, 4, asm.Word), // data_end
		asm.Mov.Reg(asm.R3, udp),
		asm.Add.Imm(asm.R3, udp4+8),
		asm.JGT.Reg(asm.R3, asm.R2, "pass"),
		asm.LoadMem(asm.R4, udp, etherType, asm.Half),
		asm.JEq.Imm(asm.R4, wire16(0x0800), "ipv4"),
		asm.JNE.Imm(asm.R4, wire16(0x86dd), "pass"), // this includes VLAN tags: a VLAN is another link with its own addresses

		// IPv6, UDP without extension headers.
		asm.Mov.Reg(asm.R3, udp),
		asm.Add.Imm(asm.R3, udp6+8),
		asm.JGT.Reg(asm.R3, asm.R2, "pass"),
		asm.LoadMem(asm.R4, udp, ip+6, asm.Byte),
		asm.JNE.Imm(asm.R4, 17, "pass"),
		asm.Add.Imm(udp, udp6),
		asm.Mov.Imm(asm.R1, udp6),
		asm.Ja.Label("udp"),

		// IPv4 without options, UDP.
		asm.LoadMem(asm.R4, udp, ip, asm.Byte).WithSymbol("ipv4"),
		asm.JNE.Imm(asm.R4, 0x45, "pass"),
		asm.LoadMem(asm.R4, udp, ip+9, asm.Byte),
		asm.JNE.Imm(asm.R4, 17, "pass"),
		asm.Add.Imm(udp, udp4),
		asm.Mov.Imm(asm.R1, udp4),

		asm.StoreMem(asm.RFP, stackHeader, asm.R1, asm.DWord).WithSymbol("udp"),
		asm.LoadMem(asm.R4, udp, 2, asm.Half), // destination port
	}
	if r.ntpPort != 0 {
		p = append(p,
			asm.Mov.Imm(asm.R1, protocolNTP),
			asm.JEq.Imm(asm.R4, wire16(r.ntpPort), "ours"))
	}
	if r.textPort != 0 {
		p = append(p,
			asm.Mov.Imm(asm.R1, protocolText),
			asm.JEq.Imm(asm.R4, wire16(r.textPort), "ours"))
	}
	return append(p, asm.Ja.Label("pass"))
}

// readFacts finds the CPU's memory, reads the clock, and finds the current slot.
func (r *rules) readFacts() asm.Instructions {
	return asm.Instructions{
		asm.StoreMem(asm.RFP, stackProtocol, asm.R1, asm.DWord).WithSymbol("ours"),
		asm.FnGetSmpProcessorId.Call(),
		asm.JGE.Imm(asm.R0, int32(r.cpus), "pass"),
		asm.Mul.Imm(asm.R0, sizeofCPU),
		asm.LoadMapValue(percpu, 0, countsCPUs).WithReference("counts"),
		asm.Add.Reg(percpu, asm.R0),

		asm.FnKtimeGetTaiNs.Call(),

		// The slot's address depends on the generation, so no CPU can read the slot
		// before it.
		asm.LoadMapValue(current, 0, 0).WithReference("facts"),
		asm.LoadMem(asm.R1, current, 0, asm.DWord),
		asm.StoreMem(percpu, workGeneration, asm.R1, asm.DWord),
		asm.And.Imm(asm.R1, 1),
		asm.Mul.Imm(asm.R1, sizeofSlot),
		asm.Add.Reg(current, asm.R1),
		asm.Add.Imm(current, int32(factsSlots)),

		asm.LoadMem(asm.R1, current, slotTAIUTC, asm.DWord),
		asm.Sub.Reg(asm.R0, asm.R1),
		asm.StoreMem(percpu, workReceived, asm.R0, asm.DWord),

		asm.LoadMem(asm.R1, asm.RFP, stackHeader, asm.DWord),
		asm.JEq.Imm(asm.R1, udp6, "judge ipv6"),
	}
}

// judgeIPv4 checks that the packet is complete, not a fragment, and from one host to this
// one. It stores the source's key.
func judgeIPv4() asm.Instructions {
	const header = ip - udp4
	p := asm.Instructions{
		// The packet contains only the datagram.
		asm.LoadMem(asm.R1, udp, header+2, asm.Half),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.LoadMem(asm.R2, udp, 4, asm.Half),
		asm.HostTo(asm.BE, asm.R2, asm.Half),
		asm.Add.Imm(asm.R2, 20),
		asm.JNE.Reg(asm.R1, asm.R2, "pass"),
		// Not a fragment: all bits except DF are 0.
		asm.LoadMem(asm.R1, udp, header+6, asm.Half),
		asm.And.Imm(asm.R1, wire16(0xbfff)),
		asm.JNE.Imm(asm.R1, 0, "pass"),
	}
	// The header's checksum: RFC 1071.
	p = append(p, asm.Mov.Imm(asm.R1, 0))
	for off := int16(header); off < 0; off += 4 {
		p = append(p, asm.LoadMem(asm.R2, udp, off, asm.Word), asm.Add.Reg(asm.R1, asm.R2))
	}
	p = append(p, fold(asm.R1, asm.R2)...)
	p = append(p, asm.JNE.Imm(asm.R1, math.MaxUint16, "pass"))
	p = append(p, judgeEthernet(-udp4)...)
	p = append(p,
		// The source is not in 0/8 or 127/8, multicast or reserved.
		asm.LoadMem(asm.R1, udp, header+12, asm.Byte),
		asm.JEq.Imm(asm.R1, 0, "pass"),
		asm.JEq.Imm(asm.R1, 127, "pass"),
		asm.JGE.Imm(asm.R1, 224, "pass"),
		// The destination is an address of the interface, and the source is not.
		asm.LoadMem(asm.R1, udp, header+12, asm.Word),
		asm.LoadMem(asm.R2, udp, header+16, asm.Word),
		asm.Mov.Imm(asm.R0, 0))
	for i := range maxAddrs {
		addr := slotIPv4 + int16(i)*sizeofIPv4Addr
		p = append(p,
			asm.LoadMem(asm.R3, current, addr, asm.Word),
			asm.JEq.Imm(asm.R3, 0, "addressed4"),
			asm.JEq.Reg(asm.R3, asm.R1, "pass"),
			skip(asm.JNE.Reg(asm.R3, asm.R2, ""), 1),
			asm.LoadMem(asm.R0, current, addr+4, asm.Word))
	}
	return append(p,
		asm.LoadMem(asm.R5, asm.RFP, stackProtocol, asm.DWord).WithSymbol("addressed4"),
		asm.And.Reg(asm.R0, asm.R5),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		// The key is guard.Source.
		asm.LoadImm(asm.R2, -1<<32, asm.DWord),
		asm.Or.Reg(asm.R1, asm.R2),
		asm.StoreMem(percpu, workSource, asm.R1, asm.DWord),
		asm.Ja.Label("judge request"))
}

// judgeIPv6 is judgeIPv4 for IPv6.
func judgeIPv6() asm.Instructions {
	const header = ip - udp6
	p := asm.Instructions{
		asm.LoadMem(asm.R1, udp, header, asm.Byte).WithSymbol("judge ipv6"),
		asm.RSh.Imm(asm.R1, 4),
		asm.JNE.Imm(asm.R1, 6, "pass"),
		// The packet contains only the datagram.
		asm.LoadMem(asm.R1, udp, header+4, asm.Half),
		asm.LoadMem(asm.R2, udp, 4, asm.Half),
		asm.JNE.Reg(asm.R1, asm.R2, "pass"),
		// The UDP checksum is mandatory.
		asm.LoadMem(asm.R1, udp, 6, asm.Half),
		asm.JEq.Imm(asm.R1, 0, "pass"),
	}
	p = append(p, judgeEthernet(-udp6)...)
	p = append(p,
		// The source is not multicast and not in ::/64, which contains the unspecified
		// address, loopback and the IPv4-mapped addresses.
		asm.LoadMem(asm.R1, udp, header+8, asm.Byte),
		asm.JEq.Imm(asm.R1, 0xff, "pass"),
		asm.LoadMem(asm.R1, udp, header+8, asm.DWord),
		asm.JEq.Imm(asm.R1, 0, "pass"),
		// The destination is an address of the interface, and the source is not.
		asm.LoadMem(asm.R2, udp, header+16, asm.DWord),
		asm.LoadMem(asm.R3, udp, header+24, asm.DWord),
		asm.LoadMem(asm.R4, udp, header+32, asm.DWord),
		asm.Mov.Imm(asm.R0, 0))
	for i := range maxAddrs {
		addr := slotIPv6 + int16(i)*sizeofIPv6Addr
		p = append(p,
			asm.LoadMem(asm.R5, current, addr, asm.DWord),
			asm.JEq.Imm(asm.R5, 0, "addressed6"),
			skip(asm.JNE.Reg(asm.R5, asm.R1, ""), 2),
			asm.LoadMem(asm.R5, current, addr+8, asm.DWord),
			asm.JEq.Reg(asm.R5, asm.R2, "pass"),
			asm.LoadMem(asm.R5, current, addr, asm.DWord),
			skip(asm.JNE.Reg(asm.R5, asm.R3, ""), 3),
			asm.LoadMem(asm.R5, current, addr+8, asm.DWord),
			skip(asm.JNE.Reg(asm.R5, asm.R4, ""), 1),
			asm.LoadMem(asm.R0, current, addr+16, asm.DWord))
	}
	return append(p,
		asm.LoadMem(asm.R5, asm.RFP, stackProtocol, asm.DWord).WithSymbol("addressed6"),
		asm.And.Reg(asm.R0, asm.R5),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.HostTo(asm.BE, asm.R1, asm.DWord),
		asm.StoreMem(percpu, workSource, asm.R1, asm.DWord))
}

// judgeEthernet checks that the destination is the interface's MAC address and the source
// is unicast. frame is the offset of the frame from the UDP header.
func judgeEthernet(frame int16) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, udp, frame, asm.Word),
		asm.LoadMem(asm.R2, current, slotMAC, asm.Word),
		asm.JNE.Reg(asm.R1, asm.R2, "pass"),
		asm.LoadMem(asm.R1, udp, frame+4, asm.Half),
		asm.LoadMem(asm.R2, current, slotMAC+4, asm.Half),
		asm.JNE.Reg(asm.R1, asm.R2, "pass"),
		asm.LoadMem(asm.R1, udp, frame+6, asm.Byte),
		asm.JSet.Imm(asm.R1, 1, "pass"),
	}
}

// judgeRequest checks that the datagram is as long as its header says, and is a request.
func (r *rules) judgeRequest() asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, ctx).WithSymbol("judge request"),
		asm.FnXdpGetBuffLen.Call(),
		asm.StoreMem(percpu, workFrame, asm.R0, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, stackHeader, asm.DWord),
		asm.LoadMem(asm.R2, udp, 4, asm.Half),
		asm.HostTo(asm.BE, asm.R2, asm.Half),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.JGT.Reg(asm.R1, asm.R0, "pass"), // truncated
		skip(asm.JEq.Reg(asm.R1, asm.R0, ""), 1),
		asm.JGT.Imm(asm.R0, maxPadded, "pass"),
		asm.LoadMem(asm.R3, asm.RFP, stackProtocol, asm.DWord),
		asm.JEq.Imm(asm.R3, protocolNTP, "judge ntp"),

		asm.JLT.Imm(asm.R2, int32(8+min(r.minRequest, maxText+1)), "pass"),
		asm.JGT.Imm(asm.R2, 8+maxText, "pass"),
		asm.Ja.Label("judge facts"),

		asm.JNE.Imm(asm.R2, 8+48, "pass").WithSymbol("judge ntp"),
		asm.LoadMem(asm.R2, ctx, 4, asm.Word), // data_end
		asm.Mov.Reg(asm.R3, udp),
		asm.Add.Imm(asm.R3, 8+48),
		asm.JGT.Reg(asm.R3, asm.R2, "pass"),
		asm.LoadMem(asm.R1, udp, 8, asm.Byte),
		// The first byte of version 1 with leap indicator 0 is white space. guard skips
		// it and checks whether the rest is a text answer, so the sockets must decide.
		asm.JEq.Imm(asm.R1, 1<<3|3, "pass"),
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.And.Imm(asm.R2, 7),
		asm.JNE.Imm(asm.R2, 3, "pass"), // not client mode
		asm.RSh.Imm(asm.R1, 3),
		asm.And.Imm(asm.R1, 7),
		asm.JEq.Imm(asm.R1, 0, "pass"),
		asm.JGT.Imm(asm.R1, 4, "pass"),
	}
}

// judgeFacts checks that the facts are valid. From here on the datagram is counted.
func judgeFacts() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, percpu, workReceived, asm.DWord).WithSymbol("judge facts"),
		asm.LoadMem(asm.R2, current, slotWritten, asm.DWord),
		asm.JSGT.Reg(asm.R2, asm.R1, "stale"),
		asm.LoadMem(asm.R2, current, slotExpires, asm.DWord),
		asm.JSLE.Reg(asm.R2, asm.R1, "stale"),
	}
}

// judgeSource drops datagrams from ports of services: guard's rules about ports.
func (r *rules) judgeSource() asm.Instructions {
	p := asm.Instructions{
		asm.LoadMem(asm.R1, udp, 0, asm.Half),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.StoreMem(percpu, workPort, asm.R1, asm.DWord),
		asm.LoadMem(asm.R2, asm.RFP, stackProtocol, asm.DWord),
		skip(asm.JNE.Imm(asm.R2, protocolNTP, ""), 1),
		asm.JEq.Imm(asm.R1, 123, "judge flow"), // NTP clients may use source port 123
		asm.JLT.Imm(asm.R1, 1024, "source port"),
	}
	for _, port := range r.ownPorts {
		p = append(p, asm.JEq.Imm(asm.R1, int32(port), "own port"))
	}
	return append(p,
		asm.FnKtimeGetNs.Call().WithSymbol("judge flow"),
		asm.StoreMem(percpu, workMono, asm.R0, asm.DWord))
}

// judgeFlow ends reply loops: guard's breaker. The map value of a flow is its seen in the
// upper half and its run in the lower.
func (r *rules) judgeFlow() asm.Instructions {
	if r.longest == 0 {
		return nil
	}
	return slices.Concat(lookUp("flows", "known flow"), asm.Instructions{
		asm.LoadMem(asm.R3, percpu, workMono, asm.DWord),
		asm.RSh.Imm(asm.R3, seenUnit),
		asm.LSh.Imm(asm.R3, 32),
		asm.Add.Imm(asm.R3, 1),
		asm.StoreMem(percpu, workValue, asm.R3, asm.DWord),
	}, insert("flows"), asm.Instructions{
		asm.Ja.Label("judge rate"),

		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord).WithSymbol("known flow"),
		asm.LoadMem(asm.R3, percpu, workMono, asm.DWord),
		asm.RSh.Imm(asm.R3, seenUnit),
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.RSh.Imm(asm.R2, 32),
		asm.Mov.Reg(asm.R4, asm.R3),
		asm.Sub.Reg32(asm.R4, asm.R2), // time since seen
		asm.Mov.Reg32(asm.R1, asm.R1), // run
		asm.LSh.Imm(asm.R3, 32),
		skip(asm.JLE.Imm(asm.R4, window, ""), 1),
		asm.Mov.Imm(asm.R1, 0),
		asm.JLT.Imm(asm.R1, int32(r.longest/2), "answer flow"),

		// Withhold with the probability 1/(longest - run + 1).
		asm.StoreMem(asm.RFP, stackSaved, asm.R0, asm.DWord),
		asm.StoreMem(asm.RFP, stackSaved+8, asm.R1, asm.DWord),
		asm.StoreMem(asm.RFP, stackSaved+16, asm.R3, asm.DWord),
		asm.FnGetPrandomU32.Call(),
		asm.Mov.Reg(asm.R4, asm.R0),
		asm.LoadMem(asm.R0, asm.RFP, stackSaved, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, stackSaved+8, asm.DWord),
		asm.LoadMem(asm.R3, asm.RFP, stackSaved+16, asm.DWord),
		asm.Mov.Imm(asm.R2, int32(r.longest)+1),
		asm.Sub.Reg(asm.R2, asm.R1),
		asm.Mod.Reg(asm.R4, asm.R2),
		asm.JNE.Imm(asm.R4, 0, "answer flow"),
		asm.StoreMem(asm.R0, 0, asm.R3, asm.DWord), // a run of 0
		asm.Ja.Label("reply loop"),

		asm.Add.Reg(asm.R3, asm.R1).WithSymbol("answer flow"),
		asm.Add.Imm(asm.R3, 1),
		asm.StoreMem(asm.R0, 0, asm.R3, asm.DWord),
	})
}

// As in guard's breaker: the unit of seen is 2^26 ns, and the window is 10 s.
const (
	seenUnit = 26
	window   = 10_000_000_000>>seenUnit + 1
)

// judgeRate takes a token from the source's bucket, and one from that of all sources. If
// another CPU updates a bucket at the same time, the program passes the frame.
func (r *rules) judgeRate() asm.Instructions {
	p := asm.Instructions{nothing().WithSymbol("judge rate")}
	if r.source.interval > 0 {
		p = slices.Concat(p, lookUp("sources", "known source"), asm.Instructions{
			asm.LoadMem(asm.R3, percpu, workMono, asm.DWord),
			asm.Add.Imm(asm.R3, int32(r.source.interval)),
			asm.StoreMem(percpu, workValue, asm.R3, asm.DWord),
		}, insert("sources"), asm.Instructions{
			asm.Ja.Label("judge total"),

			asm.Mov.Reg(asm.R1, asm.R0).WithSymbol("known source"),
		}, r.source.take("over rate limit"))
	}
	p = append(p, nothing().WithSymbol("judge total"))
	if r.total.interval > 0 {
		p = append(p, asm.LoadMapValue(asm.R1, 0, countsTotal).WithReference("counts"))
		p = append(p, r.total.take("over total limit")...)
	}
	return p
}

// lookUp looks up the source or flow in a map. If the map contains it, lookUp sets R0 to
// the address of its value and jumps to found. The key of a source is the first half of the
// key of its flows.
func lookUp(name, found string) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, 0).WithReference(name),
		asm.Mov.Reg(asm.R2, percpu),
		asm.Add.Imm(asm.R2, int32(workSource)),
		asm.FnMapLookupElem.Call(),
		asm.JNE.Imm(asm.R0, 0, found),
	}
}

// insert adds the source or flow to a map, with the value in work. The map evicts its
// least recently used entry.
func insert(name string) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, 0).WithReference(name),
		asm.Mov.Reg(asm.R2, percpu),
		asm.Add.Imm(asm.R2, int32(workSource)),
		asm.Mov.Reg(asm.R3, percpu),
		asm.Add.Imm(asm.R3, int32(workValue)),
		asm.Mov.Imm(asm.R4, 0), // BPF_ANY
		asm.FnMapUpdateElem.Call(),
	}
}

// take takes a token from the bucket at R1, or jumps to over: guard's limiter.
func (l limit) take(over string) asm.Instructions {
	lucky, take := over+", lucky", "within "+over
	p := asm.Instructions{
		asm.LoadMem(asm.R3, percpu, workMono, asm.DWord),
		asm.LoadMem(asm.R0, asm.R1, 0, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.R0), // becomes max(TAT, now)
		skip(asm.JSGE.Reg(asm.R2, asm.R3, ""), 1),
		asm.Mov.Reg(asm.R2, asm.R3),
		asm.Mov.Reg(asm.R4, asm.R2), // becomes over
		asm.Sub.Reg(asm.R4, asm.R3),
		asm.LoadImm(asm.R5, l.tolerance, asm.DWord),
		asm.Sub.Reg(asm.R4, asm.R5),
		asm.JSLE.Imm(asm.R4, 0, take),
	}
	if l.reserve == 0 {
		p = append(p, asm.Ja.Label(over))
	} else {
		// Shift reserve and over right, so that the product fits into 64 bits.
		shift := max(0, bits.Len64(uint64(l.reserve))-31)
		p = append(p,
			asm.LoadImm(asm.R5, l.reserve, asm.DWord),
			asm.JSGE.Reg(asm.R4, asm.R5, over),
			asm.StoreMem(asm.RFP, stackSaved, asm.R1, asm.DWord),
			asm.StoreMem(asm.RFP, stackSaved+8, asm.R2, asm.DWord),
			asm.StoreMem(asm.RFP, stackSaved+16, asm.R4, asm.DWord),
			asm.FnGetPrandomU32.Call(),
			asm.Mul.Imm(asm.R0, int32(l.reserve>>shift)),
			asm.RSh.Imm(asm.R0, 32),
			asm.LoadMem(asm.R4, asm.RFP, stackSaved+16, asm.DWord),
			asm.RSh.Imm(asm.R4, int32(shift)),
			asm.JGE.Reg(asm.R0, asm.R4, lucky),
			asm.Ja.Label(over),
			asm.LoadMem(asm.R1, asm.RFP, stackSaved, asm.DWord).WithSymbol(lucky),
			asm.LoadMem(asm.R0, asm.R1, 0, asm.DWord),
			asm.LoadMem(asm.R2, asm.RFP, stackSaved+8, asm.DWord))
	}
	return append(p,
		asm.Add.Imm(asm.R2, int32(l.interval)).WithSymbol(take),
		asm.Mov.Reg(asm.R3, asm.R0),
		cmpXchg(asm.R1, asm.R2), // if the bucket is still R0
		asm.JNE.Reg(asm.R0, asm.R3, "pass"))
}

// answerText makes a text answer from its Layout: the text before the fraction of the
// second, the digits of the fraction, and the text after it.
func (r *rules) answerText() asm.Instructions {
	p := asm.Instructions{asm.Mov.Imm(asm.R0, 0)}
	for off := int16(0); off < maxAnswer; off += 8 {
		p = append(p, asm.StoreMem(percpu, workAnswer+off, asm.R0, asm.DWord))
	}
	p = append(p,
		asm.LoadMem(asm.R1, asm.RFP, stackProtocol, asm.DWord),
		asm.JEq.Imm(asm.R1, protocolNTP, "answer ntp"),
		asm.FnKtimeGetTaiNs.Call(),
		asm.LoadMem(asm.R1, current, slotTAIUTC, asm.DWord),
		asm.Sub.Reg(asm.R0, asm.R1),
		asm.StoreMem(percpu, workSent, asm.R0, asm.DWord),

		// Set R0 to the nanoseconds, and R1 to the second's line.
		asm.LoadMem(asm.R1, current, slotSecond, asm.DWord),
		asm.Sub.Reg(asm.R0, asm.R1),
		asm.Mov.Reg(asm.R1, asm.R0),
		asm.Div.Imm(asm.R1, 1e9),
		asm.JGE.Imm(asm.R1, lineSeconds, "stale"),
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.Mul.Imm(asm.R2, 1e9),
		asm.Sub.Reg(asm.R0, asm.R2),
		asm.Mul.Imm(asm.R1, sizeofLine),
		asm.Add.Reg(asm.R1, current),
		asm.Add.Imm(asm.R1, int32(slotLines)),

		asm.LoadMem(asm.R2, asm.R1, lineLength, asm.DWord),
		asm.JEq.Imm(asm.R2, 0, "pass"),
		asm.JGT.Imm(asm.R2, maxAnswer, "pass"),
		asm.StoreMem(percpu, workSize, asm.R2, asm.DWord))
	for off := int16(0); off < sizeofBefore; off += 8 {
		p = append(p,
			asm.LoadMem(asm.R2, asm.R1, lineBefore+off, asm.DWord),
			asm.StoreMem(percpu, workAnswer+off, asm.R2, asm.DWord))
	}
	// Convert R0 to fixed point with 57 bits of fraction. The integer part is the first
	// digit; that of the fraction times ten is the next one. The factor is 2^57 / 10^8,
	// rounded up. The error is less than the last of nine digits.
	p = append(p,
		asm.LoadImm(asm.R2, 1<<57/100_000_000+1, asm.DWord),
		asm.Mul.Reg(asm.R0, asm.R2))
	fraction := workAnswer + int16(r.before)
	for i := range int16(r.digits) {
		p = append(p,
			asm.Mov.Reg(asm.R2, asm.R0),
			asm.RSh.Imm(asm.R2, 57),
			asm.Add.Imm(asm.R2, '0'),
			asm.StoreMem(percpu, fraction+i, asm.R2, asm.Byte),
			asm.LSh.Imm(asm.R0, 7),
			asm.RSh.Imm(asm.R0, 7),
			asm.Mul.Imm(asm.R0, 10))
	}
	return append(p,
		asm.LoadMem(asm.R2, asm.R1, lineAfter, asm.DWord),
		asm.StoreMem(percpu, fraction+int16(r.digits), asm.R2, asm.DWord),
		asm.Ja.Label("check"))
}

// answerNTP makes an NTP answer: RFC 5905, figure 8. It reads the transmit time as late as
// possible.
func answerNTP() asm.Instructions {
	const request = 8
	p := asm.Instructions{
		asm.LoadMem(asm.R1, current, ntpLeapMode, asm.Byte).WithSymbol("answer ntp"),
		asm.LoadMem(asm.R2, udp, request, asm.Byte),
		asm.And.Imm(asm.R2, 7<<3), // the client's version
		asm.Or.Reg(asm.R1, asm.R2),
		asm.StoreMem(percpu, workAnswer, asm.R1, asm.Byte),
		asm.LoadMem(asm.R1, current, ntpStratum, asm.Byte),
		asm.StoreMem(percpu, workAnswer+1, asm.R1, asm.Byte),
		asm.LoadMem(asm.R1, udp, request+2, asm.Byte), // the client's poll interval
		asm.StoreMem(percpu, workAnswer+2, asm.R1, asm.Byte),
		asm.LoadMem(asm.R1, current, ntpPrecision, asm.Byte),
		asm.StoreMem(percpu, workAnswer+3, asm.R1, asm.Byte),
		asm.LoadMem(asm.R1, current, ntpRootDelay, asm.Word),
		asm.StoreMem(percpu, workAnswer+4, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, current, ntpRefID, asm.Word),
		asm.StoreMem(percpu, workAnswer+12, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, current, ntpReference, asm.DWord),
		asm.StoreMem(percpu, workAnswer+16, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, udp, request+40, asm.DWord),
		asm.StoreMem(percpu, workAnswer+24, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R1, 48),
		asm.StoreMem(percpu, workSize, asm.R1, asm.DWord),
	}
	p = append(p, asm.LoadMem(asm.R4, percpu, workReceived, asm.DWord))
	p = append(p, timestamp(asm.R5, asm.R4)...)
	p = append(p,
		asm.HostTo(asm.BE, asm.R5, asm.DWord),
		asm.StoreMem(percpu, workAnswer+32, asm.R5, asm.DWord),

		asm.FnKtimeGetTaiNs.Call(),
		asm.LoadMem(asm.R1, current, slotTAIUTC, asm.DWord),
		asm.Sub.Reg(asm.R0, asm.R1),
		asm.StoreMem(percpu, workSent, asm.R0, asm.DWord))
	p = append(p, timestamp(asm.R5, asm.R0)...)
	p = append(p,
		// The receive and transmit timestamps must differ: an RFC 9769 client recognises
		// the mode by that.
		asm.HostTo(asm.BE, asm.R5, asm.DWord),
		asm.LoadMem(asm.R1, percpu, workAnswer+32, asm.DWord),
		skip(asm.JNE.Reg(asm.R5, asm.R1, ""), 3),
		asm.HostTo(asm.BE, asm.R5, asm.DWord),
		asm.Add.Imm(asm.R5, 1),
		asm.HostTo(asm.BE, asm.R5, asm.DWord),
		asm.StoreMem(percpu, workAnswer+40, asm.R5, asm.DWord),

		// Set R1 to the root dispersion in nanoseconds: clock.Growth.
		asm.Mov.Reg(asm.R1, asm.R0),
		asm.LoadMem(asm.R2, current, ntpKernelAt, asm.DWord),
		asm.Sub.Reg(asm.R1, asm.R2),
		asm.Div.Imm(asm.R1, 1e9),
		asm.LoadMem(asm.R2, current, ntpKernelRate, asm.DWord),
		asm.Mul.Reg(asm.R1, asm.R2),
		asm.LoadMem(asm.R2, current, ntpKernel, asm.DWord),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.Mov.Reg(asm.R2, asm.R0),
		asm.LoadMem(asm.R3, current, ntpUpstreamAt, asm.DWord),
		asm.Sub.Reg(asm.R2, asm.R3),
		asm.Div.Imm(asm.R2, 1e9/5e5),
		asm.LoadMem(asm.R3, current, ntpUpstream, asm.DWord),
		asm.Add.Reg(asm.R2, asm.R3),
		asm.LoadMem(asm.R3, current, ntpGreater, asm.DWord),
		asm.JNE.Imm(asm.R3, 0, "greater"),
		asm.JSLE.Reg(asm.R1, asm.R2, "dispersion"),
		asm.Mov.Reg(asm.R1, asm.R2),
		asm.Ja.Label("dispersion"),
		asm.JSGE.Reg(asm.R1, asm.R2, "dispersion").WithSymbol("greater"),
		asm.Mov.Reg(asm.R1, asm.R2),

		// Convert as ntp.ShortOf does, to at least 1.
		asm.JSGT.Imm(asm.R1, 0, "positive").WithSymbol("dispersion"),
		asm.Mov.Imm(asm.R1, 1),
		asm.LoadImm(asm.R2, math.MaxUint32*1_000_000_000>>16, asm.DWord).WithSymbol("positive"),
		asm.JLE.Reg(asm.R1, asm.R2, "short"),
		asm.Mov.Reg(asm.R1, asm.R2),
		asm.LSh.Imm(asm.R1, 16).WithSymbol("short"),
		asm.Add.Imm(asm.R1, 1e9-1),
		asm.Div.Imm(asm.R1, 1e9),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.StoreMem(percpu, workAnswer+8, asm.R1, asm.Word))
	return p
}

// timestamp sets dst to the NTP timestamp of the nanoseconds since 1970 in src:
// ntp.TimeOf. It uses R1 to R3.
func timestamp(dst, src asm.Register) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(dst, src),
		asm.Div.Imm(dst, 1e9),
		asm.Mov.Reg(asm.R1, dst),
		asm.Mul.Imm(asm.R1, 1e9),
		asm.Mov.Reg(asm.R2, src),
		asm.Sub.Reg(asm.R2, asm.R1), // the nanoseconds
		asm.LSh.Imm(asm.R2, 32),
		asm.Div.Imm(asm.R2, 1e9),
		asm.LoadImm(asm.R3, 2208988800, asm.DWord), // seconds from 1900 to 1970
		asm.Add.Reg(dst, asm.R3),
		asm.LSh.Imm(dst, 32),
		asm.Or.Reg(dst, asm.R2),
		skip(asm.JNE.Imm(dst, 0, ""), 1),
		asm.Mov.Imm(dst, 1), // 0 means unknown
	}
}

// check checks that all facts are of one generation, and that the clock was not stepped
// since they were written. For the latter it converts a reading of the monotonic clock to
// UTC. That must lie between the readings of the clock before and after it.
func check() asm.Instructions {
	return asm.Instructions{
		asm.LoadMapValue(asm.R1, 0, 0).WithReference("facts").WithSymbol("check"),
		asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord),
		asm.LoadMem(asm.R2, percpu, workGeneration, asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R2, "stale"),

		asm.LoadMem(asm.R1, percpu, workMono, asm.DWord),
		asm.LoadMem(asm.R2, current, slotTAIMono, asm.DWord),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.LoadMem(asm.R2, current, slotTAIUTC, asm.DWord),
		asm.Sub.Reg(asm.R1, asm.R2), // UTC from the monotonic clock
		asm.LoadMem(asm.R2, percpu, workReceived, asm.DWord),
		asm.LoadMem(asm.R3, percpu, workSent, asm.DWord),
		asm.JSGT.Reg(asm.R2, asm.R3, "stale"),
		asm.LoadMem(asm.R4, current, slotSlack, asm.DWord),
		asm.Sub.Reg(asm.R2, asm.R4),
		asm.Add.Reg(asm.R3, asm.R4),
		asm.JSGT.Reg(asm.R2, asm.R1, "stale"),
		asm.JSLT.Reg(asm.R3, asm.R1, "stale"),
		asm.Sub.Reg(asm.R3, asm.R2),
		asm.JSGT.Imm(asm.R3, maxRun, "stale"),

		asm.LoadMem(asm.R1, asm.RFP, stackHeader, asm.DWord),
		asm.JEq.Imm(asm.R1, udp6, "head ipv6"),
	}
}

// maxRun is the maximum time from the first reading of the clock to the last, plus twice
// the slack, in nanoseconds. check may miss a step of the clock that is shorter.
const maxRun = 1e6

// headIPv4 makes the answer's Ethernet and IP headers, as the kernel does for a socket. It
// sets R3 and R4 to the address and the length of the input of the UDP checksum: the IP
// addresses, the UDP header and the answer.
func headIPv4() asm.Instructions {
	const header, request = workAnswer - 8 - 20, ip - udp4
	p := slices.Concat(head(workAnswer-udp4-8, -udp4, 0x0800), asm.Instructions{
		asm.LoadMem(asm.R4, percpu, workSize, asm.DWord),
		asm.Add.Imm(asm.R4, 20+8),
		asm.HostTo(asm.BE, asm.R4, asm.Half),
		asm.StoreImm(percpu, header, int64(wire16(0x4500)), asm.Half), // version, header length, traffic class 0
		asm.StoreMem(percpu, header+2, asm.R4, asm.Half),
		asm.StoreImm(percpu, header+4, 0, asm.Half),                       // identification, not used by atomic datagrams: RFC 6864
		asm.StoreImm(percpu, header+6, int64(wire16(0x4000)), asm.Half),   // do not fragment
		asm.StoreImm(percpu, header+8, int64(wire16(64<<8|17)), asm.Half), // time to live, UDP
		asm.StoreImm(percpu, header+10, 0, asm.Half),
		asm.LoadMem(asm.R1, udp, request+12, asm.Word),
		asm.StoreMem(percpu, header+16, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, udp, request+16, asm.Word),
		asm.StoreMem(percpu, header+12, asm.R1, asm.Word),
		asm.Mov.Imm(asm.R1, 0),
	})
	for off := int16(header); off < header+20; off += 4 {
		p = append(p, asm.LoadMem(asm.R2, percpu, off, asm.Word), asm.Add.Reg(asm.R1, asm.R2))
	}
	return slices.Concat(p, fold(asm.R1, asm.R2), asm.Instructions{
		asm.Xor.Imm(asm.R1, math.MaxUint16),
		asm.StoreMem(percpu, header+10, asm.R1, asm.Half),
		asm.Mov.Reg(asm.R3, percpu),
		asm.Add.Imm(asm.R3, int32(header+12)),
		asm.Mov.Imm(asm.R4, 2*4+8+maxAnswer),
		asm.Ja.Label("send"),
	})
}

// headIPv6 is headIPv4 for IPv6.
func headIPv6() asm.Instructions {
	const header, request = workAnswer - 8 - 40, ip - udp6
	p := slices.Concat(head(workAnswer-udp6-8, -udp6, 0x86dd), asm.Instructions{
		asm.LoadMem(asm.R4, percpu, workSize, asm.DWord),
		asm.Add.Imm(asm.R4, 8),
		asm.HostTo(asm.BE, asm.R4, asm.Half),
		asm.StoreImm(percpu, header, int64(wire16(0x6000)), asm.Half), // version, traffic class 0
		asm.StoreImm(percpu, header+2, 0, asm.Half),                   // flow label 0
		asm.StoreMem(percpu, header+4, asm.R4, asm.Half),
		asm.StoreImm(percpu, header+6, int64(wire16(17<<8|64)), asm.Half), // UDP, hop limit
	})
	for off := int16(0); off < 16; off += 8 {
		p = append(p,
			asm.LoadMem(asm.R1, udp, request+8+off, asm.DWord),
			asm.StoreMem(percpu, header+24+off, asm.R1, asm.DWord),
			asm.LoadMem(asm.R1, udp, request+24+off, asm.DWord),
			asm.StoreMem(percpu, header+8+off, asm.R1, asm.DWord))
	}
	p[0] = p[0].WithSymbol("head ipv6")
	return append(p,
		asm.Mov.Reg(asm.R3, percpu),
		asm.Add.Imm(asm.R3, int32(header+8)),
		asm.Mov.Imm(asm.R4, 2*16+8+maxAnswer))
}

// head makes the answer's Ethernet header at offset at in the CPU's memory, from that of
// the request. frame is the offset of the request's frame from its UDP header.
func head(at, frame int16, etherType uint16) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, udp, frame+6, asm.Half),
		asm.StoreMem(percpu, at, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, udp, frame+8, asm.Word),
		asm.StoreMem(percpu, at+2, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, udp, frame, asm.Word),
		asm.StoreMem(percpu, at+6, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, udp, frame+4, asm.Half),
		asm.StoreMem(percpu, at+10, asm.R1, asm.Half),
		asm.StoreImm(percpu, at+12, int64(wire16(etherType)), asm.Half),
	}
}

// send makes the UDP header, and replaces the request in the frame with the answer. If the
// answer is longer, it grows the frame at the beginning: drivers keep headroom there, but
// not all have tailroom. It never shrinks the frame: the rest is padding.
func send() asm.Instructions {
	const header = workAnswer - 8
	return slices.Concat(asm.Instructions{
		asm.LoadMem(asm.R1, udp, 0, asm.Half).WithSymbol("send"),
		asm.StoreMem(percpu, header+2, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, udp, 2, asm.Half),
		asm.StoreMem(percpu, header, asm.R1, asm.Half),
		asm.LoadMem(asm.R5, percpu, workSize, asm.DWord),
		asm.Add.Imm(asm.R5, 8),
		asm.HostTo(asm.BE, asm.R5, asm.Half),
		asm.StoreMem(percpu, header+4, asm.R5, asm.Half),
		asm.StoreImm(percpu, header+6, 0, asm.Half),

		// The checksum covers the addresses, the datagram, and again its length and the
		// protocol. The zeros that pad the answer do not change it.
		asm.Add.Imm(asm.R5, wire16(17)),
		asm.Mov.Imm(asm.R1, 0),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnCsumDiff.Call(),
		asm.Mov.Reg32(asm.R0, asm.R0),
	}, fold(asm.R0, asm.R1), asm.Instructions{
		asm.Xor.Imm(asm.R0, math.MaxUint16),
		skip(asm.JNE.Imm(asm.R0, 0, ""), 1),
		asm.Mov.Imm(asm.R0, math.MaxUint16), // 0 would mean no checksum
		asm.StoreMem(percpu, header+6, asm.R0, asm.Half),

		asm.LoadMem(asm.R3, asm.RFP, stackHeader, asm.DWord),
		asm.Add.Imm(asm.R3, 8),
		asm.LoadMem(asm.R4, percpu, workSize, asm.DWord),
		asm.Add.Reg(asm.R3, asm.R4),
		asm.LoadMem(asm.R2, percpu, workFrame, asm.DWord),
		asm.Sub.Reg(asm.R2, asm.R3),
		asm.JSGE.Imm(asm.R2, 0, "grown"),
		asm.Mov.Reg(asm.R1, ctx),
		asm.FnXdpAdjustHead.Call(),
		asm.JNE.Imm(asm.R0, 0, "pass"),

		asm.Mov.Reg(asm.R1, ctx).WithSymbol("grown"),
		asm.Mov.Imm(asm.R2, 0),
		asm.LoadMem(asm.R4, percpu, workSize, asm.DWord),
		asm.JGT.Imm(asm.R4, maxAnswer, "aborted"), // impossible; the verifier needs the bound
		asm.Mov.Reg(asm.R3, percpu),
		asm.LoadMem(asm.R5, asm.RFP, stackHeader, asm.DWord),
		asm.JEq.Imm(asm.R5, udp6, "store ipv6"),
		asm.Add.Imm(asm.R3, int32(workAnswer-udp4-8)),
		asm.Add.Imm(asm.R4, udp4+8),
		asm.Ja.Label("store"),
		asm.Add.Imm(asm.R3, int32(workAnswer-udp6-8)).WithSymbol("store ipv6"),
		asm.Add.Imm(asm.R4, udp6+8),
		asm.FnXdpStoreBytes.Call().WithSymbol("store"),
		asm.JNE.Imm(asm.R0, 0, "aborted"), // impossible: the frame is long enough
	})
}

// The verdicts: enum xdp_action.
const (
	actionAborted = iota
	actionDrop
	actionPass
	actionTX
)

// end returns the program's verdicts. It counts all except pass and aborted.
func (r *rules) end() asm.Instructions {
	p := slices.Concat(
		count("answered", countAnswers, actionTX),
		count("stale", countStale, actionPass),
		count("source port", countSourcePort, actionDrop),
		count("own port", countOwnPort, actionDrop))
	if r.longest > 0 {
		p = append(p, count("reply loop", countReplyLoop, actionDrop)...)
	}
	if r.source.interval > 0 {
		p = append(p, count("over rate limit", countRateLimit, actionDrop)...)
	}
	if r.total.interval > 0 {
		p = append(p, count("over total limit", countTotalLimit, actionDrop)...)
	}
	return append(p,
		asm.Mov.Imm(asm.R0, actionPass).WithSymbol("pass"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, actionAborted).WithSymbol("aborted"),
		asm.Return())
}

// count adds 1 to a counter of the protocol, and returns a verdict.
func count(label string, counter int16, action int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, percpu).WithSymbol(label),
		asm.LoadMem(asm.R2, asm.RFP, stackProtocol, asm.DWord),
		skip(asm.JEq.Imm(asm.R2, protocolText, ""), 1),
		asm.Add.Imm(asm.R1, 8*numCounters),
		asm.LoadMem(asm.R2, asm.R1, 8*counter, asm.DWord),
		asm.Add.Imm(asm.R2, 1),
		asm.StoreMem(asm.R1, 8*counter, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R0, action),
		asm.Return(),
	}
}

// fold folds the sum of 16-bit or 32-bit words in a register into 16 bits: RFC 1071. It
// overwrites tmp.
func fold(sum, tmp asm.Register) asm.Instructions {
	p := asm.Instructions{
		asm.Mov.Reg(tmp, sum),
		asm.RSh.Imm(tmp, 32),
		asm.Mov.Reg32(sum, sum),
		asm.Add.Reg(sum, tmp),
	}
	for range 3 {
		p = append(p,
			asm.Mov.Reg(tmp, sum),
			asm.RSh.Imm(tmp, 16),
			asm.And.Imm(sum, math.MaxUint16),
			asm.Add.Reg(sum, tmp))
	}
	return p
}

// skip makes a jump skip the next n instructions. None of them may be a 64-bit load, which
// counts as two.
func skip(jump asm.Instruction, n int16) asm.Instruction {
	jump.Offset = n
	return jump
}

// cmpXchg stores src at the address in dst if the value there equals R0. It sets R0 to the
// old value. Version 0.22.0 of package asm encodes it as an addition unless the immediate
// value is set to BPF_CMPXCHG of linux/bpf.h.
func cmpXchg(dst, src asm.Register) asm.Instruction {
	i := asm.CmpXchg.Mem(dst, src, asm.DWord, 0)
	i.Constant = 0xf1
	return i
}

// nothing returns an instruction without effect, to carry a label.
func nothing() asm.Instruction { return asm.Mov.Reg(ctx, ctx) }

// wire16 returns the value that a native load reads from n in network byte order.
func wire16(n uint16) int32 {
	return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n)))
}
