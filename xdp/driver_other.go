//go:build !linux

package xdp

import "errors"

// Driver is for Linux alone: Attach returns none.
type Driver struct{}

// Attach returns an error: only Linux has XDP.
func Attach(Config) (*Driver, error) { return nil, errors.New("only Linux has XDP") }

func (d *Driver) Refresh([]Endpoint) error { return nil }
func (d *Driver) Forget([]Endpoint)        {}
func (d *Driver) Monitor() int             { return -1 }
func (d *Driver) Changed() bool            { return false }
func (d *Driver) Attached() bool           { return false }
func (d *Driver) String() string           { return "" }
func (d *Driver) Stats(Protocol) Stats     { return Stats{} }
func (d *Driver) Stop()                    {}
