//go:build race

package health

// raceEnabled is whether the race detector is on.
const raceEnabled = true
