//go:build !linux || portable

package udp

const batchAllocates = true
