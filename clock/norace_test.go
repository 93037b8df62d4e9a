//go:build !race

package clock

// states is the number of simulated states.
const states = 1_000_000
