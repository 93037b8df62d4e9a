//go:build !linux

package clock

import "errors"

// StepWatch would announce the steps of the host's clock; this system's kernel does
// not.
type StepWatch struct{}

// WatchSteps returns errors.ErrUnsupported.
func WatchSteps() (*StepWatch, error) { return nil, errors.ErrUnsupported }

// FD returns no descriptor.
func (*StepWatch) FD() int { return -1 }

// Stepped reports no step.
func (*StepWatch) Stepped() (bool, error) { return false, errors.ErrUnsupported }

// Close does nothing.
func (*StepWatch) Close() error { return nil }
