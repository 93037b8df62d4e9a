package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// healthcheck asks the nowd that runs with these settings whether it is alive.
// It is for images that have nothing else to ask with.
func healthcheck(environ []string, stderr io.Writer) int {
	c, err := loadConfig(environ)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if c.Health.off {
		fmt.Fprintln(stderr, "nowd healthcheck: NOWD_HEALTH_LISTEN is off")
		return 1
	}
	// Whom to connect to is told apart from the URL: a zone does not belong
	// there, and a name takes a file that not every image has.
	var dialer net.Dialer
	client := http.Client{
		Timeout: c.LivenessTimeout + 2*time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
			for _, host := range c.Health.reachable() {
				if conn, err = dialer.DialContext(ctx, network, net.JoinHostPort(host, strconv.Itoa(int(c.Health.port)))); err == nil {
					return conn, nil
				}
			}
			return nil, err
		}},
	}
	r, err := client.Get("http://nowd/live")
	if err != nil {
		fmt.Fprintln(stderr, "nowd healthcheck:", err)
		return 1
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 4096))
		fmt.Fprintf(stderr, "nowd healthcheck: %s: %s\n", r.Status, strings.TrimSpace(string(body)))
		return 1
	}
	return 0
}

// reachable returns the hosts by which what listens there can be reached from
// here.
func (l listen) reachable() []string {
	ip, err := netip.ParseAddr(l.host)
	switch {
	case l.host == "":
		return []string{"127.0.0.1", "::1"}
	case err == nil && ip.IsUnspecified() && ip.Is4():
		return []string{"127.0.0.1"}
	case err == nil && ip.IsUnspecified():
		return []string{"::1"}
	}
	return []string{l.host}
}
