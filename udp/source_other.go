//go:build !linux

package udp

// sourceControl returns nil: there are no senders to use it.
func sourceControl(fd int) ([]byte, error) { return nil, nil }
