// Package config has the settings of nowd, which are environment variables: it loads,
// checks and prints them. The tags of the struct Config are the only description of each
// setting.
package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"nowd/answer"
	"nowd/reactor"
	"nowd/tcp"
	"nowd/udp"
)

// Config has the value of each setting. The tags of a field are:
//
//	env         the variable
//	envDefault  the value if the variable is unset or empty
//	desc        what the setting does
//	want        the allowed values, in words
//	min         the lowest number or duration allowed; the highest is a billion, or
//	            a year (longest)
type Config struct {
	UDP     Listen `env:"NOWD_UDP_LISTEN" envDefault:":3333" desc:"addresses for text requests over UDP" want:"host:port, or :port for all addresses; several separated by commas; or off"`
	TCP     Listen `env:"NOWD_TCP_LISTEN" envDefault:":3333" desc:"addresses for text and HTTP requests over TCP" want:"host:port, or :port for all addresses; several separated by commas; or off"`
	Daytime Listen `env:"NOWD_DAYTIME_LISTEN" envDefault:"off" desc:"addresses for daytime (RFC 867) over UDP and TCP; the standard port is 13" want:"host:port, or :port for all addresses; several separated by commas; or off"`
	Time    Listen `env:"NOWD_TIME_LISTEN" envDefault:"off" desc:"addresses for time (RFC 868) over UDP and TCP; the standard port is 37" want:"host:port, or :port for all addresses; several separated by commas; or off"`
	NTP     Listen `env:"NOWD_NTP_LISTEN" envDefault:"off" desc:"addresses for NTP (RFC 5905) over UDP; the standard port is 123" want:"host:port, or :port for all addresses; several separated by commas; or off"`
	Health  Listen `env:"NOWD_HEALTH_LISTEN" envDefault:":8086" desc:"addresses for the health endpoint over HTTP: /live, /ready, /metrics, /peers and the status page" want:"host:port, or :port for all addresses; several separated by commas; or off"`

	Format  answer.Form `env:"NOWD_FORMAT" envDefault:"datetime" desc:"form of the answer to a request that is none of the words (docs/asking.md)" want:"datetime, rfc3339, unix, unixms, unixus, unixns, bound or json"`
	Newline bool        `env:"NOWD_NEWLINE" envDefault:"true" desc:"whether a text answer ends in a newline" want:"true or false"`

	Loops  LoopCount `env:"NOWD_LOOPS" envDefault:"1" desc:"number of event loops; each has its own thread, and its own sockets on the same ports" want:"a number from 1 to 256, or auto for one per CPU"`
	Poller string    `env:"NOWD_POLLER" envDefault:"auto" desc:"system call that the loops wait with; auto picks the best available" want:"auto, epoll, poll or select"`

	Framing      tcp.Framing   `env:"NOWD_TCP_FRAMING" envDefault:"burst" desc:"what ends a text request over TCP: a newline (line), or a newline or a pause (burst)" want:"line or burst"`
	MaxConns     int           `env:"NOWD_TCP_MAX_CONNS" envDefault:"10000" desc:"maximum number of connections for each TCP protocol; at the maximum, a new connection evicts the one that has been unfinished or idle the longest" want:"a number from 1 to 1000000000, and at least NOWD_LOOPS" min:"1"`
	MaxPerSource Limit         `env:"NOWD_TCP_MAX_CONNS_PER_SOURCE" envDefault:"off" desc:"maximum number of TCP connections from one source: an IPv4 address, or an IPv6 /64" want:"a number from 1 to 1000000000, or off"`
	IdleTimeout  time.Duration `env:"NOWD_TCP_IDLE_TIMEOUT" envDefault:"5m" desc:"time without a request after which nowd closes a TCP connection" want:"a time from 1ms to 8760h, such as 5m" min:"1ms"`
	WriteTimeout time.Duration `env:"NOWD_TCP_WRITE_TIMEOUT" envDefault:"10s" desc:"how long a TCP client may leave its answers unread, or an HTTP request unfinished" want:"a time from 1ms to 8760h, such as 10s" min:"1ms"`
	NoDelay      bool          `env:"NOWD_TCP_NODELAY" envDefault:"true" desc:"whether TCP answers are sent at once (TCP_NODELAY), without Nagle's algorithm" want:"true or false"`

	RateLimit Limit `env:"NOWD_RATE_LIMIT" envDefault:"2000" desc:"UDP answers per second to one source (an IPv4 address, or an IPv6 /64), for each loop; over the limit nowd answers a random part of the requests" want:"a number from 1 to 1000000000, or off"`
	RateBurst int   `env:"NOWD_RATE_BURST" envDefault:"4000" desc:"UDP answers at once to one source that has been silent; nowd adds up to a quarter, at random" want:"a number from 1 to 1000000000" min:"1"`

	TotalLimit Limit `env:"NOWD_GLOBAL_RATE_LIMIT" envDefault:"off" desc:"UDP answers per second to all sources together; the burst is a tenth of it" want:"a number from 1 to 1000000000, and at least NOWD_LOOPS, or off"`
	MinRequest int   `env:"NOWD_UDP_MIN_REQUEST" envDefault:"0" desc:"minimum length of a UDP request other than NTP, in bytes; 64 is for open networks: no answer is then longer than its request" want:"a number from 0 to 1472" min:"0"`

	XDP XDP `env:"NOWD_XDP" envDefault:"off" desc:"network interface whose driver answers NTP requests, and text requests of up to three bytes (docs/xdp.md)" want:"INTERFACE, or INTERFACE,generic for the kernel's generic XDP, or off"`

	NTPStratum       uint8         `env:"NOWD_NTP_STRATUM" envDefault:"10" desc:"stratum in NTP answers, unless NOWD_UPSTREAM provides one" want:"a number from 1 to 15"`
	NTPRefID         RefID         `env:"NOWD_NTP_REFID" envDefault:"NOWD" desc:"reference id in NTP answers, unless NOWD_UPSTREAM provides the stratum" want:"1 to 4 letters, digits, dots, hyphens or underscores"`
	Upstream         Servers       `env:"NOWD_UPSTREAM" envDefault:"off" desc:"NTP servers against which the host's clock is checked; nowd never sets the clock" want:"HOST or HOST:PORT, or several separated by commas, or off"`
	UpstreamInterval time.Duration `env:"NOWD_UPSTREAM_INTERVAL" envDefault:"64s" desc:"how often the clock is checked against NOWD_UPSTREAM" want:"a time from 1s to 8760h, such as 64s" min:"1s"`

	Peers         Members       `env:"NOWD_PEERS" envDefault:"off" desc:"members of a cluster that measure each other's clocks over NTP (docs/cluster.md); each address of a name is one member; needs NOWD_NTP_LISTEN and NOWD_HEALTH_LISTEN" want:"HOST:PORT, or several separated by commas, or off"`
	PeersInterval time.Duration `env:"NOWD_PEERS_INTERVAL" envDefault:"16s" desc:"how often nowd measures the clocks of NOWD_PEERS" want:"a time from 1s to 8760h, such as 16s" min:"1s"`
	Node          NodeName      `env:"NOWD_NODE" envDefault:"auto" desc:"name of this host in the measurements of NOWD_PEERS" want:"up to 253 letters, digits, dots, hyphens or underscores, or auto for the host's name"`

	RequireSync   bool          `env:"NOWD_REQUIRE_SYNC" envDefault:"false" desc:"whether /ready fails, and daytime and time give no answer, while the clock is not trusted" want:"true or false"`
	ClockMaxError time.Duration `env:"NOWD_CLOCK_MAX_ERROR" envDefault:"1s" desc:"maximum error bound of a trusted clock" want:"a time above 0 and up to 8760h, such as 100ms" min:"1ns"`

	ClockErrorFloor time.Duration `env:"NOWD_CLOCK_ERROR_FLOOR" envDefault:"0s" desc:"added to every error bound, for hosts whose kernel claims too small an error" want:"a time from 0s to 8760h, such as 1ms" min:"0s"`

	ClockBound File `env:"NOWD_CLOCKBOUND" envDefault:"off" desc:"file in shared memory from which programs of the same pod or host read the clock's error bound, in the format of ClockBound 2 (docs/time.md)" want:"the absolute path of a file in a directory that exists, or off"`

	LivenessTimeout time.Duration `env:"NOWD_LIVENESS_TIMEOUT" envDefault:"500ms" desc:"how long a loop may take to answer a ping before /live can report it as hung (docs/operating.md)" want:"a time from 1ms to 8760h, such as 500ms" min:"1ms"`
	DrainDelay      time.Duration `env:"NOWD_DRAIN_DELAY" envDefault:"0s" desc:"how long nowd continues to serve after SIGTERM, while /ready already fails" want:"a time from 0s to 8760h, such as 10s" min:"0s"`
	ShutdownTimeout time.Duration `env:"NOWD_SHUTDOWN_TIMEOUT" envDefault:"5s" desc:"how long clients may take to read their last answers, after SIGTERM and NOWD_DRAIN_DELAY" want:"a time from 0s to 8760h, such as 5s" min:"0s"`

	LogLevel  slog.Level `env:"NOWD_LOG_LEVEL" envDefault:"info" desc:"minimum level of log lines, which go to standard error" want:"debug, info, warn or error"`
	LogFormat string     `env:"NOWD_LOG_FORMAT" envDefault:"text" desc:"format of the log" want:"text or json"`
}

// longest is an upper bound on a setting that is a duration.
const longest = 365 * 24 * time.Hour

// Load reads the settings from environ, which has the form of os.Environ, and checks TZ.
// The error has one line for each mistake: the variable, its value and the values allowed.
func Load(environ []string) (*Config, error) {
	c := new(Config)
	vars := env.ToMap(environ)
	bad := make(map[string]bool)   // by field
	why := make(map[string]string) // by field, if the list of allowed values does not show the mistake
	err := env.ParseWithOptions(c, env.Options{Environment: vars})
	var all env.AggregateError
	if errors.As(err, &all) {
		for _, e := range all.Errors {
			var pe env.ParseError
			if !errors.As(e, &pe) {
				return nil, e
			}
			bad[pe.Name] = true
			var reason notAllowed
			if errors.As(pe.Err, &reason) {
				why[pe.Name] = "; " + string(reason)
			}
		}
	} else if err != nil {
		return nil, err
	}
	c.check(bad)
	var errs []error
	for _, s := range Settings() {
		if bad[s.field] {
			errs = append(errs, fmt.Errorf("%s=%q: want %s%s", s.Name, s.value(vars), s.Allowed, why[s.field]))
		}
	}
	if zone := vars["TZ"]; !isZone(strings.TrimPrefix(zone, ":")) {
		errs = append(errs, fmt.Errorf("TZ=%q: want a time zone that this host or nowd has, such as Europe/Berlin or UTC", zone))
	}
	errs = append(errs, c.conflicts()...)
	if errs = append(errs, c.missing()...); errs == nil && !c.servesTime() {
		errs = append(errs, fmt.Errorf("NOWD_UDP_LISTEN=%q: want an address here or in NOWD_TCP_LISTEN, NOWD_DAYTIME_LISTEN, NOWD_TIME_LISTEN or NOWD_NTP_LISTEN: all of them are off", c.UDP))
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// check marks in bad the fields whose values are out of range.
func (c *Config) check(bad map[string]bool) {
	v := reflect.ValueOf(c).Elem()
	for _, s := range Settings() {
		if s.min == "" {
			continue
		}
		switch got := v.FieldByName(s.field).Interface().(type) {
		case time.Duration:
			least, _ := time.ParseDuration(s.min)
			bad[s.field] = bad[s.field] || got < least || got > longest
		case int:
			least, _ := strconv.Atoi(s.min)
			bad[s.field] = bad[s.field] || got < least || got > 1e9
		}
	}
	bad["Poller"] = c.Poller != "auto" && !slices.Contains(reactor.Pollers(), c.Poller)
	bad["LogFormat"] = c.LogFormat != "text" && c.LogFormat != "json"
	bad["NTPStratum"] = bad["NTPStratum"] || c.NTPStratum < 1 || c.NTPStratum > 15
	bad["MinRequest"] = bad["MinRequest"] || c.MinRequest > udp.MaxRequest
	bad["TotalLimit"] = bad["TotalLimit"] || c.TotalLimit != 0 && int(c.TotalLimit) < int(c.Loops)
	bad["MaxConns"] = bad["MaxConns"] || c.MaxConns < int(c.Loops)
}

// NewLogger returns a logger that writes to w, with the level and the format of the
// settings. It calls w.Write once for each record, with a whole line: so do the handlers
// of log/slog.
func (c *Config) NewLogger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
