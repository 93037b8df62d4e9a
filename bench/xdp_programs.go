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

// verdict returns a program that returns action for every frame.
func verdict(action int32) (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, action), asm.Return()}})
}

// maxFrame is an upper bound on the length of a request's frame.
const maxFrame = 96

// generatorState is the memory that the generator shares with this process.
type generatorState struct {
	Interval uint64 // between two bursts, in nanoseconds
	Next     uint64 // when the next burst is due, by bpf_ktime_get_ns
	Left     uint64 // requests of the current burst that are not yet sent
	Sent     uint64 // requests
	Skipped  uint64 // runs that sent nothing because no burst was due
	Frame    [maxFrame]byte
}

// burst is the number of requests that are sent at once. The kernel passes frames on in
// batches of this size, and a server receives as many with one system call.
const burst = 64

// newGenerator returns a program that sends the frame in state, size bytes long: with pace in
// bursts, when one is due, and without pace in every run. The kernel runs it in a loop
// (BPF_F_TEST_XDP_LIVE_FRAMES of BPF_PROG_TEST_RUN). The source port changes with each
// request. The kernel reuses the memory of a frame after it has changed on its way, so the
// program writes each frame anew.
func newGenerator(state *ebpf.Map, size int, pace bool) (*ebpf.Program, error) {
	off := func(o uintptr) int16 { return int16(o) }
	p := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMapValue(asm.R7, state.FD(), 0),
		asm.LoadMem(asm.R1, asm.R7, off(unsafe.Offsetof(generatorState{}.Left)), asm.DWord),
		asm.JNE.Imm(asm.R1, 0, "send"),
	}
	if pace {
		p = append(p,
			asm.FnKtimeGetNs.Call(),
			asm.LoadMem(asm.R1, asm.R7, off(unsafe.Offsetof(generatorState{}.Next)), asm.DWord),
			asm.JGE.Reg(asm.R0, asm.R1, "due"),
			asm.LoadMem(asm.R1, asm.R7, off(unsafe.Offsetof(generatorState{}.Skipped)), asm.DWord),
			asm.Add.Imm(asm.R1, 1),
			asm.StoreMem(asm.R7, off(unsafe.Offsetof(generatorState{}.Skipped)), asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R0, xdpDrop),
			asm.Return(),
			// After a delay, do not send the missed bursts.
			asm.LoadMem(asm.R1, asm.R7, off(unsafe.Offsetof(generatorState{}.Interval)), asm.DWord).WithSymbol("due"),
			asm.Add.Reg(asm.R0, asm.R1),
			asm.StoreMem(asm.R7, off(unsafe.Offsetof(generatorState{}.Next)), asm.R0, asm.DWord))
	}
	p = append(p,
		asm.Mov.Imm(asm.R1, burst),
		asm.Sub.Imm(asm.R1, 1).WithSymbol("send"),
		asm.StoreMem(asm.R7, off(unsafe.Offsetof(generatorState{}.Left)), asm.R1, asm.DWord),
		asm.LoadMem(asm.R8, asm.R7, off(unsafe.Offsetof(generatorState{}.Sent)), asm.DWord),
		asm.Add.Imm(asm.R8, 1),
		asm.StoreMem(asm.R7, off(unsafe.Offsetof(generatorState{}.Sent)), asm.R8, asm.DWord),
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
			asm.LoadMem(asm.R1, asm.R7, int16(int(unsafe.Offsetof(generatorState{}.Frame))+at), part),
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

// newCounter returns a program that counts and drops the answers: UDP datagrams over IPv4
// from port to the generator's source ports. It passes all other frames.
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
		asm.JLT.Imm(asm.R4, firstSource, "pass"), // awaitAnswer asks
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

// newArray returns an array with one element of size bytes.
func newArray(size uintptr) (*ebpf.Map, error) {
	return ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(size), MaxEntries: 1})
}

// requestFrame returns a frame with a request over IPv4. server and client are MAC addresses.
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
	b = append(append(b, 0, 0), request...) // checksum 0, none: RFC 768
	if len(b) > maxFrame {
		panic(fmt.Sprintf("frame of %d bytes, want %d at most", len(b), maxFrame))
	}
	return b
}
