package xdp

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/cilium/ebpf/asm"
)

// rules is what the program is made for. It does not change.
type rules struct {
	textPort, ntpPort uint16 // 0 if the program does not answer the protocol
	ownPorts          []uint16
	minRequest        int // the least length of a request for text, in bytes
	before, digits    int // of a text answer's Layout
	longest           int // answers in a run: guard's breaker; 0 for no breaker
	source, total     limit
	cpus              int
}

// limit is a token bucket in the form of guard's: a bucket is its theoretical
// arrival time (TAT). All are nanoseconds. An interval of 0 is no limit.
type limit struct {
	interval  int64 // between two tokens
	tolerance int64 // how far the TAT may be ahead of the time
	reserve   int64 // how far it may be ahead of that, by chance: guard's limiter
}

// maxText is the length of the longest request for text that the program answers.
// All words are longer, so such a datagram asks for the default form.
const maxText = 3

// maxPadded is the length of the longest frame that may have more bytes than its
// IP packet: padding up to Ethernet's least length, and four bytes of a VLAN tag
// that is gone.
const maxPadded = 64

// The registers that keep their values over calls.
const (
	ctx   = asm.R6 // struct xdp_md
	udp   = asm.R7 // the UDP header in the frame
	known = asm.R8 // the current slot of facts
	mine  = asm.R9 // what belongs to the CPU
)

// The program's stack, in bytes from its top. It is for what the verifier has to
// know the value of: which way the program has gone.
const (
	stackHeader   = -8  // offset of the UDP header in the frame: udp4 or udp6
	stackProtocol = -16 // protocolText or protocolNTP
	stackSaved    = -40 // three registers, over a call
)

// Offsets in a frame.
const (
	etherType = 12
	ip        = 14
	udp4      = ip + 20
	udp6      = ip + 40
)

// program returns the program. facts, counts, sources and flows are the names of its
// maps.
//
// It passes to the sockets whatever it does not plainly know how to answer, as it
// came: no byte of the frame is changed before the last check. The answer is made
// in memory of the CPU's, and copied into the frame at last.
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

// parse finds the UDP header of what is sent to one of the ports. It is all that
// other traffic costs.
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
		asm.JNE.Imm(asm.R4, wire16(0x86dd), "pass"), // VLANs too: a tag names another link, with addresses of its own

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

// readFacts finds the counters of the CPU, reads the clock, and finds the current
// slot.
func (r *rules) readFacts() asm.Instructions {
	return asm.Instructions{
		asm.StoreMem(asm.RFP, stackProtocol, asm.R1, asm.DWord).WithSymbol("ours"),
		asm.FnGetSmpProcessorId.Call(),
		asm.JGE.Imm(asm.R0, int32(r.cpus), "pass"),
		asm.Mul.Imm(asm.R0, sizeofCPU),
		asm.LoadMapValue(mine, 0, countsCPUs).WithReference("counts"),
		asm.Add.Reg(mine, asm.R0),

		asm.FnKtimeGetTaiNs.Call(),

		// The address of the slot depends on the generation, so no CPU reads the
		// slot first.
		asm.LoadMapValue(known, 0, 0).WithReference("facts"),
		asm.LoadMem(asm.R1, known, 0, asm.DWord),
		asm.StoreMem(mine, workGeneration, asm.R1, asm.DWord),
		asm.And.Imm(asm.R1, 1),
		asm.Mul.Imm(asm.R1, sizeofSlot),
		asm.Add.Reg(known, asm.R1),
		asm.Add.Imm(known, int32(factsSlots)),

		asm.LoadMem(asm.R1, known, slotTAIUTC, asm.DWord),
		asm.Sub.Reg(asm.R0, asm.R1),
		asm.StoreMem(mine, workReceived, asm.R0, asm.DWord),

		asm.LoadMem(asm.R1, asm.RFP, stackHeader, asm.DWord),
		asm.JEq.Imm(asm.R1, udp6, "judge ipv6"),
	}
}

// judgeIPv4 sees to it that the packet is whole, plain, and from one host to this
// one. It stores the source's key.
func judgeIPv4() asm.Instructions {
	const header = ip - udp4
	p := asm.Instructions{
		// The packet holds the datagram and nothing else.
		asm.LoadMem(asm.R1, udp, header+2, asm.Half),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.LoadMem(asm.R2, udp, 4, asm.Half),
		asm.HostTo(asm.BE, asm.R2, asm.Half),
		asm.Add.Imm(asm.R2, 20),
		asm.JNE.Reg(asm.R1, asm.R2, "pass"),
		// No fragment: all but DF is 0.
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
		// The source is not of 0/8 or 127/8, multicast or reserved.
		asm.LoadMem(asm.R1, udp, header+12, asm.Byte),
		asm.JEq.Imm(asm.R1, 0, "pass"),
		asm.JEq.Imm(asm.R1, 127, "pass"),
		asm.JGE.Imm(asm.R1, 224, "pass"),
		// The destination is an address of ours, and the source is none.
		asm.LoadMem(asm.R1, udp, header+12, asm.Word),
		asm.LoadMem(asm.R2, udp, header+16, asm.Word),
		asm.Mov.Imm(asm.R0, 0))
	for i := range maxAddrs {
		addr := slotIPv4 + int16(i)*sizeofIPv4Addr
		p = append(p,
			asm.LoadMem(asm.R3, known, addr, asm.Word),
			asm.JEq.Imm(asm.R3, 0, "addressed4"),
			asm.JEq.Reg(asm.R3, asm.R1, "pass"),
			skip(asm.JNE.Reg(asm.R3, asm.R2, ""), 1),
			asm.LoadMem(asm.R0, known, addr+4, asm.Word))
	}
	return append(p,
		asm.LoadMem(asm.R5, asm.RFP, stackProtocol, asm.DWord).WithSymbol("addressed4"),
		asm.And.Reg(asm.R0, asm.R5),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		// As guard.Source has it.
		asm.LoadImm(asm.R2, -1<<32, asm.DWord),
		asm.Or.Reg(asm.R1, asm.R2),
		asm.StoreMem(mine, workSource, asm.R1, asm.DWord),
		asm.Ja.Label("judge request"))
}

// judgeIPv6 does the same.
func judgeIPv6() asm.Instructions {
	const header = ip - udp6
	p := asm.Instructions{
		asm.LoadMem(asm.R1, udp, header, asm.Byte).WithSymbol("judge ipv6"),
		asm.RSh.Imm(asm.R1, 4),
		asm.JNE.Imm(asm.R1, 6, "pass"),
		// The packet holds the datagram and nothing else.
		asm.LoadMem(asm.R1, udp, header+4, asm.Half),
		asm.LoadMem(asm.R2, udp, 4, asm.Half),
		asm.JNE.Reg(asm.R1, asm.R2, "pass"),
		// The checksum may not be left out.
		asm.LoadMem(asm.R1, udp, 6, asm.Half),
		asm.JEq.Imm(asm.R1, 0, "pass"),
	}
	p = append(p, judgeEthernet(-udp6)...)
	p = append(p,
		// The source is not of ::/64, which has the unspecified address, loopback and
		// those of IPv4, and not multicast.
		asm.LoadMem(asm.R1, udp, header+8, asm.Byte),
		asm.JEq.Imm(asm.R1, 0xff, "pass"),
		asm.LoadMem(asm.R1, udp, header+8, asm.DWord),
		asm.JEq.Imm(asm.R1, 0, "pass"),
		// The destination is an address of ours, and the source is none.
		asm.LoadMem(asm.R2, udp, header+16, asm.DWord),
		asm.LoadMem(asm.R3, udp, header+24, asm.DWord),
		asm.LoadMem(asm.R4, udp, header+32, asm.DWord),
		asm.Mov.Imm(asm.R0, 0))
	for i := range maxAddrs {
		addr := slotIPv6 + int16(i)*sizeofIPv6Addr
		p = append(p,
			asm.LoadMem(asm.R5, known, addr, asm.DWord),
			asm.JEq.Imm(asm.R5, 0, "addressed6"),
			skip(asm.JNE.Reg(asm.R5, asm.R1, ""), 2),
			asm.LoadMem(asm.R5, known, addr+8, asm.DWord),
			asm.JEq.Reg(asm.R5, asm.R2, "pass"),
			asm.LoadMem(asm.R5, known, addr, asm.DWord),
			skip(asm.JNE.Reg(asm.R5, asm.R3, ""), 3),
			asm.LoadMem(asm.R5, known, addr+8, asm.DWord),
			skip(asm.JNE.Reg(asm.R5, asm.R4, ""), 1),
			asm.LoadMem(asm.R0, known, addr+16, asm.DWord))
	}
	return append(p,
		asm.LoadMem(asm.R5, asm.RFP, stackProtocol, asm.DWord).WithSymbol("addressed6"),
		asm.And.Reg(asm.R0, asm.R5),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.HostTo(asm.BE, asm.R1, asm.DWord),
		asm.StoreMem(mine, workSource, asm.R1, asm.DWord))
}

// judgeEthernet sees to it that the frame is for the interface and from one
// station. frame is where the frame begins, from the UDP header on.
func judgeEthernet(frame int16) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, udp, frame, asm.Word),
		asm.LoadMem(asm.R2, known, slotMAC, asm.Word),
		asm.JNE.Reg(asm.R1, asm.R2, "pass"),
		asm.LoadMem(asm.R1, udp, frame+4, asm.Half),
		asm.LoadMem(asm.R2, known, slotMAC+4, asm.Half),
		asm.JNE.Reg(asm.R1, asm.R2, "pass"),
		asm.LoadMem(asm.R1, udp, frame+6, asm.Byte),
		asm.JSet.Imm(asm.R1, 1, "pass"),
	}
}

// judgeRequest sees to it that the datagram is as long as it says and a request.
func (r *rules) judgeRequest() asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, ctx).WithSymbol("judge request"),
		asm.FnXdpGetBuffLen.Call(),
		asm.StoreMem(mine, workFrame, asm.R0, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, stackHeader, asm.DWord),
		asm.LoadMem(asm.R2, udp, 4, asm.Half),
		asm.HostTo(asm.BE, asm.R2, asm.Half),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.JGT.Reg(asm.R1, asm.R0, "pass"), // it is cut off
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
		// Version 1 without a leap indicator is white space to guard, which then reads
		// on: what follows may be an answer as text.
		asm.JEq.Imm(asm.R1, 1<<3|3, "pass"),
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.And.Imm(asm.R2, 7),
		asm.JNE.Imm(asm.R2, 3, "pass"), // no client
		asm.RSh.Imm(asm.R1, 3),
		asm.And.Imm(asm.R1, 7),
		asm.JEq.Imm(asm.R1, 0, "pass"),
		asm.JGT.Imm(asm.R1, 4, "pass"),
	}
}

// judgeFacts sees to it that the facts hold. From here on the datagram counts.
func judgeFacts() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, mine, workReceived, asm.DWord).WithSymbol("judge facts"),
		asm.LoadMem(asm.R2, known, slotWritten, asm.DWord),
		asm.JSGT.Reg(asm.R2, asm.R1, "stale"),
		asm.LoadMem(asm.R2, known, slotExpires, asm.DWord),
		asm.JSLE.Reg(asm.R2, asm.R1, "stale"),
	}
}

// judgeSource drops what comes from a service: guard's rules about ports.
func (r *rules) judgeSource() asm.Instructions {
	p := asm.Instructions{
		asm.LoadMem(asm.R1, udp, 0, asm.Half),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.StoreMem(mine, workPort, asm.R1, asm.DWord),
		asm.LoadMem(asm.R2, asm.RFP, stackProtocol, asm.DWord),
		skip(asm.JNE.Imm(asm.R2, protocolNTP, ""), 1),
		asm.JEq.Imm(asm.R1, 123, "judge flow"), // clients of NTP may ask from there
		asm.JLT.Imm(asm.R1, 1024, "source port"),
	}
	for _, port := range r.ownPorts {
		p = append(p, asm.JEq.Imm(asm.R1, int32(port), "own port"))
	}
	return append(p,
		asm.FnKtimeGetNs.Call().WithSymbol("judge flow"),
		asm.StoreMem(mine, workMono, asm.R0, asm.DWord))
}

// judgeFlow ends conversations without end: guard's breaker. The state of a flow is
// seen in the upper half and run in the lower.
func (r *rules) judgeFlow() asm.Instructions {
	if r.longest == 0 {
		return nil
	}
	return slices.Concat(lookUp("flows", "known flow"), asm.Instructions{
		asm.LoadMem(asm.R3, mine, workMono, asm.DWord),
		asm.RSh.Imm(asm.R3, seenUnit),
		asm.LSh.Imm(asm.R3, 32),
		asm.Add.Imm(asm.R3, 1),
		asm.StoreMem(mine, workValue, asm.R3, asm.DWord),
	}, insert("flows"), asm.Instructions{
		asm.Ja.Label("judge rate"),

		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord).WithSymbol("known flow"),
		asm.LoadMem(asm.R3, mine, workMono, asm.DWord),
		asm.RSh.Imm(asm.R3, seenUnit),
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.RSh.Imm(asm.R2, 32),
		asm.Mov.Reg(asm.R4, asm.R3),
		asm.Sub.Reg32(asm.R4, asm.R2), // how long ago it was seen
		asm.Mov.Reg32(asm.R1, asm.R1), // the run
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

// As guard has them: the unit of seen is 2^26 ns, and the window 10 s.
const (
	seenUnit = 26
	window   = 10_000_000_000>>seenUnit + 1
)

// judgeRate takes a token from the source's bucket, and one from that of all
// sources. Where another CPU takes one at the same moment, the sockets decide.
func (r *rules) judgeRate() asm.Instructions {
	p := asm.Instructions{nothing().WithSymbol("judge rate")}
	if r.source.interval > 0 {
		p = slices.Concat(p, lookUp("sources", "known source"), asm.Instructions{
			asm.LoadMem(asm.R3, mine, workMono, asm.DWord),
			asm.Add.Imm(asm.R3, int32(r.source.interval)),
			asm.StoreMem(mine, workValue, asm.R3, asm.DWord),
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

// lookUp looks the source, or its flow, up in a map. If it is there, R0 becomes the
// address of its value, and the program jumps to known.
func lookUp(name, known string) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, 0).WithReference(name),
		asm.Mov.Reg(asm.R2, mine),
		asm.Add.Imm(asm.R2, int32(workSource)),
		asm.FnMapLookupElem.Call(),
		asm.JNE.Imm(asm.R0, 0, known),
	}
}

// insert puts the source, or its flow, into a map, with the new value. The one that
// was used least recently makes room.
func insert(name string) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, 0).WithReference(name),
		asm.Mov.Reg(asm.R2, mine),
		asm.Add.Imm(asm.R2, int32(workSource)),
		asm.Mov.Reg(asm.R3, mine),
		asm.Add.Imm(asm.R3, int32(workValue)),
		asm.Mov.Imm(asm.R4, 0), // BPF_ANY
		asm.FnMapUpdateElem.Call(),
	}
}

// take takes a token from the bucket at R1, or jumps to over: guard's limiter.
func (l limit) take(over string) asm.Instructions {
	lucky, take := over+", lucky", over+", not"
	p := asm.Instructions{
		asm.LoadMem(asm.R3, mine, workMono, asm.DWord),
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
		// Both are made so small that the product fits.
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
		cmpXchg(asm.R1, asm.R2), // if the bucket still is R0
		asm.JNE.Reg(asm.R0, asm.R3, "pass"))
}

// answerText makes an answer of what is before the fraction of the second, its
// digits, and what is after it.
func (r *rules) answerText() asm.Instructions {
	p := asm.Instructions{asm.Mov.Imm(asm.R0, 0)}
	for off := int16(0); off < maxAnswer; off += 8 {
		p = append(p, asm.StoreMem(mine, workAnswer+off, asm.R0, asm.DWord))
	}
	p = append(p,
		asm.LoadMem(asm.R1, asm.RFP, stackProtocol, asm.DWord),
		asm.JEq.Imm(asm.R1, protocolNTP, "answer ntp"),
		asm.FnKtimeGetTaiNs.Call(),
		asm.LoadMem(asm.R1, known, slotTAIUTC, asm.DWord),
		asm.Sub.Reg(asm.R0, asm.R1),
		asm.StoreMem(mine, workSent, asm.R0, asm.DWord),

		// R0 becomes the nanoseconds, and R1 the line of the second.
		asm.LoadMem(asm.R1, known, slotSecond, asm.DWord),
		asm.Sub.Reg(asm.R0, asm.R1),
		asm.Mov.Reg(asm.R1, asm.R0),
		asm.Div.Imm(asm.R1, 1e9),
		asm.JGE.Imm(asm.R1, lineSeconds, "stale"),
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.Mul.Imm(asm.R2, 1e9),
		asm.Sub.Reg(asm.R0, asm.R2),
		asm.Mul.Imm(asm.R1, sizeofLine),
		asm.Add.Reg(asm.R1, known),
		asm.Add.Imm(asm.R1, int32(slotLines)),

		asm.LoadMem(asm.R2, asm.R1, lineLength, asm.DWord),
		asm.JEq.Imm(asm.R2, 0, "pass"),
		asm.JGT.Imm(asm.R2, maxAnswer, "pass"),
		asm.StoreMem(mine, workSize, asm.R2, asm.DWord))
	for off := int16(0); off < sizeofBefore; off += 8 {
		p = append(p,
			asm.LoadMem(asm.R2, asm.R1, lineBefore+off, asm.DWord),
			asm.StoreMem(mine, workAnswer+off, asm.R2, asm.DWord))
	}
	// R0 becomes a fixed-point number with 57 bits of fraction: its whole part is the
	// first digit, and times ten, the next one. The factor is 2^57 / 10^8, rounded
	// up; the error stays below the last of nine digits.
	p = append(p,
		asm.LoadImm(asm.R2, 1<<57/100_000_000+1, asm.DWord),
		asm.Mul.Reg(asm.R0, asm.R2))
	fraction := workAnswer + int16(r.before)
	for i := range int16(r.digits) {
		p = append(p,
			asm.Mov.Reg(asm.R2, asm.R0),
			asm.RSh.Imm(asm.R2, 57),
			asm.Add.Imm(asm.R2, '0'),
			asm.StoreMem(mine, fraction+i, asm.R2, asm.Byte),
			asm.LSh.Imm(asm.R0, 7),
			asm.RSh.Imm(asm.R0, 7),
			asm.Mul.Imm(asm.R0, 10))
	}
	return append(p,
		asm.LoadMem(asm.R2, asm.R1, lineAfter, asm.DWord),
		asm.StoreMem(mine, fraction+int16(r.digits), asm.R2, asm.DWord),
		asm.Ja.Label("check"))
}

// answerNTP makes the answer of RFC 5905, figure 8. The time at which it leaves is
// read last.
func answerNTP() asm.Instructions {
	const request = 8
	p := asm.Instructions{
		asm.LoadMem(asm.R1, known, ntpLeapMode, asm.Byte).WithSymbol("answer ntp"),
		asm.LoadMem(asm.R2, udp, request, asm.Byte),
		asm.And.Imm(asm.R2, 7<<3), // the version is the client's
		asm.Or.Reg(asm.R1, asm.R2),
		asm.StoreMem(mine, workAnswer, asm.R1, asm.Byte),
		asm.LoadMem(asm.R1, known, ntpStratum, asm.Byte),
		asm.StoreMem(mine, workAnswer+1, asm.R1, asm.Byte),
		asm.LoadMem(asm.R1, udp, request+2, asm.Byte), // the poll interval, too
		asm.StoreMem(mine, workAnswer+2, asm.R1, asm.Byte),
		asm.LoadMem(asm.R1, known, ntpPrecision, asm.Byte),
		asm.StoreMem(mine, workAnswer+3, asm.R1, asm.Byte),
		asm.LoadMem(asm.R1, known, ntpRootDelay, asm.Word),
		asm.StoreMem(mine, workAnswer+4, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, known, ntpRefID, asm.Word),
		asm.StoreMem(mine, workAnswer+12, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, known, ntpReference, asm.DWord),
		asm.StoreMem(mine, workAnswer+16, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, udp, request+40, asm.DWord),
		asm.StoreMem(mine, workAnswer+24, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R1, 48),
		asm.StoreMem(mine, workSize, asm.R1, asm.DWord),
	}
	p = append(p, asm.LoadMem(asm.R4, mine, workReceived, asm.DWord))
	p = append(p, timestamp(asm.R5, asm.R4)...)
	p = append(p,
		asm.HostTo(asm.BE, asm.R5, asm.DWord),
		asm.StoreMem(mine, workAnswer+32, asm.R5, asm.DWord),

		asm.FnKtimeGetTaiNs.Call(),
		asm.LoadMem(asm.R1, known, slotTAIUTC, asm.DWord),
		asm.Sub.Reg(asm.R0, asm.R1),
		asm.StoreMem(mine, workSent, asm.R0, asm.DWord))
	p = append(p, timestamp(asm.R5, asm.R0)...)
	p = append(p,
		// RFC 9769 tells its modes apart by the two being different.
		asm.HostTo(asm.BE, asm.R5, asm.DWord),
		asm.LoadMem(asm.R1, mine, workAnswer+32, asm.DWord),
		skip(asm.JNE.Reg(asm.R5, asm.R1, ""), 3),
		asm.HostTo(asm.BE, asm.R5, asm.DWord),
		asm.Add.Imm(asm.R5, 1),
		asm.HostTo(asm.BE, asm.R5, asm.DWord),
		asm.StoreMem(mine, workAnswer+40, asm.R5, asm.DWord),

		// R1 becomes the root dispersion in nanoseconds: clock.Growth.
		asm.Mov.Reg(asm.R1, asm.R0),
		asm.LoadMem(asm.R2, known, ntpKernelAt, asm.DWord),
		asm.Sub.Reg(asm.R1, asm.R2),
		asm.Div.Imm(asm.R1, 1e9),
		asm.LoadMem(asm.R2, known, ntpKernelRate, asm.DWord),
		asm.Mul.Reg(asm.R1, asm.R2),
		asm.LoadMem(asm.R2, known, ntpKernel, asm.DWord),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.Mov.Reg(asm.R2, asm.R0),
		asm.LoadMem(asm.R3, known, ntpUpstreamAt, asm.DWord),
		asm.Sub.Reg(asm.R2, asm.R3),
		asm.Div.Imm(asm.R2, 1e9/5e5),
		asm.LoadMem(asm.R3, known, ntpUpstream, asm.DWord),
		asm.Add.Reg(asm.R2, asm.R3),
		asm.LoadMem(asm.R3, known, ntpGreater, asm.DWord),
		asm.JNE.Imm(asm.R3, 0, "greater"),
		asm.JSLE.Reg(asm.R1, asm.R2, "dispersion"),
		asm.Mov.Reg(asm.R1, asm.R2),
		asm.Ja.Label("dispersion"),
		asm.JSGE.Reg(asm.R1, asm.R2, "dispersion").WithSymbol("greater"),
		asm.Mov.Reg(asm.R1, asm.R2),

		// ntp.ShortOf, and at least 1.
		asm.JSGT.Imm(asm.R1, 0, "positive").WithSymbol("dispersion"),
		asm.Mov.Imm(asm.R1, 1),
		asm.LoadImm(asm.R2, math.MaxUint32*1_000_000_000>>16, asm.DWord).WithSymbol("positive"),
		asm.JLE.Reg(asm.R1, asm.R2, "short"),
		asm.Mov.Reg(asm.R1, asm.R2),
		asm.LSh.Imm(asm.R1, 16).WithSymbol("short"),
		asm.Add.Imm(asm.R1, 1e9-1),
		asm.Div.Imm(asm.R1, 1e9),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.StoreMem(mine, workAnswer+8, asm.R1, asm.Word))
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
		asm.LoadImm(asm.R3, 2208988800, asm.DWord), // 1970 since 1900
		asm.Add.Reg(dst, asm.R3),
		asm.LSh.Imm(dst, 32),
		asm.Or.Reg(dst, asm.R2),
		skip(asm.JNE.Imm(dst, 0, ""), 1),
		asm.Mov.Imm(dst, 1), // 0 is no time
	}
}

// check sees to it that all was read from one generation of facts, and that the
// clock has not been stepped since they were written: the monotonic clock, read in
// between, is between the two readings of the other one.
func check() asm.Instructions {
	return asm.Instructions{
		asm.LoadMapValue(asm.R1, 0, 0).WithReference("facts").WithSymbol("check"),
		asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord),
		asm.LoadMem(asm.R2, mine, workGeneration, asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R2, "stale"),

		asm.LoadMem(asm.R1, mine, workMono, asm.DWord),
		asm.LoadMem(asm.R2, known, slotTAIMono, asm.DWord),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.LoadMem(asm.R2, known, slotTAIUTC, asm.DWord),
		asm.Sub.Reg(asm.R1, asm.R2), // UTC by the monotonic clock
		asm.LoadMem(asm.R2, mine, workReceived, asm.DWord),
		asm.LoadMem(asm.R3, mine, workSent, asm.DWord),
		asm.JSGT.Reg(asm.R2, asm.R3, "stale"),
		asm.LoadMem(asm.R4, known, slotSlack, asm.DWord),
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

// maxRun is how long the program may take, with twice the slack, in nanoseconds:
// a step of the clock that is no longer is not seen.
const maxRun = 1e6

// headIPv4 makes the answer's headers, as the kernel makes them for a socket, but
// for that of UDP. Then R3 and R4 are the address and the length of what the
// checksum of UDP is made of: the addresses, the UDP header and the answer.
func headIPv4() asm.Instructions {
	const header, request = workAnswer - 8 - 20, ip - udp4
	p := slices.Concat(head(workAnswer-udp4-8, -udp4, 0x0800), asm.Instructions{
		asm.LoadMem(asm.R4, mine, workSize, asm.DWord),
		asm.Add.Imm(asm.R4, 20+8),
		asm.HostTo(asm.BE, asm.R4, asm.Half),
		asm.StoreImm(mine, header, int64(wire16(0x4500)), asm.Half), // version, length of the header, no traffic class
		asm.StoreMem(mine, header+2, asm.R4, asm.Half),
		asm.StoreImm(mine, header+4, 0, asm.Half),                       // identification, of which atomic datagrams need none: RFC 6864
		asm.StoreImm(mine, header+6, int64(wire16(0x4000)), asm.Half),   // do not fragment
		asm.StoreImm(mine, header+8, int64(wire16(64<<8|17)), asm.Half), // time to live, UDP
		asm.StoreImm(mine, header+10, 0, asm.Half),
		asm.LoadMem(asm.R1, udp, request+12, asm.Word),
		asm.StoreMem(mine, header+16, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, udp, request+16, asm.Word),
		asm.StoreMem(mine, header+12, asm.R1, asm.Word),
		asm.Mov.Imm(asm.R1, 0),
	})
	for off := int16(header); off < header+20; off += 4 {
		p = append(p, asm.LoadMem(asm.R2, mine, off, asm.Word), asm.Add.Reg(asm.R1, asm.R2))
	}
	return slices.Concat(p, fold(asm.R1, asm.R2), asm.Instructions{
		asm.Xor.Imm(asm.R1, math.MaxUint16),
		asm.StoreMem(mine, header+10, asm.R1, asm.Half),
		asm.Mov.Reg(asm.R3, mine),
		asm.Add.Imm(asm.R3, int32(header+12)),
		asm.Mov.Imm(asm.R4, 2*4+8+maxAnswer),
		asm.Ja.Label("send"),
	})
}

// headIPv6 does the same.
func headIPv6() asm.Instructions {
	const header, request = workAnswer - 8 - 40, ip - udp6
	p := slices.Concat(head(workAnswer-udp6-8, -udp6, 0x86dd), asm.Instructions{
		asm.LoadMem(asm.R4, mine, workSize, asm.DWord),
		asm.Add.Imm(asm.R4, 8),
		asm.HostTo(asm.BE, asm.R4, asm.Half),
		asm.StoreImm(mine, header, int64(wire16(0x6000)), asm.Half), // version, no traffic class
		asm.StoreImm(mine, header+2, 0, asm.Half),                   // no flow label
		asm.StoreMem(mine, header+4, asm.R4, asm.Half),
		asm.StoreImm(mine, header+6, int64(wire16(17<<8|64)), asm.Half), // UDP, hop limit
	})
	for off := int16(0); off < 16; off += 8 {
		p = append(p,
			asm.LoadMem(asm.R1, udp, request+8+off, asm.DWord),
			asm.StoreMem(mine, header+24+off, asm.R1, asm.DWord),
			asm.LoadMem(asm.R1, udp, request+24+off, asm.DWord),
			asm.StoreMem(mine, header+8+off, asm.R1, asm.DWord))
	}
	p[0] = p[0].WithSymbol("head ipv6")
	return append(p,
		asm.Mov.Reg(asm.R3, mine),
		asm.Add.Imm(asm.R3, int32(header+8)),
		asm.Mov.Imm(asm.R4, 2*16+8+maxAnswer))
}

// head makes the Ethernet header at an offset in the CPU's work, of that of the request,
// which is at frame from its UDP header on.
func head(at, frame int16, etherType uint16) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, udp, frame+6, asm.Half),
		asm.StoreMem(mine, at, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, udp, frame+8, asm.Word),
		asm.StoreMem(mine, at+2, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, udp, frame, asm.Word),
		asm.StoreMem(mine, at+6, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, udp, frame+4, asm.Half),
		asm.StoreMem(mine, at+10, asm.R1, asm.Half),
		asm.StoreImm(mine, at+12, int64(wire16(etherType)), asm.Half),
	}
}

// send makes the UDP header, and has the answer take the request's place. A frame
// grows at its beginning, where drivers keep room; at its end some have none. It
// never gets shorter: what an answer does not fill is padding.
func send() asm.Instructions {
	const header = workAnswer - 8
	return slices.Concat(asm.Instructions{
		asm.LoadMem(asm.R1, udp, 0, asm.Half).WithSymbol("send"),
		asm.StoreMem(mine, header+2, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, udp, 2, asm.Half),
		asm.StoreMem(mine, header, asm.R1, asm.Half),
		asm.LoadMem(asm.R5, mine, workSize, asm.DWord),
		asm.Add.Imm(asm.R5, 8),
		asm.HostTo(asm.BE, asm.R5, asm.Half),
		asm.StoreMem(mine, header+4, asm.R5, asm.Half),
		asm.StoreImm(mine, header+6, 0, asm.Half),

		// The checksum is of the addresses, the datagram, and, once more, its length
		// and protocol. The zeros that pad the answer make no difference.
		asm.Add.Imm(asm.R5, wire16(17)),
		asm.Mov.Imm(asm.R1, 0),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnCsumDiff.Call(),
		asm.Mov.Reg32(asm.R0, asm.R0),
	}, fold(asm.R0, asm.R1), asm.Instructions{
		asm.Xor.Imm(asm.R0, math.MaxUint16),
		skip(asm.JNE.Imm(asm.R0, 0, ""), 1),
		asm.Mov.Imm(asm.R0, math.MaxUint16), // 0 would be no checksum
		asm.StoreMem(mine, header+6, asm.R0, asm.Half),

		asm.LoadMem(asm.R3, asm.RFP, stackHeader, asm.DWord),
		asm.Add.Imm(asm.R3, 8),
		asm.LoadMem(asm.R4, mine, workSize, asm.DWord),
		asm.Add.Reg(asm.R3, asm.R4),
		asm.LoadMem(asm.R2, mine, workFrame, asm.DWord),
		asm.Sub.Reg(asm.R2, asm.R3),
		asm.JSGE.Imm(asm.R2, 0, "grown"),
		asm.Mov.Reg(asm.R1, ctx),
		asm.FnXdpAdjustHead.Call(),
		asm.JNE.Imm(asm.R0, 0, "pass"),

		asm.Mov.Reg(asm.R1, ctx).WithSymbol("grown"),
		asm.Mov.Imm(asm.R2, 0),
		asm.LoadMem(asm.R4, mine, workSize, asm.DWord),
		asm.JGT.Imm(asm.R4, maxAnswer, "aborted"), // which cannot be, but the verifier does not know
		asm.Mov.Reg(asm.R3, mine),
		asm.LoadMem(asm.R5, asm.RFP, stackHeader, asm.DWord),
		asm.JEq.Imm(asm.R5, udp6, "store ipv6"),
		asm.Add.Imm(asm.R3, int32(workAnswer-udp4-8)),
		asm.Add.Imm(asm.R4, udp4+8),
		asm.Ja.Label("store"),
		asm.Add.Imm(asm.R3, int32(workAnswer-udp6-8)).WithSymbol("store ipv6"),
		asm.Add.Imm(asm.R4, udp6+8),
		asm.FnXdpStoreBytes.Call().WithSymbol("store"),
		asm.JNE.Imm(asm.R0, 0, "aborted"), // which cannot be: the frame is long enough
	})
}

// The verdicts: enum xdp_action.
const (
	actionAborted = iota
	actionDrop
	actionPass
	actionTX
)

// end ends the program with a verdict, most of which it counts.
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

// count adds one to a counter of the protocol, and returns a verdict.
func count(label string, counter int16, action int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, mine).WithSymbol(label),
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

// fold folds the sum of 16-bit or 32-bit words in a register into 16 bits: RFC
// 1071. It uses another register.
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

// skip makes a jump skip the next n instructions, none of which is a load of 64
// bits.
func skip(jump asm.Instruction, n int16) asm.Instruction {
	jump.Offset = n
	return jump
}

// cmpXchg stores src at the address in dst if R0 is there, and sets R0 to what was
// there. Version 0.22.0 of the package encodes it as an addition unless it is given
// the immediate value, BPF_CMPXCHG of linux/bpf.h.
func cmpXchg(dst, src asm.Register) asm.Instruction {
	i := asm.CmpXchg.Mem(dst, src, asm.DWord, 0)
	i.Constant = 0xf1
	return i
}

// nothing is an instruction that does nothing, to carry a label.
func nothing() asm.Instruction { return asm.Mov.Reg(ctx, ctx) }

// wire16 returns n as it is read from two bytes in the order of the wire.
func wire16(n uint16) int32 {
	return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n)))
}
