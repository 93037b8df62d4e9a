// Package xdp answers datagrams in the driver of a network interface, before the kernel's
// network stack sees them: XDP, the eXpress Data Path of Linux.
//
// An eBPF program (program_linux.go) answers two kinds of requests: NTP requests of 48
// bytes, and text requests that are shorter than every word, with the default form. It
// reads the time from the kernel. Everything else that it needs is in the facts: memory
// that it shares with the process (memory_linux.go). nowd writes them once a second while
// there is traffic. They expire after three seconds.
//
// The program passes all other frames unchanged to the sockets: other requests, IP
// options, fragments, extension headers, VLANs, addresses that are not the interface's,
// and every frame while the facts are expired or after the clock was stepped.
//
// The answers are those of package answer, byte for byte. The rules about sources and the
// rate limits are those of package guard.
//
// The program does not check a request's UDP checksum: a datagram from another network
// namespace of the same host has an incomplete one.
package xdp
