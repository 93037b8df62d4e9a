//go:build !linux

package clock

import "time"

// Host returns a kernel whose state is unknown: its error is ErrUnsupported.
func Host() Kernel { return host{} }

type host struct{}

func (host) State() (State, error) { return State{}, ErrUnsupported }

// hostRaw returns nil: no unsteered clock is known.
func hostRaw() func() time.Duration { return nil }
