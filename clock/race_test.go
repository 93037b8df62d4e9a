//go:build race

package clock

// states is how many states are simulated: fewer, since the race detector makes
// each of them thirty times as dear and has nothing to find here.
const states = 50_000
