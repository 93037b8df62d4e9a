//go:build linux

package e2e_test

import (
	"testing"
	"time"
)

// These clients are slow: they connect, ask later, end no line, and ask again.
func TestClientsThatTakeTheirTimeAreAnswered(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 s")
	}
	t.Parallel()
	const pause = 5 * time.Second
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := start(t, c.env...)
			for _, network := range []string{"udp", "tcp"} {
				t.Run(network, func(t *testing.T) {
					t.Parallel()
					conn := dial(t, network, n.at(network))
					for range 2 {
						time.Sleep(pause)
						answer, s := askOn(t, conn, "hello sock")
						if err := verify("datetime", answer, time.UTC, s); err != nil {
							t.Error(err)
						}
					}
				})
			}
		})
	}
}
