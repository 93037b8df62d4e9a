package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// LoopCount is a number of event loops.
type LoopCount int

// UnmarshalText accepts a number from 1 to 256, or "auto" for GOMAXPROCS.
func (n *LoopCount) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*n = LoopCount(runtime.GOMAXPROCS(0))
		return nil
	}
	i, err := strconv.Atoi(string(text))
	if err != nil || i < 1 || i > 256 {
		return errors.New("out of range")
	}
	*n = LoopCount(i)
	return nil
}

// Limit is an upper bound; 0 is no limit.
type Limit int

// UnmarshalText accepts a number from 1 to 1e9, or "off".
func (l *Limit) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*l = 0
		return nil
	}
	i, err := strconv.Atoi(string(text))
	if err != nil || i < 1 || i > 1e9 {
		return errors.New("out of range")
	}
	*l = Limit(i)
	return nil
}

// File is the absolute path of a file; empty for off.
type File string

// UnmarshalText accepts an absolute path, or "off".
func (f *File) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*f = ""
		return nil
	}
	path := filepath.Clean(string(text))
	if !filepath.IsAbs(path) || path == "/" || strings.HasSuffix(string(text), "/") {
		return errors.New("not the path of a file")
	}
	*f = File(path)
	return nil
}

// RefID is an NTP reference id: RFC 5905, section 7.3.
type RefID [4]byte

// UnmarshalText accepts one to four characters; the rest of the id is zero.
func (id *RefID) UnmarshalText(text []byte) error {
	*id = RefID{}
	if n := copy(id[:], text); n == 0 || n < len(text) || hasForbidden(string(text)) {
		return errors.New("not a reference id")
	}
	return nil
}

// Servers is a list of NTP servers, each HOST or HOST:PORT.
type Servers []string

// UnmarshalText accepts servers separated by commas, or "off" for none.
func (s *Servers) UnmarshalText(text []byte) error {
	*s = nil
	if string(text) == "off" {
		return nil
	}
	for server := range strings.SplitSeq(string(text), ",") {
		server = strings.TrimSpace(server)
		withPort := server
		if _, err := netip.ParseAddr(server); err == nil || !strings.Contains(server, ":") {
			withPort = net.JoinHostPort(server, "123")
		}
		if a, err := parseAddress(withPort); err != nil || a.Host == "" {
			return fmt.Errorf("%q is not a server", server)
		}
		*s = append(*s, server)
	}
	return nil
}

// HasName reports whether a server is given by a name, not by an address.
func (s Servers) HasName() bool { return slices.ContainsFunc(s, isName) }

// isName reports whether a host, with or without a port, is a name.
func isName(host string) bool {
	_, err := netip.ParseAddr(host)
	_, errPort := netip.ParseAddrPort(host)
	return err != nil && errPort != nil
}

// Members is a list of members of a cluster, each HOST:PORT.
type Members []string

// UnmarshalText accepts members separated by commas, or "off" for none.
func (m *Members) UnmarshalText(text []byte) error {
	*m = nil
	if string(text) == "off" {
		return nil
	}
	for member := range strings.SplitSeq(string(text), ",") {
		member = strings.TrimSpace(member)
		if a, err := parseAddress(member); err != nil || a.Host == "" {
			return fmt.Errorf("%q is not a member", member)
		}
		*m = append(*m, member)
	}
	return nil
}

// HasName reports whether a member is given by a name, not by an address.
func (m Members) HasName() bool { return slices.ContainsFunc(m, isName) }

// NodeName is the name of a member of a cluster.
type NodeName string

// UnmarshalText accepts a name, or "auto" for the host's name.
func (n *NodeName) UnmarshalText(text []byte) error {
	const longestName = 253 // as in DNS, and in Kubernetes for nodes
	if len(text) == 0 || len(text) > longestName || hasForbidden(string(text)) {
		return errors.New("no name")
	}
	*n = NodeName(text)
	if *n == "auto" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		*n = NodeName(host)
	}
	return nil
}

// XDP is the network interface whose driver answers: package xdp.
type XDP struct {
	Interface string `env:"-"` // empty for off
	Generic   bool   `env:"-"` // the kernel runs the program instead of the driver
}

// UnmarshalText accepts "INTERFACE", "INTERFACE,generic" and "off".
func (x *XDP) UnmarshalText(text []byte) error {
	*x = XDP{}
	if string(text) == "off" {
		return nil
	}
	name, mode, comma := strings.Cut(string(text), ",")
	if comma && mode != "generic" || name == "" || len(name) >= maxInterface || hasForbidden(name) {
		return errors.New("not an interface")
	}
	*x = XDP{name, comma}
	return nil
}

// String returns what UnmarshalText accepts.
func (x XDP) String() string {
	switch {
	case x.Interface == "":
		return "off"
	case x.Generic:
		return x.Interface + ",generic"
	}
	return x.Interface
}

// maxInterface is the size of the longest interface name, with its NUL: IFNAMSIZ of
// netdevice(7).
const maxInterface = 16
