//go:build !linux

package udp

import "golang.org/x/sys/unix"

// askForArrival does nothing where the kernel's stamps are coarser than a
// reading of the clock after the datagram was received.
func askForArrival(fd int) error { return nil }

func (a *ancillary) readTimestamp(h *unix.Cmsghdr, message []byte) {}
