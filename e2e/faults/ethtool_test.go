//go:build linux

package faults_test

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendWhole makes an interface send packets with complete checksums, no longer than a frame. By default a veth leaves
// that out, because its ends share memory. The test's own cable needs whole packets. See SIOCETHTOOL in
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
