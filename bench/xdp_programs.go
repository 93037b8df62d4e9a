//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// The verdicts of an XDP program: enum xdp_action of linux/bpf.h.
const (
	xdpDrop = 1
	xdpPass = 2
	xdpTX   = 3
)

// verdict returns a program that does nothing but that.
func verdict(action int32) (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, action), asm.Return()}})
}

// maxFrame is an upper bound on the length of a frame with a request.
const maxFrame = 96

// paced is the memory of the generator.
type paced struct {
	Interval uint64 // between two bursts, in nanoseconds
	Next     uint64 // when the next one is due
	Left     uint64 // of the current one
	Sent     uint64
	Skipped  uint64 // runs of the program that sent nothing, since no burst was due
	Frame    [maxFrame]byte
}

// burst is how many requests are sent in one go: as many as the kernel hands over
// in one go, and as a server takes in with one system call.
const burst = 64

// newGenerator returns a program that sends a frame whenever one is due. The
// kernel runs it in a loop: BPF_F_TEST_XDP_LIVE_FRAMES of bpf(2). The source ports
// of the requests are those from firstSource on. size is the frame's length. The
// kernel uses the memory of a frame again as it comes back, so each is written anew.
func newGenerator(state *ebpf.Map, size int, pace bool) (*ebpf.Program, error) {
	off := func(o uintptr) int16 { return int16(o) }
	p := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMapValue(asm.R7, state.FD(), 0),
		asm.LoadMem(asm.R1, asm.R7, off(unsafe.Offsetof(paced{}.Left)), asm.DWord),
		asm.JNE.Imm(asm.R1, 0, "send"),
	}
	if pace {
		p = append(p,
			asm.FnKtimeGetNs.Call(),
			asm.LoadMem(asm.R1, asm.R7, off(unsafe.Offsetof(paced{}.Next)), asm.DWord),
			asm.JGE.Reg(asm.R0, asm.R1, "due"),
			asm.LoadMem(asm.R1, asm.R7, off(unsafe.Offsetof(paced{}.Skipped)), asm.DWord),
			asm.Add.Imm(asm.R1, 1),
			asm.StoreMem(asm.R7, off(unsafe.Offsetof(paced{}.Skipped)), asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R0, xdpDrop),
			asm.Return(),
			// What was missed is not made up for.
			asm.LoadMem(asm.R1, asm.R7, off(unsafe.Offsetof(paced{}.Interval)), asm.DWord).WithSymbol("due"),
			asm.Add.Reg(asm.R0, asm.R1),
			asm.StoreMem(asm.R7, off(unsafe.Offsetof(paced{}.Next)), asm.R0, asm.DWord))
	}
	p = append(p,
		asm.Mov.Imm(asm.R1, burst),
		asm.Sub.Imm(asm.R1, 1).WithSymbol("send"),
		asm.StoreMem(asm.R7, off(unsafe.Offsetof(paced{}.Left)), asm.R1, asm.DWord),
		asm.LoadMem(asm.R8, asm.R7, off(unsafe.Offsetof(paced{}.Sent)), asm.DWord),
		asm.Add.Imm(asm.R8, 1),
		asm.StoreMem(asm.R7, off(unsafe.Offsetof(paced{}.Sent)), asm.R8, asm.DWord),
		asm.LoadMem(asm.R2, asm.R6, 0, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, 4, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R2),
		asm.Add.Imm(asm.R1, int32(size)),
		asm.JGT.Reg(asm.R1, asm.R3, "no"))
	for at := 0; at < size; {
		part := asm.DWord
		for at+part.Sizeof() > size {
			part = map[asm.Size]asm.Size{asm.DWord: asm.Word, asm.Word: asm.Half, asm.Half: asm.Byte}[part]
		}
		p = append(p,
			asm.LoadMem(asm.R1, asm.R7, int16(int(unsafe.Offsetof(paced{}.Frame))+at), part),
			asm.StoreMem(asm.R2, int16(at), asm.R1, part))
		at += part.Sizeof()
	}
	p = append(p,
		asm.And.Imm(asm.R8, numSources-1),
		asm.Add.Imm(asm.R8, firstSource),
		asm.HostTo(asm.BE, asm.R8, asm.Half),
		asm.StoreMem(asm.R2, 34, asm.R8, asm.Half),
		asm.Mov.Imm(asm.R0, xdpTX),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("no"),
		asm.Return())
	return ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: p})
}

// The source ports of the requests.
const (
	firstSource = 20_000
	numSources  = 4096
)

// newCounter returns a program that counts UDP datagrams over IPv4 from a port, and
// takes them off the link. What else there is passes.
func newCounter(count *ebpf.Map, port uint16) (*ebpf.Program, error) {
	p := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, 4, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, 42),
		asm.JGT.Reg(asm.R4, asm.R3, "pass"),
		asm.LoadMem(asm.R4, asm.R2, 23, asm.Byte),
		asm.JNE.Imm(asm.R4, 17, "pass"),
		asm.LoadMem(asm.R4, asm.R2, 34, asm.Half),
		asm.HostTo(asm.BE, asm.R4, asm.Half),
		asm.JNE.Imm(asm.R4, int32(port), "pass"),
		asm.LoadMem(asm.R4, asm.R2, 36, asm.Half),
		asm.HostTo(asm.BE, asm.R4, asm.Half),
		asm.JLT.Imm(asm.R4, firstSource, "pass"), // somebody asks whether the server is there
		asm.JGE.Imm(asm.R4, firstSource+numSources, "pass"),
		asm.LoadMapValue(asm.R5, count.FD(), 0),
		asm.Mov.Imm(asm.R4, 1),
		asm.AddAtomic.Mem(asm.R5, asm.R4, asm.DWord, 0),
		asm.Mov.Imm(asm.R0, xdpDrop),
		asm.Return(),
		asm.Mov.Imm(asm.R0, xdpPass).WithSymbol("pass"),
		asm.Return(),
	}
	return ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: p})
}

// single returns an array with one element of a size.
func single(size uintptr) (*ebpf.Map, error) {
	return ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(size), MaxEntries: 1})
}

// requestFrame returns a frame from client to server, of MAC addresses and of IPv4.
func requestFrame(server, client [6]byte, port uint16, request []byte) []byte {
	b := append(append([]byte(nil), server[:]...), client[:]...)
	b = append(b, 0x08, 0x00, 0x45, 0, 0, byte(28+len(request)), 0, 0, 0x40, 0, 64, 17, 0, 0)
	b = append(append(b, serverAddr.AsSlice()...), serverAddr.AsSlice()...)
	copy(b[26:], clientAddr.AsSlice())
	sum := uint32(0)
	for i := 14; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[24:], ^uint16(sum+sum>>16))
	b = binary.BigEndian.AppendUint16(b, firstSource)
	b = binary.BigEndian.AppendUint16(b, port)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(request)))
	b = append(append(b, 0, 0), request...) // no checksum, as RFC 768 allows
	if len(b) > maxFrame {
		panic(fmt.Sprintf("a frame of %d bytes", len(b)))
	}
	return b
}
