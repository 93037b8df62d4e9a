//go:build !linux

package cluster

// confine does nothing: what it takes is Linux's.
func (o *options) confine() error { return nil }
