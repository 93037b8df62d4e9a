//go:build linux

package faults_test

import (
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// table is a table that the tests print at the end. Several goroutines may add rows.
type table[R any] struct {
	sync.Mutex
	rows []R
}

func (ta *table[R]) add(r R) {
	ta.Lock()
	defer ta.Unlock()
	ta.rows = append(ta.rows, r)
}

var (
	faultTable  table[row]
	attackTable table[attackRow]
)

// row has the results of a fault for nowd and its clients.
type row struct {
	fault            string
	held             float64 // answers per second to honest clients
	owed, lost       int64
	udp, tcp, p99New time.Duration
	control          time.Duration
	cpu              float64 // share of a core
	growth           int     // bytes
	note             string
}

// remark adds to the note of the last row.
func remark(what string) {
	faultTable.Lock()
	defer faultTable.Unlock()
	if n := len(faultTable.rows); n > 0 {
		faultTable.rows[n-1].note += "; " + what
	}
}

func printFaults(w io.Writer) {
	faultTable.Lock()
	defer faultTable.Unlock()
	if len(faultTable.rows) == 0 {
		return
	}
	ms := func(d time.Duration) string {
		if d == 0 {
			return "-"
		}
		return fmt.Sprintf("%.1f", float64(d)/1e6)
	}
	const line = "%-28s %9s %9s %5s %8s %8s %8s %8s %6s %8s  %s\n"
	fmt.Fprintf(w, "\n"+line, "", "answers/s", "answers", "", "p99, ms:", "", "new", "", "CPU,", "growth,", "")
	fmt.Fprintf(w, line, "fault", "held", "owed", "lost", "UDP", "TCP", "TCP", "echo", "%", "KiB", "")
	for _, r := range faultTable.rows {
		fmt.Fprintf(w, line, r.fault, fmt.Sprintf("%.0f", r.held), fmt.Sprint(r.owed), fmt.Sprint(r.lost),
			ms(r.udp), ms(r.tcp), ms(r.p99New), ms(r.control), fmt.Sprintf("%.0f", 100*r.cpu), fmt.Sprint(r.growth>>10), r.note)
	}
}

// attackRow is the cost of an attack to the attacker, to honest clients, and to nowd.
type attackRow struct {
	attack string
	cost   string  // to the attacker
	honest string  // share of the honest clients' requests that were answered
	memory int     // bytes at the peak above those before the attack: nowd's, and the kernel's for its sockets
	cpu    float64 // share of a core
	growth int     // bytes that nowd has after the second round above those after the first
	test   string
}

// newAttackRow returns the row of an attack from its rounds.
func newAttackRow(t *testing.T, f fault, rounds []*observation) attackRow {
	t.Helper()
	r := attackRow{attack: f.name}
	r.test, _, _ = strings.Cut(t.Name(), "/")
	var e expense
	var took, cpu time.Duration
	var overflows float64
	for _, o := range rounds {
		e.add(&o.tally.cost)
		took += o.took
		cpu += o.cpu
		r.memory = max(r.memory, o.memory)
		overflows += o.after.metrics["nowd_receive_overflows_total"] - o.before.metrics["nowd_receive_overflows_total"]
	}
	r.cpu = float64(cpu) / float64(took)
	r.cost = e.perSecond(took)
	if f.once {
		r.cost = e.each(len(rounds))
	}
	var honest []string
	for _, o := range together(rounds) {
		kind := map[string]string{"udp": "UDP", "tcp": "TCP", "new": "new TCP"}[o.Kind]
		honest = append(honest, fmt.Sprintf("%s %s of %s", kind, grouped(o.Answered), grouped(o.Tries)))
	}
	if overflows > 0 {
		honest = append(honest, fmt.Sprintf("the full receive buffer dropped %s datagrams of all", grouped(int(overflows))))
	}
	last := rounds[len(rounds)-1]
	r.honest = strings.Join(append(honest, last.tally.remarks...), "; ")
	if first := rounds[0]; first != last {
		r.growth = last.after.resident - first.after.resident
	}
	return r
}

// attackColumns are the columns of the table of attacks.
const attackColumns = "| attack | costs the attacker | honest clients: answered | memory at most, KiB | CPU, % of a core | growth, KiB | test |\n|---|---|---|--:|--:|--:|---|\n"

// printAttacks prints the attacks in the format of SECURITY.md.
func printAttacks(w io.Writer) {
	attackTable.Lock()
	defer attackTable.Unlock()
	if len(attackTable.rows) == 0 {
		return
	}
	fmt.Fprint(w, "\n"+attackColumns)
	for _, r := range attackTable.rows {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %.0f | %s | `%s` |\n",
			r.attack, r.cost, r.honest, grouped(r.memory>>10), 100*r.cpu, grouped(r.growth>>10), r.test)
	}
}

// undocumented returns the attacks that are missing in SECURITY.md's table, with their tests.
func undocumented(security string) (names []string) {
	attackTable.Lock()
	defer attackTable.Unlock()
	for _, r := range attackTable.rows {
		row := regexp.MustCompile("(?m)^" + regexp.QuoteMeta("| "+r.attack+" | ") + ".*" + regexp.QuoteMeta(" | `"+r.test+"` |") + "$")
		if !row.MatchString(security) {
			names = append(names, r.attack)
		}
	}
	return names
}

// grouped returns n in decimal, with a comma before every three digits.
func grouped(n int) string {
	if n < 0 {
		return "-" + grouped(-n)
	}
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
