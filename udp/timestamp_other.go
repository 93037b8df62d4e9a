//go:build !linux

package udp

import "golang.org/x/sys/unix"

// enableTimestamps does nothing: the kernel's timestamps are coarser than a reading of
// the clock after the receive call.
func enableTimestamps(fd int) error { return nil }

func (a *ancillary) readTimestamp(h *unix.Cmsghdr, message []byte) {}
