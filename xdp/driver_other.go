//go:build !linux

package xdp

import "errors"

// Driver exists only on Linux.
type Driver struct{}

// Attach returns an error on this system.
func Attach(Config) (*Driver, error) { return nil, errors.New("XDP requires Linux") }

func (d *Driver) Refresh([]Endpoint) error { return nil }
func (d *Driver) Forget([]Endpoint)        {}
func (d *Driver) Monitor() int             { return -1 }
func (d *Driver) Changed() bool            { return false }
func (d *Driver) Attached() bool           { return false }
func (d *Driver) String() string           { return "" }
func (d *Driver) Stats(Protocol) Stats     { return Stats{} }
func (d *Driver) Stop()                    {}
