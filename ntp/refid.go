package ntp

import (
	"crypto/md5"
	"net/netip"
)

// RefID is the reference id: the source of a server's time. At stratum 0 it is a
// KissCode, at stratum 1 the name of a reference clock, and from stratum 2 on the
// server's own server, by RefIDOf. RFC 5905, section 7.3.
type RefID [4]byte

// RefIDOf returns the reference id for a server at address a: the IPv4 address, or the
// first four bytes of the MD5 of the IPv6 address. For an invalid address it is the
// zero RefID.
func RefIDOf(a netip.Addr) (id RefID) {
	switch a = a.Unmap(); {
	case a.Is4():
		return a.As4()
	case a.Is6():
		b := a.As16()
		sum := md5.Sum(b[:])
		copy(id[:], sum[:])
	}
	return id
}

// KissCode is the reference id of a packet of stratum 0: four letters for the reason
// why the server gives no time. RFC 5905, section 7.4.
type KissCode string

const (
	KissInit     KissCode = "INIT" // not synchronised yet
	KissStep     KissCode = "STEP" // the clock was stepped, and is not synchronised yet
	KissRate     KissCode = "RATE" // the client asks too often
	KissDeny     KissCode = "DENY" // the server denies service
	KissRestrict KissCode = "RSTR" // the server denies service by a rule about clients
)

// RefID returns the reference id of the code.
func (k KissCode) RefID() (id RefID) {
	copy(id[:], k)
	return id
}
