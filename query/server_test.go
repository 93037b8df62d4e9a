package query

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"nowd/answer"
)

// patience is how long a test waits for something that should take milliseconds.
const patience = 10 * time.Second

// datagrams serves UDP: it answers each datagram with those that handle returns.
func datagrams(t *testing.T, handle func(request []byte) [][]byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			for _, answer := range handle(b[:n]) {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

// connections serves TCP: it calls handle with each connection, and closes it afterwards.
func connections(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return connectionsOn(t, l, handle)
}

func connectionsOn(t *testing.T, l net.Listener, handle func(net.Conn)) string {
	t.Helper()
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return l.Addr().String()
}

// jsonAnswer returns the JSON of a clock with the error shift.
func jsonAnswer(shift time.Duration) string {
	now := time.Now().Add(shift)
	return fmt.Sprintf(`{"time":%q,"unix_ns":%d,"earliest_unix_ns":%d,"latest_unix_ns":%d,"status":"synced","leap":"none"}`,
		now.Format(time.RFC3339Nano), now.UnixNano(), now.Add(-time.Millisecond).UnixNano(), now.Add(time.Millisecond).UnixNano())
}

// ntpFrom1900 returns t in NTP's 64-bit format.
func ntpFrom1900(t time.Time) uint64 {
	return uint64(t.Unix()+2208988800)<<32 | uint64(t.Nanosecond())<<32/1e9
}

// ntpReply returns the answer to an NTP request, with the first two bytes given.
func ntpReply(request []byte, shift time.Duration, leapVersionMode, stratum byte) []byte {
	b := make([]byte, 48)
	b[0], b[1], b[3] = leapVersionMode, stratum, 0xec // a precision of 2^-20 s
	binary.BigEndian.PutUint32(b[4:], 0x0000_0042)    // 66/65536 s of root delay
	binary.BigEndian.PutUint32(b[8:], 0x0000_0083)    // 131/65536 s of root dispersion
	copy(b[12:], "RATE")
	now := time.Now().Add(shift)
	binary.BigEndian.PutUint64(b[16:], ntpFrom1900(now.Add(-time.Minute)))
	copy(b[24:32], request[40:48])
	binary.BigEndian.PutUint64(b[32:], ntpFrom1900(now))
	binary.BigEndian.PutUint64(b[40:], ntpFrom1900(now))
	return b
}

func since1900(t time.Time) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(t.Unix()+2208988800))
}

const daytime = "Monday, January 2, 2006 15:04:05-MST"

// servers serve each protocol with a clock of the error shift.
var servers = map[string]func(t *testing.T, shift time.Duration) string{
	"udp": func(t *testing.T, shift time.Duration) string {
		return datagrams(t, func(b []byte) [][]byte {
			if len(b) < answer.MaxText || strings.TrimSpace(string(b)) != "json" {
				return [][]byte{[]byte("not padded")}
			}
			return [][]byte{[]byte(jsonAnswer(shift) + "\n")}
		})
	},
	"tcp": func(t *testing.T, shift time.Duration) string {
		return connections(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 64))
			_, _ = io.WriteString(c, jsonAnswer(shift)+"\n")
			_, _ = c.Read(make([]byte, 64))
		})
	},
	"http": func(t *testing.T, shift time.Duration) string {
		return connections(t, func(c net.Conn) {
			b := make([]byte, 1024)
			n, _ := c.Read(b)
			if !strings.HasPrefix(string(b[:n]), "GET /json HTTP/1.1\r\n") {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+jsonAnswer(shift)+"\n")
		})
	},
	"ntp": func(t *testing.T, shift time.Duration) string {
		return datagrams(t, func(b []byte) [][]byte { return [][]byte{ntpReply(b, shift, 0x24, 2)} })
	},
	"daytime": func(t *testing.T, shift time.Duration) string {
		return datagrams(t, func([]byte) [][]byte {
			return [][]byte{[]byte(time.Now().Add(shift).UTC().Format(daytime) + "\r\n")}
		})
	},
	"daytime+tcp": func(t *testing.T, shift time.Duration) string {
		return connections(t, func(c net.Conn) {
			_, _ = io.WriteString(c, time.Now().Add(shift).UTC().Format(daytime)+"\r\n")
		})
	},
	"time": func(t *testing.T, shift time.Duration) string {
		return datagrams(t, func([]byte) [][]byte { return [][]byte{since1900(time.Now().Add(shift))} })
	},
	"time+tcp": func(t *testing.T, shift time.Duration) string {
		return connections(t, func(c net.Conn) { _, _ = c.Write(since1900(time.Now().Add(shift))) })
	},
}

// host returns a Host to ask for JSON.
func host(t *testing.T, proto, target string, timeout time.Duration) *Host {
	t.Helper()
	h, err := New(proto, target, answer.JSON, timeout)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func askOnce(t *testing.T, proto, target string) (Answer, error) {
	t.Helper()
	return host(t, proto, target, patience).Ask(context.Background())
}
