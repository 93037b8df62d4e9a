//go:build race

package udp

// raceEnabled is whether the race detector is on.
const raceEnabled = true
