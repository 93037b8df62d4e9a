package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The paths of liveness and readiness.
const (
	Live  = "/live"
	Ready = "/ready"
)

// Ask gets a path from the first of addrs, each host:port, that accepts a connection. It
// returns nil if the status is 200. A loop may take timeout to answer a ping. Ask allows
// ten more seconds for the rest, which takes long if the CPU is throttled.
func Ask(path string, addrs []string, timeout time.Duration) error {
	// The host in the URL is not used: a URL cannot have the zone of an IPv6 address, and
	// looking up localhost takes /etc/hosts, which an image may lack.
	var dialer net.Dialer
	wait := timeout + 10*time.Second
	client := http.Client{
		Timeout: wait,
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
		var failed *url.Error // with a URL that tells nothing
		switch {
		case !errors.As(err, &failed):
		case failed.Timeout():
			err = fmt.Errorf("no answer within %v", wait)
		default:
			err = failed.Err
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 4096))
		return fmt.Errorf("%s: %s: %s", path, r.Status, strings.TrimSpace(string(body)))
	}
	return nil
}
