//go:build !linux || portable

package udp

const batchAllocates, reportsLength = true, false
