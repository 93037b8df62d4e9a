//go:build linux && race

package e2e_test

// raceDetector says that the tests, and so the nowd that they test, have the race detector.
const raceDetector = true
