//go:build !linux

package cluster

// confine does nothing: Landlock exists on Linux only.
func (o *options) confine() error { return nil }
