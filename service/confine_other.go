//go:build !linux

package service

// confine does nothing: its means exist on Linux only.
func (s *Service) confine() error { return nil }

func dropCapabilities(uint64) error { return nil }

// unprivilegedPorts returns 0: no port is low, since no capability is dropped.
func unprivilegedPorts() uint16 { return 0 }
