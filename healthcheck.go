package main

import (
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
	host := c.Health.host
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	url := "http://" + net.JoinHostPort(host, strconv.Itoa(int(c.Health.port))) + "/live"
	client := http.Client{Timeout: c.LivenessTimeout + 2*time.Second, Transport: &http.Transport{}} // no proxy
	r, err := client.Get(url)
	if err != nil {
		fmt.Fprintln(stderr, "nowd healthcheck:", err)
		return 1
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 4096))
		fmt.Fprintf(stderr, "nowd healthcheck: %s: %s: %s\n", url, r.Status, strings.TrimSpace(string(body)))
		return 1
	}
	return 0
}
