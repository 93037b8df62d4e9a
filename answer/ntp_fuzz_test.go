package answer

import (
	"bytes"
	"testing"
	"time"

	"nowd/clock"
	"nowd/ntp"
)

func FuzzNTPRequest(f *testing.F) {
	f.Add(client(4), int64(0), int64(0))
	f.Add(client(1), int64(2085978496), int64(-1))
	f.Add(append(client(3), make([]byte, 20)...), int64(-1), int64(1e9))
	f.Add(bytes.Repeat([]byte{0x24}, 48), int64(1<<40), int64(5))
	f.Fuzz(func(t *testing.T, req []byte, sec, waited int64) {
		k := &fake{now: time.Unix(sec%(1<<40), 5), state: clock.State{MaxError: time.Millisecond}}
		n := k.ntp()
		for _, b := range [][]byte{
			first(n.AppendDatagram(nil, req, len(req), k.now.Add(-time.Duration(waited)), k.now)),
			first(n.AppendKiss(nil, req, len(req))),
		} {
			if len(b) == 0 {
				if len(req) >= ntp.HeaderSize && ntp.Mode(req[0]&7) == ntp.ModeClient && req[0]>>3&7 >= 1 && req[0]>>3&7 <= 4 {
					t.Fatal("a client's request was not answered")
				}
				continue
			}
			p, ok := ntp.Parse(b)
			if !ok || len(b) != ntp.HeaderSize || len(b) > len(req) {
				t.Fatalf("an answer of %d bytes to a request of %d", len(b), len(req))
			}
			if !bytes.Equal(b[24:32], req[40:48]) || p.Mode != ntp.ModeServer || p.Version != req[0]>>3&7 {
				t.Fatalf("%x is not the answer to %x", b, req)
			}
			if !IsAnswer(b) {
				t.Fatalf("IsAnswer(%x) is false", b)
			}
			if again := first(n.AppendDatagram(nil, b, len(b), k.now, k.now)); len(again) > 0 {
				t.Fatalf("an answer was answered: %x", again)
			}
		}
	})
}

func first(b []byte, _ Outcome) []byte { return b }
