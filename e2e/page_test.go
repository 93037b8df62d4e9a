//go:build linux

package e2e_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

var shownTime = regexp.MustCompile(`<time id="time">([0-9:]{8})\.[0-9]</time>`)

// TestPageShowsTheTimeInABrowser has a real browser run the page, and checks the result.
func TestPageShowsTheTimeInABrowser(t *testing.T) {
	tool(t, "chromium")
	n := start(t)
	ask(t, "udp", n.udp, "hi")
	before := time.Now().UTC()
	page, said := browse(t, nil, "http://"+n.health+"/")
	// The browser's virtual time runs ahead by its budget.
	after := time.Now().UTC().Add(4 * time.Second)
	if said != "" {
		t.Errorf("the browser says: %s", said)
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
		t.Errorf("the page shows %s, want a time from %v to %v", found[1], before, after)
	}
	// Each second adds a point to each plot of the page.
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

// TestPageShowsTheLinks has two members of a cluster. One shows its measurement of the other.
func TestPageShowsTheLinks(t *testing.T) {
	t.Parallel()
	tool(t, "chromium")
	a, b := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	members := []string{"NOWD_PEERS=" + a + "," + b, "NOWD_PEERS_INTERVAL=2s"}
	start(t, append(members, "NOWD_NTP_LISTEN="+b)...)
	n := start(t, append(members, "NOWD_NTP_LISTEN="+a)...)
	n.awaitMetric(t, "nowd_peers_links", 1)
	page, said := browse(t, nil, "http://"+n.health+"/")
	_, section, found := strings.Cut(page, `<section class="wide" id="peers"><h2>Cluster members measured by this host <output>1 of 1 others</output>`)
	section, _, _ = strings.Cut(section, "</section>")
	if !found || !strings.Contains(section, `<td class="">`+b+`</td>`) || !strings.Contains(section, "ago</td>") || strings.Contains(section, "NaN") || said != "" {
		t.Errorf("the links are shown as %q; the browser says %q: %s", section, said, page)
	}

	alone := start(t)
	if status, body, err := alone.get("/metrics", patience); err != nil || status != http.StatusOK || strings.Contains(body, "nowd_peers") {
		t.Errorf("without NOWD_PEERS: %d, %v: %s", status, err, body)
	}
	if page, _ := browse(t, nil, "http://"+alone.health+"/"); !strings.Contains(page, `id="peers" hidden=""`) {
		t.Errorf("without NOWD_PEERS the page has links: %s", page)
	}
}

// browse has a browser run a page. It returns the resulting document, and the browser's messages.
func browse(t *testing.T, ns *namespace, url string, args ...string) (page, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + t.TempDir(), "--enable-logging=stderr", "--virtual-time-budget=3000"}, args...)
	cmd := exec.CommandContext(ctx, tool(t, "chromium"), append(args, "--dump-dom", url)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	on := nursery()
	if ns != nil {
		on = ns.thread
	}
	on.start(t, cmd)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	for line := range strings.Lines(errs.String()) {
		if strings.Contains(line, "CONSOLE") {
			said += line
		}
	}
	return out.String(), said
}
