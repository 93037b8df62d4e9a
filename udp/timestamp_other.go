//go:build !linux

package udp

import "golang.org/x/sys/unix"

// enableTimestamps does nothing: the kernel's timestamps are coarser than the clock
// that is read after the datagram was received.
func enableTimestamps(fd int) error { return nil }

func (a *ancillary) readTimestamp(h *unix.Cmsghdr, message []byte) {}
