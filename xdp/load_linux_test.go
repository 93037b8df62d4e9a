package xdp

import "testing"

func TestLoads(t *testing.T) {
	r := &rules{textPort: 3333, ntpPort: 123, ownPorts: []uint16{3333, 123}, before: 20, digits: 9, source: limit{500_000, 1e9}, total: limit{1000, 1e6}, cpus: 2}
	l, err := load(r)
	if err != nil {
		t.Fatalf("%+.30v", err)
	}
	l.close()
}
