//go:build !linux

package ntp

import (
	"errors"
	"net"
	"time"
)

const controlSize = 0

// enableTimestamps returns errors.ErrUnsupported: it is implemented for Linux only.
func enableTimestamps(*net.UDPConn) error { return errors.ErrUnsupported }

func timestamp([]byte) time.Time { return time.Time{} }
