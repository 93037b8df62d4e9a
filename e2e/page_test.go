//go:build linux

package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

var shownTime = regexp.MustCompile(`<time id="time">([0-9:]{8})\.[0-9]</time>`)

// TestPageShowsTheTimeInABrowser has a real browser run the page, and looks at what it has made of it.
func TestPageShowsTheTimeInABrowser(t *testing.T) {
	browser := tool(t, "chromium")
	n := start(t)
	ask(t, "udp", n.udp, "hi")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(),
		"--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom", "http://"+n.health+"/")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	var errs strings.Builder
	cmd.Stderr = &errs
	before := time.Now().UTC()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	// The browser's time runs ahead by its budget.
	after := time.Now().UTC().Add(4 * time.Second)
	page := string(out)
	for _, line := range strings.Split(errs.String(), "\n") {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("the browser says: %s", line)
		}
	}
	found := shownTime.FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("no time in %s", page)
	}
	shown, err := time.Parse("2006-01-02 15:04:05", before.Format("2006-01-02 ")+found[1])
	if err != nil {
		t.Fatal(err)
	}
	if shown.Before(before.Add(-time.Second)) {
		shown = shown.AddDate(0, 0, 1) // midnight passed
	}
	if shown.After(after) {
		t.Errorf("it shows %s between %v and %v", found[1], before, after)
	}
	// Each second the page has one more point of each plot.
	for plot, want := range map[string]string{"rate": `<path class="line" d="M`, "error": `<path class="line" d="`} {
		_, section, _ := strings.Cut(page, `<section id="`+plot+`">`)
		section, _, _ = strings.Cut(section, "</section>")
		if !strings.Contains(section, want) || strings.Contains(section, "NaN") || strings.Contains(section, "Infinity") {
			t.Errorf("plot %s: %s", plot, section)
		}
	}
	for _, want := range []string{`<td class="">udp</td><td class="n">1</td>`, `<td class="good">OK</td>`, "loop 0", testVersion, "synced"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q: %s", want, page)
		}
	}
}
