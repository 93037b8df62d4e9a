//go:build linux

package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The time in an answer is the time at which nowd made it: never before the request was sent, and never after the answer was
// received, however busy nowd is.
func TestTimeToldLiesBetweenAskingAndBeingAnswered(t *testing.T) {
	for _, c := range append(configurations, configuration{name: "default"}) {
		queries := 10_000
		if c.name == "default" && !testing.Short() {
			queries = 100_000
		}
		t.Run(c.name, func(t *testing.T) {
			n := start(t, append(c.env, "NOWD_RATE_LIMIT=off")...)
			busy := load(t, n)
			for _, network := range []string{"udp", "tcp"} {
				t.Run(network, func(t *testing.T) { testTruth(t, network, n.at(network), queries) })
			}
			busy.end()
		})
	}
}

func testTruth(t *testing.T, network, addr string, queries int) {
	const clients = 8
	var all sync.WaitGroup
	var resent atomic.Int64
	began := time.Now()
	for range clients {
		all.Go(func() {
			c := truthClient{network: network, addr: addr}
			defer c.hangUp()
			for range queries / clients {
				if err := c.ask(); err != nil {
					t.Error(err)
					return
				}
			}
			resent.Add(int64(c.resent))
		})
	}
	all.Wait()
	t.Logf("%d requests in %v, %d of them sent again", queries, time.Since(began).Round(time.Millisecond), resent.Load())
}

// truthClient asks over a connection of its own.
type truthClient struct {
	network, addr string
	conn          net.Conn
	resent        int // requests sent again because a datagram was lost
}

func (c *truthClient) ask() error {
	for range 10 {
		err := c.try()
		if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() || c.network == "tcp" {
			return err
		}
		c.hangUp() // so that a late answer is not read as the next one
		c.resent++
	}
	return fmt.Errorf("no answer from %s %s", c.network, c.addr)
}

func (c *truthClient) try() (err error) {
	if c.conn == nil {
		if c.conn, err = net.DialTimeout(c.network, c.addr, patience); err != nil {
			return err
		}
	}
	patience := patience
	if c.network == "udp" {
		patience = time.Second
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	before := time.Now().UnixNano()
	answer, err := exchange(c.conn, "unixns\n")
	after := time.Now().UnixNano()
	if err != nil {
		return err
	}
	told, err := strconv.ParseInt(strings.TrimSuffix(answer, "\n"), 10, 64)
	if err != nil {
		return err
	}
	if told < before || told > after {
		return fmt.Errorf("the answer over %[2]s is %[1]d, not between the request at %[3]d and its arrival at %[4]d", told, c.network, before, after)
	}
	return nil
}

func (c *truthClient) hangUp() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// background is a set of goroutines that run during a test.
type background struct {
	stopping atomic.Bool
	running  sync.WaitGroup
}

// load keeps n busy until it is ended: with datagrams that request long answers, and with hundreds of lines.
func load(t *testing.T, n *nowd) *background {
	b := new(background)
	t.Cleanup(b.end)
	datagrams := dial(t, "udp", n.udp)
	b.running.Go(func() {
		request := append([]byte("json"), bytes.Repeat([]byte{' '}, 508)...)
		buf := make([]byte, 1024)
		for !b.stopping.Load() {
			// Losses do not matter.
			_ = datagrams.SetDeadline(time.Now().Add(10 * time.Millisecond))
			_, _ = datagrams.Write(request)
			_, _ = datagrams.Read(buf)
		}
	})
	stream := dial(t, "tcp", n.tcp)
	b.running.Go(func() {
		const lines = 100
		request := bytes.Repeat([]byte("unix\n"), lines)
		answers := make([]byte, lines*len("1000000000\n"))
		for !b.stopping.Load() {
			_ = stream.SetDeadline(time.Now().Add(patience))
			if _, err := stream.Write(request); err != nil {
				t.Error(err)
				return
			}
			if _, err := io.ReadFull(stream, answers); err != nil {
				t.Error(err)
				return
			}
		}
	})
	return b
}

// end ends them. More calls do nothing.
func (b *background) end() {
	b.stopping.Store(true)
	b.running.Wait()
}
