// Package xdp answers datagrams in the driver of a network interface, before the
// kernel has made anything of them: XDP, the eXpress Data Path of Linux.
//
// A program in the kernel (program_linux.go) answers two requests: of NTP those of
// 48 bytes, and of text those that are shorter than all words, with the default
// form. It knows the time from the kernel, and all else from facts (memory_linux.go),
// which are written once a second while there is traffic, and expire after three.
// Whatever it does not plainly know how to answer it passes on as it came, and the
// sockets answer: other requests, options, fragments, extension headers, VLANs,
// addresses that are not the interface's, and everything when the facts have
// expired or the clock was stepped.
//
// The answers are those of package answer, byte for byte. The rules about sources
// and the limits are those of package guard; of what is over a limit, a third is
// left to the sockets.
//
// The program does not judge a request's UDP checksum: what comes from another
// network namespace of the same host has none that is complete.
package xdp
