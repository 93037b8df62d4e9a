package service

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// dropCapabilities drops, for all threads and for good, all capabilities of this process
// except those in keep, a set of bits: capabilities(7). keep applies to the effective and
// the permitted set. The inheritable and the ambient set become empty, and with CAP_SETPCAP
// also the bounding set.
func dropCapabilities(keep uint64) error {
	if err := dropBoundingSet(); err != nil {
		return err
	}
	// All threads have the same capabilities.
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // of 32 bits each
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	for i := range sets {
		kept := uint32(keep >> (32 * i))
		sets[i] = unix.CapUserData{Effective: sets[i].Effective & kept, Permitted: sets[i].Permitted & kept}
	}
	// The kernel removes from the ambient set what is not inheritable.
	if _, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets[0])), 0); errno != 0 {
		return fmt.Errorf("capset: %w", errno)
	}
	return nil
}

// dropBoundingSet empties the bounding set: prctl(2), PR_CAPBSET_DROP. Without
// CAP_SETPCAP it does nothing: PR_SET_NO_NEW_PRIVS has to do.
func dropBoundingSet() error {
	for c := 0; ; c++ {
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if err != nil {
			return nil // EINVAL: the last capability was c-1
		}
		if in == 0 {
			continue
		}
		_, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0, 0)
		if errno == unix.EPERM { // without CAP_SETPCAP
			return nil
		}
		if errno != 0 {
			return fmt.Errorf("prctl PR_CAPBSET_DROP: %w", errno)
		}
	}
}
