package service

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"nowd/answer"
	"nowd/clock"
	"nowd/config"
	"nowd/socket"
	"nowd/udp"
	"nowd/xdp"
)

// TestWatchedDialectAnswersAsBefore: a watched dialect gives the same answers, and has
// kisses if the dialect has.
func TestWatchedDialectAnswersAsBefore(t *testing.T) {
	c := clock.New(clock.Config{})
	d := &driver{}
	d.awake.Store(true)
	now := time.Now()
	for _, dialect := range []udp.Dialect{answer.NewText(c, time.UTC, answer.DateTime, true), answer.NewNTP(c, 10, [4]byte{})} {
		w := d.watch(dialect)
		_, kisses := dialect.(udp.KissAppender)
		if _, still := w.(udp.KissAppender); still != kisses {
			t.Errorf("%T kisses: %v, and watched: %v", dialect, kisses, still)
		}
		req := append([]byte{4<<3 | 3}, make([]byte, 47)...)
		want, outcome := dialect.AppendDatagram(nil, req, len(req), now, now)
		d.noticed.Store(false)
		got, watched := w.AppendDatagram(nil, req, len(req), now, now)
		if string(got) != string(want) || watched != outcome || !d.noticed.Load() {
			t.Errorf("%T: %x, want %x; noticed: %v", dialect, got, want, d.noticed.Load())
		}
		if n := testing.AllocsPerRun(100, func() { w.AppendDatagram(got[:0], req, len(req), now, now) }); n > 0 {
			t.Errorf("%T: %v allocations", dialect, n)
		}
	}
}

func TestDriverAnswersTextOverUDPAndNTPAlone(t *testing.T) {
	for _, c := range []struct {
		network socket.Network
		dialect config.Dialect
		want    xdp.Protocol
	}{
		{socket.UDP, config.Text, xdp.Text},
		{socket.UDP, config.NTP, xdp.NTP},
		{socket.TCP, config.Text, 0},
		{socket.UDP, config.Daytime, 0},
		{socket.UDP, config.Time, 0},
		{socket.TCP, config.Health, 0},
	} {
		if got, ok := driverProtocol(config.Protocol{Network: c.network, Dialect: c.dialect}); got != c.want || ok != (c.want != 0) {
			t.Errorf("%+v: %v, %v", c, got, ok)
		}
	}
}

// TestErrorOfTheDriverNamesTheSetting: an interface that does not exist is a mistake in
// NOWD_XDP.
func TestErrorOfTheDriverNamesTheSetting(t *testing.T) {
	c, err := config.Load([]string{"NOWD_XDP=nosuchif0,generic"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(c, "test", slog.New(slog.DiscardHandler), noDrops{}); err == nil || !strings.HasPrefix(err.Error(), `NOWD_XDP="nosuchif0,generic": `) {
		t.Error(err)
	}
}

// TestDriverHasAShareOfTheLimitOfAll: the shares of the loops and of the driver add up to
// the limit.
func TestDriverHasAShareOfTheLimitOfAll(t *testing.T) {
	s := &Service{config: &config.Config{Loops: 3}}
	if s.sharers() != 3 {
		t.Errorf("%d share without a driver", s.sharers())
	}
	s.driver = &driver{}
	sum := 0
	for i := range s.sharers() {
		sum += share(1001, s.sharers(), i)
	}
	if s.sharers() != 4 || sum != 1001 {
		t.Errorf("%d share %d", s.sharers(), sum)
	}
}
