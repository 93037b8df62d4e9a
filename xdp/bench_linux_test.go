package xdp

import (
	"slices"
	"testing"
	"time"

	"nowd/answer"
)

// BenchmarkProgram measures a run of the program from its first instruction to its verdict.
// The kernel measures it with two readings of the clock. The system call between two runs
// uses some of the processor's caches. The program answers each request except "others",
// which is to another port.
func BenchmarkProgram(b *testing.B) {
	for name, frame := range map[string][]byte{
		"text/IPv4": ask(false, textPort, []byte("hi\n")), "text/IPv6": ask(true, textPort, []byte("hi\n")),
		"ntp/IPv4": ask(false, ntpPort, ntpRequest(4)), "ntp/IPv6": ask(true, ntpPort, ntpRequest(4)),
		"others": ask(false, 53, []byte("hi\n")),
	} {
		b.Run(name, func(b *testing.B) {
			h := newBench(b, answer.DateTime, func(c *Config) {
				c.Source, c.Total, c.LongestRun = Limit{1e9, 1e9}, Limit{1e9, 1e9}, 1e6
			})
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				if i%10_000 == 0 {
					h.refresh()
				}
				stale := h.stale()
				verdict, d, err := h.program.Benchmark(frame, 1, nil)
				if err != nil || (verdict == actionTX) == (name == "others") && h.stale() == stale {
					b.Fatal(verdict, err)
				}
				took = append(took, d)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
			b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
			b.ReportMetric(0, "ns/op") // it would include the system call
		})
	}
}
