package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func shown() ([]Result, Verdict) {
	at := func(name string, offset time.Duration) Result {
		return Result{&Host{Name: name, Proto: "udp"}, Answer{
			Reading:   Reading{Time: moment.Add(offset), Precision: 1, Sync: Synced, HasBound: true, Bound: time.Millisecond},
			RoundTrip: 200 * time.Microsecond, Offset: offset, Error: 100 * time.Microsecond,
		}, nil}
	}
	results := []Result{at("a", 0), at("b", time.Millisecond), at("c", 200*time.Millisecond),
		{Host: &Host{Name: "d", Proto: "udp"}, Err: errors.New("d: no answer within 1s")},
		{Host: &Host{Name: "e", Proto: "udp"}, Answer: Answer{Text: "noon\x1b[2J"}}}
	return results, Compare(results)
}

func TestTableShowsEachHostTheirMutualOffsetsAndTheVerdict(t *testing.T) {
	var out bytes.Buffer
	results, v := shown()
	writeTable(&out, results, v)
	const want = `#  host  time                            round trip  offset                 bound       status
1  a     2026-11-21T01:17:42.813729123Z  200µs       +0.000000s ±0.000100s  ±0.001000s  synced
2  b     2026-11-21T01:17:42.814729123Z  200µs       +0.001000s ±0.000100s  ±0.001000s  synced
3  c     2026-11-21T01:17:43.013729123Z  200µs       +0.200000s ±0.000100s  ±0.001000s  synced
4  d     -                               -           -                      -           no answer
5  e     "noon\x1b[2J"                   0s          -                      -           -

# ahead of  1           2           3           4  5
1           -           -0.001000s  -0.200000s  -  -
2           +0.001000s  -           -0.199000s  -  -
3           +0.200000s  +0.199000s  -           -  -
4           -           -           -           -  -
5           -           -           -           -  -

no answer: d: no answer within 1s
cannot be compared: e
disagrees: c, +0.199500s from the majority
`
	if out.String() != want {
		t.Errorf("shown\n%s\nwant\n%s", out.String(), want)
	}
}

func TestWithoutAMajorityTheVerdictNamesAllThatDisagree(t *testing.T) {
	results, _ := shown()
	results = []Result{results[0], results[2]}
	var out bytes.Buffer
	writeTable(&out, results, Compare(results))
	if want := "\ndisagrees: a, and there is no majority\ndisagrees: c, and there is no majority\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("shown\n%s", out.String())
	}
	out.Reset()
	results[1] = results[0]
	writeTable(&out, results, Compare(results))
	if !strings.HasSuffix(out.String(), "\nagree: 2 of 2\n") {
		t.Errorf("shown\n%s", out.String())
	}
}

// Every line of a type has the same fields.
func TestJSONHasEveryFieldInEveryLine(t *testing.T) {
	fields := map[string][]string{
		"answer": {"answer", "bound_ns", "error", "host", "leap", "offset_error_ns", "offset_ns", "proto", "round", "round_trip_ns",
			"status", "stratum", "time", "type", "unix_ns"},
		"comparison": {"agree", "ahead_ns", "disagree", "hosts", "majority", "no_answer", "not_comparable", "round", "type"},
		"summary": {"answered", "asked", "disagreed", "host", "offset_error_ns", "offset_max_ns", "offset_min_ns", "offset_ns", "proto",
			"round_trip_max_ns", "round_trip_min_ns", "status", "type"},
	}
	var out bytes.Buffer
	results, v := shown()
	writeJSON(&out, 7, results, v)
	(&tally{Host: results[0].Host}).writeJSON(&out)
	var lines []map[string]any
	for line := range strings.Lines(out.String()) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		kind, _ := l["type"].(string)
		if got := slices.Sorted(maps.Keys(l)); !slices.Equal(got, fields[kind]) {
			t.Errorf("%s has %q", kind, got)
		}
		lines = append(lines, l)
	}
	if len(lines) != 7 {
		t.Fatalf("%d lines", len(lines))
	}
	c, comparison := lines[2], lines[5]
	if c["host"] != "c" || c["round"] != 7. || c["offset_ns"] != 2e8 || c["offset_error_ns"] != 1e5 || c["bound_ns"] != 1e6 ||
		c["status"] != "synced" || c["time"] != "2026-11-21T01:17:43.013729123Z" || c["error"] != nil || c["stratum"] != nil {
		t.Errorf("%v", c)
	}
	if d := lines[3]; d["error"] != "d: no answer within 1s" || d["offset_ns"] != nil || d["round_trip_ns"] != nil {
		t.Errorf("%v", d)
	}
	if e := lines[4]; e["answer"] != "noon\x1b[2J" || e["time"] != nil || e["unix_ns"] != nil {
		t.Errorf("%v", e)
	}
	if got, _ := comparison["disagree"].([]any); comparison["agree"] != false || len(got) != 1 || got[0] != "c" {
		t.Errorf("%v", comparison)
	}
}

func TestJSONIsSafeForTerminals(t *testing.T) {
	text := "\x00\x1b\x7f\u0080\u009b31m\u2028\u202e\ufeff\U000e0001é<>&\"\\"
	var out bytes.Buffer
	writeJSON(&out, 1, []Result{{&Host{Name: "a"}, Answer{Text: text}, nil}}, Verdict{})
	if !regexp.MustCompile(`^[ -~é]*\n$`).Match(out.Bytes()) {
		t.Errorf("%q", out.String())
	}
	var l answerLine
	if err := json.Unmarshal(out.Bytes(), &l); err != nil || *l.Answer != text {
		t.Errorf("%v, %q", err, *l.Answer)
	}
}

func TestOffsetBelowAMicrosecondHasNoMinus(t *testing.T) {
	if got := formatSeconds("%+.6f", -400); got != "+0.000000s" {
		t.Errorf("-400 ns is %s, want +0.000000s", got)
	}
}
