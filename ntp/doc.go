// Package ntp has the NTP packet of RFC 5905, its timestamps, and one exchange of a
// client with a server. The server in package answer and the clients in query and
// upstream share it.
//
// A client's arithmetic and checks are those of github.com/beevik/ntp. Only Exchange
// uses that library.
package ntp
