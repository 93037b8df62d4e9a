package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"nowd/clock"
	"nowd/skew"
)

// Report is what one round proves about a cluster.
type Report struct {
	Asked time.Time // when the round began, by this host's clock
	Nodes []Node    // sorted by name
	// Most is an upper bound on the difference between any two clocks that measurements
	// connect. Least is a lower bound on the difference between the two clocks that
	// differ most.
	Most, Least time.Duration
	// Detects is an upper bound on the offset of a wrong clock, from all right ones, that
	// is not named, if the right ones are a majority. It is 0 if no group of connected
	// nodes is a majority.
	Detects    time.Duration
	Threshold  time.Duration
	Partitions [][]int // groups of connected nodes, the largest first; one if there is no problem
	Tie        bool    // clocks contradict each other, and no majority can be right
	BoundTie   bool    // claimed bounds contradict each other, and no majority can be right
	Cycles     []Cycle
	Problems   []Problem
}

// Node is a member of the cluster.
type Node struct {
	Name     string
	Address  string // at which others measure it
	Error    string // why it has no document; empty if it has one
	Verdicts []Verdict

	Measured bool // measurements connect it with another node
	// Offset is the offset of its clock from the majority's, the median of its group. It
	// is unknown if the node is not Measured.
	Offset clock.Interval
	Group  int // index into Partitions, if the node is Measured

	Synced   bool
	HasBound bool
	Bound    time.Duration // the error bound that it claims, if HasBound

	Contradicts int // clocks from which its own provably differs by more than the threshold
	Disputes    int // nodes whose claimed bounds contradict its own

	Witnesses      []Witness // single measurements that contradict its clock
	BoundWitnesses []Witness // single measurements that contradict its bound
}

// Witness is a measurement between a node and another.
type Witness struct {
	Node   int            // the other node
	By     int            // the node that measured: one of the two
	Offset clock.Interval // of the node's clock from the other's, at the time of the measurement
}

// Verdict is a finding about a node.
type Verdict uint8

const (
	OK         Verdict = iota
	Wrong              // its clock contradicts more than half of the others
	BoundFalse         // its claimed bound contradicts those of more than half of the others
	Disputed           // it contradicts another node, and neither is named
	Unmeasured         // no measurement connects it with another node
	Missing            // it has no document
)

var verdictNames = [...]string{"ok", "wrong", "bound_false", "disputed", "unmeasured", "missing"}

// String returns the name of the verdict in JSON.
func (v Verdict) String() string { return verdictNames[v] }

// Cycle is a cycle of measurements that cannot all be true.
type Cycle struct {
	Nodes []int
	By    time.Duration // the least total error of the measurements
}

// Problem is a reason for the exit status 1.
type Problem struct {
	Kind string // the name of a Verdict, or one of the kinds below
	Text string
}

// The kinds of problems of the cluster as a whole.
const (
	skewProblem         = "skew"         // two clocks may differ by more than -max-skew
	partitionProblem    = "partition"    // no measurement connects groups of nodes
	inconsistentProblem = "inconsistent" // measurements cannot all be true
	strayProblem        = "stray"        // a document is not used
	lookupProblem       = "lookup"       // a target cannot be resolved
)

// Has reports whether the node has a verdict.
func (n *Node) Has(v Verdict) bool { return slices.Contains(n.Verdicts, v) }

// newReport returns what an assembly proves.
func newReport(a *assembly, asked time.Time, maxSkew time.Duration) *Report {
	proof := skew.Prove(a.cluster)
	r := &Report{
		Asked: asked, Most: proof.Most, Least: proof.Least, Detects: proof.Detects, Threshold: a.cluster.Threshold,
		Partitions: proof.Groups, Tie: proof.Tie, BoundTie: proof.BoundTie,
	}
	wrong, boundFalse := 0, 0
	for _, v := range proof.Clocks {
		if v.Wrong {
			wrong++
		}
		if v.BoundFalse {
			boundFalse++
		}
	}
	for i, n := range a.nodes {
		v := proof.Clocks[i]
		one := Node{
			Name: n.name, Address: n.addresses[0].String(), Measured: v.Measured(), Offset: v.Offset, Group: v.Group,
			Contradicts: v.Contradicts, Disputes: v.BoundDisputes,
			Witnesses: a.witnesses(i, v.Witnesses), BoundWitnesses: a.witnesses(i, v.BoundWitnesses),
		}
		switch {
		case n.response == nil:
			one.Error = "not asked: its address is none of the TARGETs'"
		case n.document == nil:
			one.Error = n.err.Error()
		default:
			claim := claimOf(n.document.Claim)
			one.Synced, one.HasBound, one.Bound = n.document.Claim.Synced, claim.Known, claim.Bound
		}
		one.judge(&v, wrong, boundFalse)
		r.Nodes = append(r.Nodes, one)
	}
	for _, c := range proof.Inconsistent {
		r.Cycles = append(r.Cycles, Cycle{c.Clocks, c.By})
	}
	r.findProblems(a, maxSkew)
	return r
}

// judge sets the verdicts on a node. wrong and boundFalse are the numbers of nodes with these
// verdicts in the cluster.
func (n *Node) judge(v *skew.Verdict, wrong, boundFalse int) {
	add := func(verdict Verdict, so bool) {
		if so {
			n.Verdicts = append(n.Verdicts, verdict)
		}
	}
	add(Missing, n.Error != "")
	add(Unmeasured, n.Error == "" && !n.Measured)
	add(Wrong, v.Wrong)
	add(BoundFalse, v.BoundFalse)
	add(Disputed, !v.Wrong && v.Contradicts > wrong || !v.BoundFalse && v.BoundDisputes > boundFalse)
	add(OK, len(n.Verdicts) == 0)
}

// witnesses returns the measurements of node i that links lists, the most precise first.
func (a *assembly) witnesses(i int, links []int) (all []Witness) {
	for _, k := range links {
		l := a.cluster.Links[k]
		w := Witness{Node: l.From, By: l.From, Offset: l.Offset}
		if l.From == i {
			w.Node, w.Offset = l.To, l.Offset.Negated()
		}
		all = append(all, w)
	}
	slices.SortStableFunc(all, func(v, w Witness) int {
		return int(min(max((v.Offset.High-v.Offset.Low)-(w.Offset.High-w.Offset.Low), -1), 1))
	})
	return all
}

// findProblems sets the problems. maxSkew is the limit on the skew; 0 is no limit.
func (r *Report) findProblems(a *assembly, maxSkew time.Duration) {
	add := func(kind, format string, args ...any) {
		r.Problems = append(r.Problems, Problem{kind, fmt.Sprintf(format, args...)})
	}
	var disputed []string
	for i := range r.Nodes {
		n := &r.Nodes[i]
		if n.Has(Wrong) {
			add(Wrong.String(), "%s, %s from the majority; contradicted by %d of %d others%s", n.Name, formatOffset(n.Offset), n.Contradicts, len(r.Nodes)-1, r.testimony(n.Witnesses))
		}
		if n.Has(BoundFalse) {
			add(BoundFalse.String(), "%s claims %s; contradicted by the bounds of %d others%s", n.Name, n.formatBound(), n.Disputes, r.testimony(n.BoundWitnesses))
		}
		if n.Has(Missing) {
			add(Missing.String(), "%s: %s", n.Name, n.Error)
		}
		if n.Has(Unmeasured) {
			add(Unmeasured.String(), "%s: no measurement connects it with another node", n.Name)
		}
		if n.Has(Disputed) {
			disputed = append(disputed, n.Name)
		}
	}
	switch {
	case len(disputed) == 0:
	case r.Tie || r.BoundTie:
		add(Disputed.String(), "a tie: no majority can be right, so no node is named: %s", list(disputed))
	default:
		add(Disputed.String(), "these nodes contradict others, but not more than half of them, so none is named: %s", list(disputed))
	}
	if len(r.Partitions) > 1 {
		var sizes []string
		for _, group := range r.Partitions {
			sizes = append(sizes, fmt.Sprint(len(group)))
		}
		add(partitionProblem, "no measurement connects %d groups of nodes, of %s", len(r.Partitions), strings.Join(sizes, ", "))
	}
	for k, c := range r.Cycles {
		if k == maxListed {
			add(inconsistentProblem, "%d more cycles of measurements", len(r.Cycles)-k)
			break
		}
		var names []string
		for _, i := range c.Nodes {
			names = append(names, r.Nodes[i].Name)
		}
		add(inconsistentProblem, "the measurements between %s contradict each other by %s; at least one is false", list(names), formatSeconds("%.6f", c.By))
	}
	for _, s := range a.strays {
		add(strayProblem, "the document of %s, named %s, is not used: none of its addresses is its own", s.from, s.document.Node)
	}
	if maxSkew > 0 && r.Most > maxSkew {
		add(skewProblem, "two clocks may differ by %s, more than %s", formatSeconds("%.6f", r.Most), formatSeconds("%.6f", maxSkew))
	}
	if len(r.Nodes) == 0 {
		add(Missing.String(), "the cluster has no members")
	}
}

// maxListed is an upper bound on the witnesses, cycles or groups in a text. The others are
// counted.
const maxListed = 5

// testimony returns the evidence of a verdict as text: its witnesses.
func (r *Report) testimony(witnesses []Witness) string {
	if len(witnesses) == 0 {
		return ", by chains of measurements"
	}
	var parts []string
	for k, w := range witnesses {
		if k == maxListed {
			parts = append(parts, fmt.Sprintf("%d more", len(witnesses)-k))
			break
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", r.Nodes[w.Node].Name, formatOffset(w.Offset)))
	}
	return ", measured against " + strings.Join(parts, ", ")
}

// list joins up to ten names, and counts the others.
func list(names []string) string {
	const most = 10
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
