//go:build !linux

package clock

import "errors"

// StepWatch is not supported on this system.
type StepWatch struct{}

// WatchSteps returns errors.ErrUnsupported.
func WatchSteps() (*StepWatch, error) { return nil, errors.ErrUnsupported }

// FD returns -1.
func (*StepWatch) FD() int { return -1 }

// Stepped returns errors.ErrUnsupported.
func (*StepWatch) Stepped() (bool, error) { return false, errors.ErrUnsupported }

// Close does nothing.
func (*StepWatch) Close() error { return nil }
