package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// errGone means that the interface was removed, or moved to another network namespace.
var errGone = errors.New("no such interface")

// readStation returns the addresses of an interface: rtnetlink(7). The error is errGone if
// there is no such interface.
func readStation(index int) (st station, err error) {
	links, err := net.Interfaces()
	if err != nil {
		return st, err
	}
	i := slices.IndexFunc(links, func(in net.Interface) bool { return in.Index == index })
	if i < 0 {
		return st, errGone
	}
	in := links[i]
	if copy(st.mac[:], in.HardwareAddr) != len(st.mac) || len(in.HardwareAddr) != len(st.mac) {
		return station{}, errors.New("not an Ethernet interface")
	}
	rib, err := syscall.NetlinkRIB(unix.RTM_GETADDR, unix.AF_UNSPEC)
	if err != nil {
		return station{}, fmt.Errorf("netlink: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return station{}, fmt.Errorf("netlink: %w", err)
	}
	for _, m := range messages {
		if m.Header.Type != unix.RTM_NEWADDR || indexOf(m.Data) != index {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			return station{}, fmt.Errorf("netlink: %w", err)
		}
		if a, ok := localAddr(attrs); ok {
			st.addrs = append(st.addrs, a)
		}
	}
	return st, nil
}

// localAddr returns the host's address in a message's attributes. It returns false if the
// host may not use the address: duplicate address detection (RFC 4862) is in progress or
// has failed.
func localAddr(attrs []syscall.NetlinkRouteAttr) (a netip.Addr, ok bool) {
	for _, attr := range attrs {
		switch attr.Attr.Type {
		case unix.IFA_FLAGS:
			if len(attr.Value) >= 4 && binary.NativeEndian.Uint32(attr.Value)&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
				return a, false
			}
		case unix.IFA_LOCAL: // takes precedence over IFA_ADDRESS, the peer's address on a point-to-point link
			a, ok = netip.AddrFromSlice(attr.Value)
		case unix.IFA_ADDRESS:
			if !ok {
				a, ok = netip.AddrFromSlice(attr.Value)
			}
		}
	}
	return a, ok
}

// indexOf returns the interface index in an ifinfomsg or ifaddrmsg. It is at the same
// offset in both.
func indexOf(data []byte) int {
	if len(data) < 8 {
		return 0
	}
	return int(int32(binary.NativeEndian.Uint32(data[4:])))
}

// openMonitor opens a socket that receives a message after each change of a link or an
// address: rtnetlink(7).
func openMonitor() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, fmt.Errorf("netlink: %w", err)
	}
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("netlink: %w", err)
	}
	return fd, nil
}

// maxMonitorReads is the maximum number of reads from the monitor in one event. Each
// change of any interface on the host is a message.
const maxMonitorReads = 16

// readMonitor reads at most maxMonitorReads times. It reports whether a message is about
// the interface, or messages were lost.
func readMonitor(fd, index int) (changed bool) {
	b := make([]byte, 1<<16)
	for range maxMonitorReads {
		n, _, err := unix.Recvfrom(fd, b, 0)
		if errors.Is(err, unix.ENOBUFS) { // the kernel dropped messages
			changed = true
			continue
		}
		if err != nil {
			break
		}
		messages, err := syscall.ParseNetlinkMessage(b[:n])
		changed = changed || err != nil
		for _, m := range messages {
			changed = changed || indexOf(m.Data) == index
		}
	}
	return changed
}
