package xdp

import (
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// The sizes of the tables of sources and flows, as in guard. The kernel evicts
// approximately the least recently used entry.
const (
	numSources = 16384
	numFlows   = 32768
)

// loaded is a program in the kernel, and its memory.
type loaded struct {
	program *ebpf.Program
	facts   *facts
	counts  *counts
	cpus    []cpu
	mapped  [][]byte
}

// load makes the program's maps and loads the program into the kernel, which verifies it.
func load(r *rules) (_ *loaded, err error) {
	l := &loaded{}
	maps := make(map[string]*ebpf.Map)
	defer func() {
		for _, m := range maps { // the program and the mappings keep them alive
			_ = m.Close()
		}
		if err != nil {
			l.close()
		}
	}()
	countsSize := unsafe.Sizeof(counts{}) + uintptr(r.cpus)*unsafe.Sizeof(cpu{})
	specs := []*ebpf.MapSpec{
		{Name: "facts", Type: ebpf.Array, KeySize: 4, ValueSize: uint32(unsafe.Sizeof(facts{})), MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE},
		{Name: "counts", Type: ebpf.Array, KeySize: 4, ValueSize: uint32(countsSize), MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE},
	}
	if r.source.interval > 0 {
		specs = append(specs, &ebpf.MapSpec{Name: "sources", Type: ebpf.LRUHash, KeySize: 8, ValueSize: 8, MaxEntries: numSources})
	}
	if r.longest > 0 {
		specs = append(specs, &ebpf.MapSpec{Name: "flows", Type: ebpf.LRUHash, KeySize: 16, ValueSize: 8, MaxEntries: numFlows})
	}
	for _, spec := range specs {
		m, err := ebpf.NewMap(spec)
		if err != nil {
			return nil, fmt.Errorf("map %s: %w", spec.Name, err)
		}
		maps[spec.Name] = m
	}
	code := r.program()
	for i := range code {
		if m := maps[code[i].Reference()]; m != nil && code[i].IsLoadFromMap() {
			if err := code[i].AssociateMap(m); err != nil {
				return nil, err
			}
		}
	}
	l.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{Name: "nowd", Type: ebpf.XDP, AttachType: ebpf.AttachXDP, Instructions: code})
	if err != nil {
		return nil, err
	}
	memory, err := l.mmap(maps["facts"], unsafe.Sizeof(facts{}))
	if err != nil {
		return nil, err
	}
	l.facts = (*facts)(memory)
	if memory, err = l.mmap(maps["counts"], countsSize); err != nil {
		return nil, err
	}
	l.counts = (*counts)(memory)
	l.cpus = unsafe.Slice((*cpu)(unsafe.Add(memory, unsafe.Sizeof(counts{}))), r.cpus)
	return l, nil
}

// mmap maps the only element of an array into memory: mmap(2), BPF_F_MMAPABLE of bpf(2).
func (l *loaded) mmap(m *ebpf.Map, size uintptr) (unsafe.Pointer, error) {
	b, err := unix.Mmap(m.FD(), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	l.mapped = append(l.mapped, b)
	return unsafe.Pointer(unsafe.SliceData(b)), nil
}

// close releases the program and the mappings. The program must be detached.
func (l *loaded) close() {
	for _, b := range l.mapped {
		_ = unix.Munmap(b)
	}
	if l.program != nil {
		_ = l.program.Close()
	}
}
