//go:build !race

package clock

// states is how many states are simulated.
const states = 1_000_000
