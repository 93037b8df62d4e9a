package answer

import (
	"fmt"
	"testing"
	"time"

	"nowd/clock"
	"nowd/ntp"
)

func TestLayoutGivesTheDefaultAnswersOfItsSecond(t *testing.T) {
	for _, name := range []string{"UTC", "Asia/Kolkata", "Europe/London", "America/St_Johns"} {
		for _, form := range TextForms() {
			for _, newline := range []bool{true, false} {
				f := &fake{}
				text := f.text(zone(t, name), form)
				text.newline = newline
				for _, at := range moments() {
					l, ok := text.Layout(at)
					if want := form != Bound && form != JSON && form != Help && at.Unix() >= 1e9 && at.Year() < 2255; ok != want {
						t.Errorf("%v at %v: ok is %v, want %v", form, at, ok, want)
					}
					if !ok {
						continue
					}
					fraction := fmt.Sprintf("%09d", at.Nanosecond())[:l.Digits]
					got := string(l.Before) + fraction + string(l.After)
					want, outcome := text.AppendDatagram(nil, []byte("???"), 3, at, at)
					if got != string(want) || outcome != Answered(form) {
						t.Errorf("%v at %v: %q, want %q", form, at, got, want)
					}
				}
			}
		}
	}
}

func TestHeaderMatchesLaterAnswers(t *testing.T) {
	for name, f := range map[string]*fake{
		"synced":   {now: moment, state: clock.State{MaxError: 3 * time.Millisecond, Leap: clock.LeapInsert}},
		"unsynced": {now: moment, state: clock.State{MaxError: clock.MaxErrorLimit}},
		"unknown":  {now: moment, err: clock.ErrUnsupported},
	} {
		n := f.ntp()
		if name == "synced" {
			n.clock.SetMeasurement(clock.Measurement{At: moment, Offset: time.Millisecond, Bound: time.Millisecond, Life: time.Hour, Stratum: 2, RootDelay: time.Millisecond})
		}
		p, growth := n.Header(moment)
		for _, later := range []time.Duration{0, 1, time.Second / 3, time.Second - 1} {
			now := moment.Add(later)
			b, _ := n.AppendDatagram(nil, client(4), ntp.HeaderSize, now, now)
			want, _ := ntp.Parse(b)
			got := p
			got.RootDispersion = max(1, ntp.ShortOf(growth.Error(now)))
			got.Version, got.Poll, got.Origin, got.Receive, got.Transmit = want.Version, want.Poll, want.Origin, want.Receive, want.Transmit
			if got != want {
				t.Errorf("%s, %v later: %+v, want %+v", name, later, got, want)
			}
		}
	}
}
