package tcp

import (
	"strings"
	"testing"
)

// TestConnectionsOverTheBudgetAreReset: of many clients that send half a head, the server
// resets the oldest. An honest client is answered throughout.
func TestConnectionsOverTheBudgetAreReset(t *testing.T) {
	const budget, size = 256 << 10, 6 << 10
	s := start(t, func(c *Config) { c.Budget = budget })
	honest := s.dial(t)
	for range 100 {
		s.dial(t).send("GET / HTTP/1.1\r\nX: " + strings.Repeat("x", size))
		honest.nothingElse()
	}
	eventually(t, "too few connections were reset", func() bool { return s.config.Counters.Stats().OverBudget >= 100-budget/size })
	s.do(func() {
		if s.charges.total > budget || s.lists[partialHead].len == 0 {
			t.Errorf("%d bytes are charged for %d partial heads, want at most %d for at least 1", s.charges.total, s.lists[partialHead].len, budget)
		}
	})
	honest.nothingElse()
}

func TestMemoryFigureMatchesTheDocuments(t *testing.T) {
	if ConnMemory != 14848 || MaxMemory(4000, 1, 1) != 12<<20+4500*14848+8<<20 {
		t.Errorf("ConnMemory %d, MaxMemory for 4000 connections %d: update the documents", ConnMemory, MaxMemory(4000, 1, 1))
	}
	if ServerBudget(4) != Budget/4 || ServerBudget(1000) != minServerBudget {
		t.Errorf("budgets of 4 and 1000 servers: %d, %d", ServerBudget(4), ServerBudget(1000))
	}
}
