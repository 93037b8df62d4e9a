package health

import (
	"encoding/json"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"nowd/peers"
	"nowd/reactor"
)

type document peers.Document

func (d *document) Document() *peers.Document { return (*peers.Document)(d) }

func TestLinksAreInMetricsAndStatus(t *testing.T) {
	bound := 2 * time.Millisecond
	d := &document{Node: "worker-3", Members: make([]netip.AddrPort, 5)}
	m := metrics(t)
	m.SetPeers(d)
	h := Handler(NewLoops(time.Second, []*reactor.Loop{}), nil, m, slog.New(slog.DiscardHandler))
	_, body := get(t, h, "GET", "/metrics")
	if !strings.Contains(body, "\nnowd_peers_links 0\n") || strings.Contains(body, "nowd_peers_oldest") || strings.Contains(body, "nowd_peers_link_offset") {
		t.Errorf("without links:\n%s", body)
	}

	d.Links = []peers.Link{
		{Member: netip.MustParseAddrPort("10.0.0.1:10123"), OffsetMin: -3e6, OffsetMax: 1e6, Age: 5 * time.Second, Claim: peers.Claim{Synced: true, Bound: &bound}},
		{Member: netip.MustParseAddrPort("10.0.0.2:10123"), OffsetMin: -1e6, OffsetMax: 2e6, Age: 15 * time.Second},
	}
	h = Handler(NewLoops(time.Second, []*reactor.Loop{}), nil, m, slog.New(slog.DiscardHandler)) // a new one: an answer to /metrics is reused for a second
	_, body = get(t, h, "GET", "/metrics")
	for _, want := range []string{"\nnowd_peers_links 2\n", "\nnowd_peers_oldest_link_age_seconds 15\n", "\nnowd_peers_link_offset_max_seconds 0.003\n"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
	if strings.Contains(body, "10.0.0.1") {
		t.Error("there is a series for each link, so the cluster has too many series")
	}
	_, body = get(t, h, "GET", "/status")
	var s status
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatal(err)
	}
	if p := s.Peers; p == nil || p.Node != "worker-3" || p.Members != 5 || len(p.Links) != 2 || *p.Links[0].BoundNS != 2e6 || p.Links[1].BoundNS != nil || p.Links[1].AgeNS != 15e9 {
		t.Error(body)
	}
}

func TestWithoutPeersThereAreNoLinks(t *testing.T) {
	h := Handler(NewLoops(time.Second, []*reactor.Loop{}), nil, metrics(t), slog.New(slog.DiscardHandler))
	if _, body := get(t, h, "GET", "/metrics"); strings.Contains(body, "nowd_peers") {
		t.Error(body)
	}
	if _, body := get(t, h, "GET", "/status"); !strings.Contains(body, `"peers":null`) {
		t.Error(body)
	}
}
