//go:build !linux

package service

// confine does nothing: what it takes is Linux's.
func (s *Service) confine() error { return nil }

func dropCapabilities(uint64) error { return nil }

// unprivilegedPorts returns 0: no right is given up, so none is needed.
func unprivilegedPorts() uint16 { return 0 }
