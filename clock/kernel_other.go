//go:build !linux

package clock

import "time"

// Host returns a Kernel whose State returns ErrUnsupported.
func Host() Kernel { return host{} }

type host struct{}

func (host) State() (State, error) { return State{}, ErrUnsupported }

// hostRaw returns nil: there is no unsteered clock.
func hostRaw() func() time.Duration { return nil }
