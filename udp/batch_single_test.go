//go:build !linux || portable

package udp

const batchAllocates, lengthsTold = true, false
