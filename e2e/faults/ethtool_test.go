//go:build linux

package faults_test

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendWhole has an interface's packets carry their checksums, and be no longer than a frame. As a rule the two ends of a
// veth leave that out, which are one memory; a cable of our own does not know of it. See SIOCETHTOOL in
// linux/sockios.h, and ETHTOOL_STXCSUM in linux/ethtool.h.
func sendWhole(at place, name string) (err error) {
	const ethtoolSetTxChecksum = 0x17
	off := struct{ command, value uint32 }{command: ethtoolSetTxChecksum}
	request := struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&off)}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	at.do(func() {
		var fd int
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(fd)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
			err = errno
		}
	})
	return err
}
