package cluster

import (
	"encoding/json"
	"io"
	"time"
)

// The types of the JSON output, one line per report. Every field is present; unknown values
// are null.

type reportLine struct {
	Version    int            `json:"version"`
	Time       string         `json:"time"` // when the round began, by this host's clock
	OK         bool           `json:"ok"`   // whether there are no problems
	Most       *time.Duration `json:"skew_max_ns"`
	Least      *time.Duration `json:"skew_min_ns"`
	Detects    *time.Duration `json:"detects_ns"`
	Threshold  time.Duration  `json:"threshold_ns"`
	Tie        bool           `json:"tie"`
	BoundTie   bool           `json:"bound_tie"`
	Partitions [][]string     `json:"partitions"`
	Nodes      []nodeLine     `json:"nodes"`
	Cycles     []cycleLine    `json:"inconsistent"`
	Problems   []problemLine  `json:"problems"`
}

type nodeLine struct {
	Name           string         `json:"node"`
	Address        string         `json:"address"`
	Error          *string        `json:"error"`
	Verdicts       []string       `json:"verdicts"`
	OffsetMin      *time.Duration `json:"offset_min_ns"` // from the majority's clock
	OffsetMax      *time.Duration `json:"offset_max_ns"`
	Partition      *int           `json:"partition"` // index into partitions
	Synced         *bool          `json:"synced"`
	Bound          *time.Duration `json:"bound_ns"`
	Contradicts    int            `json:"contradicts"`
	Disputes       int            `json:"bound_contradicts"`
	Witnesses      []witnessLine  `json:"witnesses"`
	BoundWitnesses []witnessLine  `json:"bound_witnesses"`
}

type witnessLine struct {
	Node      string        `json:"node"`
	By        string        `json:"measured_by"`
	OffsetMin time.Duration `json:"offset_min_ns"` // of the reported node's clock from the witness's
	OffsetMax time.Duration `json:"offset_max_ns"`
}

type cycleLine struct {
	Nodes []string      `json:"nodes"`
	By    time.Duration `json:"by_ns"`
}

type problemLine struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// known returns a pointer to v if ok, and otherwise nil, which is null in JSON.
func known[T any](v T, ok bool) *T {
	if !ok {
		return nil
	}
	return &v
}

// reportVersion is the version of the line. It changes when a field is removed or changes its
// meaning.
const reportVersion = 1

// writeJSON writes a report as one line of JSON. In the names of members it escapes only what
// encoding/json does.
func writeJSON(w io.Writer, r *Report) {
	name := func(i int) string { return r.Nodes[i].Name }
	names := func(of []int) []string {
		list := []string{}
		for _, i := range of {
			list = append(list, name(i))
		}
		return list
	}
	connected := len(r.Partitions) > 0
	l := reportLine{
		Version: reportVersion, Time: r.Asked.UTC().Format(time.RFC3339Nano), OK: len(r.Problems) == 0,
		Most: known(r.Most, connected), Least: known(r.Least, connected), Detects: known(r.Detects, r.Detects > 0), Threshold: r.Threshold,
		Tie: r.Tie, BoundTie: r.BoundTie,
		Partitions: [][]string{}, Nodes: []nodeLine{}, Cycles: []cycleLine{}, Problems: []problemLine{},
	}
	for _, group := range r.Partitions {
		l.Partitions = append(l.Partitions, names(group))
	}
	witnesses := func(of []Witness) []witnessLine {
		list := []witnessLine{}
		for _, v := range of {
			list = append(list, witnessLine{name(v.Node), name(v.By), v.Offset.Low, v.Offset.High})
		}
		return list
	}
	for i := range r.Nodes {
		n := &r.Nodes[i]
		one := nodeLine{
			Name: n.Name, Address: n.Address, Error: known(n.Error, n.Error != ""), Verdicts: []string{},
			OffsetMin: known(n.Offset.Low, n.Measured), OffsetMax: known(n.Offset.High, n.Measured), Partition: known(n.Group, n.Measured),
			Synced: known(n.Synced, n.Error == ""), Bound: known(n.Bound, n.HasBound),
			Contradicts: n.Contradicts, Disputes: n.Disputes, Witnesses: witnesses(n.Witnesses), BoundWitnesses: witnesses(n.BoundWitnesses),
		}
		for _, v := range n.Verdicts {
			one.Verdicts = append(one.Verdicts, v.String())
		}
		l.Nodes = append(l.Nodes, one)
	}
	for _, c := range r.Cycles {
		l.Cycles = append(l.Cycles, cycleLine{names(c.Nodes), c.By})
	}
	for _, p := range r.Problems {
		l.Problems = append(l.Problems, problemLine(p))
	}
	_ = json.NewEncoder(w).Encode(l) // there is nowhere to report an error of standard output
}
