//go:build race

package clock

// states is the number of simulated states. It is smaller here: with the race
// detector a state takes thirty times as long, and the simulation has no races to
// find.
const states = 50_000
