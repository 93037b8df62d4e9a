// Package ntp knows the NTP packet of RFC 5905: its fields, its timestamps, and
// one exchange of a client with a server. The server in package answer and the
// clients in query and upstream share it.
//
// The arithmetic of a client and its checks of a response are those of
// github.com/beevik/ntp; Exchange is the only user of that library.
package ntp
