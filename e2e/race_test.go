//go:build linux && race

package e2e_test

// raceDetector reports whether the tests, and so the nowd under test, have the race detector.
const raceDetector = true
