package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// The paths that Ask may ask for.
const (
	Live  = "/live"
	Ready = "/ready"
)

// Ask asks for a path at the first of addrs, each host:port, that accepts a
// connection. The error is nil if the answer is 200. A loop may take timeout to
// answer; ten more seconds are for the rest: where the CPU is throttled, all of it
// takes long.
func Ask(path string, addrs []string, timeout time.Duration) error {
	// The URL has no real host: it could not have the zone of an IPv6 address,
	// and to look a name up takes a file that not every image has.
	var dialer net.Dialer
	client := http.Client{
		Timeout: timeout + 10*time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var errs []error
			for _, addr := range addrs {
				conn, err := dialer.DialContext(ctx, network, addr)
				if err == nil {
					return conn, nil
				}
				errs = append(errs, err)
			}
			return nil, errors.Join(errs...)
		}},
	}
	r, err := client.Get("http://nowd" + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 4096))
		return fmt.Errorf("%s: %s", r.Status, strings.TrimSpace(string(body)))
	}
	return nil
}
