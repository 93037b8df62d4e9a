//go:build !race

package tcp

// raceEnabled is whether the race detector is on.
const raceEnabled = false
