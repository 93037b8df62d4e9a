package proxy

import (
	"net"
	"testing"
	"time"
)

// TestDatagramsAreDelayedOneWay uses a server that answers with the time at which it received a request.
func TestDatagramsAreDelayedOneWay(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	received := make(chan time.Time, 1)
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			received <- time.Now()
			_, _ = server.WriteTo(b[:n], from)
		}
	}()
	for _, c := range []struct{ there, back time.Duration }{{200 * time.Millisecond, 0}, {0, 200 * time.Millisecond}} {
		p, err := ListenDatagrams("127.0.0.1:0", func() (net.Conn, error) { return net.Dial("udp", server.LocalAddr().String()) }, c.there, c.back)
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("udp", p.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		sent := time.Now()
		if _, err := client.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		_ = client.SetReadDeadline(sent.Add(10 * time.Second))
		n, err := client.Read(b)
		got, there := time.Now(), <-received
		if err != nil || string(b[:n]) != "hello" {
			t.Errorf("%q, %v", b[:n], err)
		}
		if there.Sub(sent) < c.there || got.Sub(there) < c.back || got.Sub(sent) < 200*time.Millisecond {
			t.Errorf("delays of %v there and %v back: took %v and %v", c.there, c.back, there.Sub(sent), got.Sub(there))
		}
		client.Close()
		p.Close()
	}
}
