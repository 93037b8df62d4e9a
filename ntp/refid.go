package ntp

import (
	"crypto/md5"
	"net/netip"
)

// RefID says where a server has its time from: RFC 5905, section 7.3. At
// stratum 0 it is a KissCode, at stratum 1 the name of a reference clock, and
// from stratum 2 on the address of a server, as RefIDOf has it.
type RefID [4]byte

// RefIDOf returns the reference id of those whose server is at a: its IPv4
// address, or the first four bytes of the MD5 of its IPv6 address. An invalid
// address has the zero RefID.
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

// KissCode is the reference id of a packet of stratum 0: four letters that say
// why the server gives no time. RFC 5905, section 7.4.
type KissCode string

const (
	KissInit     KissCode = "INIT" // not synchronised yet
	KissStep     KissCode = "STEP" // the clock was stepped, and is not synchronised yet
	KissRate     KissCode = "RATE" // the client asks too often
	KissDeny     KissCode = "DENY" // the server denies service
	KissRestrict KissCode = "RSTR" // likewise, by a rule about clients
)

// RefID returns the code as it goes over the wire.
func (k KissCode) RefID() (id RefID) {
	copy(id[:], k)
	return id
}
