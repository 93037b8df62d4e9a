package xdp

import "unsafe"

// Offsets and sizes of the types in memory_linux.go, in bytes, for the program.
const (
	factsSlots = int16(unsafe.Offsetof(facts{}.slots))
	sizeofSlot = int32(unsafe.Sizeof(slot{}))

	slotWritten = int16(unsafe.Offsetof(slot{}.written))
	slotExpires = int16(unsafe.Offsetof(slot{}.expires))
	slotTAIUTC  = int16(unsafe.Offsetof(slot{}.taiUTC))
	slotTAIMono = int16(unsafe.Offsetof(slot{}.taiMono))
	slotSlack   = int16(unsafe.Offsetof(slot{}.slack))
	slotMAC     = int16(unsafe.Offsetof(slot{}.mac))

	slotIPv4       = int16(unsafe.Offsetof(slot{}.ipv4))
	slotIPv6       = int16(unsafe.Offsetof(slot{}.ipv6))
	sizeofIPv4Addr = int16(unsafe.Sizeof(ipv4Addr{}))
	sizeofIPv6Addr = int16(unsafe.Sizeof(ipv6Addr{}))

	slotNTP       = int16(unsafe.Offsetof(slot{}.ntp))
	ntpLeapMode   = slotNTP + int16(unsafe.Offsetof(ntpFacts{}.leapMode))
	ntpStratum    = slotNTP + int16(unsafe.Offsetof(ntpFacts{}.stratum))
	ntpPrecision  = slotNTP + int16(unsafe.Offsetof(ntpFacts{}.precision))
	ntpRootDelay  = slotNTP + int16(unsafe.Offsetof(ntpFacts{}.rootDelay))
	ntpRefID      = slotNTP + int16(unsafe.Offsetof(ntpFacts{}.refID))
	ntpReference  = slotNTP + int16(unsafe.Offsetof(ntpFacts{}.reference))
	ntpKernel     = slotNTP + int16(unsafe.Offsetof(ntpFacts{}.kernel))
	ntpKernelAt   = slotNTP + int16(unsafe.Offsetof(ntpFacts{}.kernelAt))
	ntpKernelRate = slotNTP + int16(unsafe.Offsetof(ntpFacts{}.kernelRate))
	ntpUpstream   = slotNTP + int16(unsafe.Offsetof(ntpFacts{}.upstream))
	ntpUpstreamAt = slotNTP + int16(unsafe.Offsetof(ntpFacts{}.upstreamAt))
	ntpGreater    = slotNTP + int16(unsafe.Offsetof(ntpFacts{}.greater))

	slotSecond   = int16(unsafe.Offsetof(slot{}.text) + unsafe.Offsetof(textFacts{}.second))
	slotLines    = int16(unsafe.Offsetof(slot{}.text) + unsafe.Offsetof(textFacts{}.lines))
	sizeofLine   = int32(unsafe.Sizeof(line{}))
	lineBefore   = int16(unsafe.Offsetof(line{}.before))
	sizeofBefore = int16(unsafe.Sizeof(line{}.before))
	lineAfter    = int16(unsafe.Offsetof(line{}.after))
	lineLength   = int16(unsafe.Offsetof(line{}.length))

	countsTotal = uint32(unsafe.Offsetof(counts{}.total))
	countsCPUs  = uint32(unsafe.Sizeof(counts{})) // where the first cpu is
	sizeofCPU   = int32(unsafe.Sizeof(cpu{}))

	cpuWork        = int16(unsafe.Offsetof(cpu{}.work)) // cpu.counters is at offset 0
	workAnswer     = cpuWork + int16(unsafe.Offsetof(work{}.answer))
	workReceived   = cpuWork + int16(unsafe.Offsetof(work{}.received))
	workSent       = cpuWork + int16(unsafe.Offsetof(work{}.sent))
	workMono       = cpuWork + int16(unsafe.Offsetof(work{}.mono))
	workGeneration = cpuWork + int16(unsafe.Offsetof(work{}.generation))
	workFrame      = cpuWork + int16(unsafe.Offsetof(work{}.frame))
	workSize       = cpuWork + int16(unsafe.Offsetof(work{}.size))
	workSource     = cpuWork + int16(unsafe.Offsetof(work{}.flow))
	workPort       = workSource + 8
	workValue      = cpuWork + int16(unsafe.Offsetof(work{}.value))
)
