package service

import (
	"testing"

	"nowd/config"
)

func TestLongestRunIsTheLimitOfASecondWithinBounds(t *testing.T) {
	for limit, want := range map[config.Limit]int{0: 1_000_000, 1: 2000, 100: 2000, 2000: 2000, 50_000: 50_000, 1e9: 1_000_000} {
		if got := longestRun(limit); got != want {
			t.Errorf("with a limit of %d: %d, want %d", limit, got, want)
		}
	}
}
