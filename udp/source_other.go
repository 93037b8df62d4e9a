//go:build !linux

package udp

// sourceControl returns nil: replacement sockets exist only on Linux.
func sourceControl(fd int) ([]byte, error) { return nil, nil }
