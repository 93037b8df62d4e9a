package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"runtime"
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

// config has the settings. The tags say all that there is to say of one: its
// variable, its default, what it is for, and what is allowed (want). min is the
// least that is allowed of a number or a time; the most is a billion, or a year
// (longest).
type config struct {
	UDP     listen `env:"NOWD_UDP_LISTEN" envDefault:":3333" desc:"where to answer datagrams" want:"host:port, :port for all addresses, or off"`
	TCP     listen `env:"NOWD_TCP_LISTEN" envDefault:":3333" desc:"where to accept connections, for lines of text and HTTP" want:"host:port, :port for all addresses, or off"`
	Daytime listen `env:"NOWD_DAYTIME_LISTEN" envDefault:"off" desc:"where to serve daytime (RFC 867), over UDP and TCP; its port is 13" want:"host:port, :port for all addresses, or off"`
	Time    listen `env:"NOWD_TIME_LISTEN" envDefault:"off" desc:"where to serve time (RFC 868), over UDP and TCP; its port is 37" want:"host:port, :port for all addresses, or off"`
	NTP     listen `env:"NOWD_NTP_LISTEN" envDefault:"off" desc:"where to serve NTP (RFC 5905); its port is 123" want:"host:port, :port for all addresses, or off"`
	Health  listen `env:"NOWD_HEALTH_LISTEN" envDefault:":8086" desc:"where to serve /live, /ready and /metrics" want:"host:port, :port for all addresses, or off"`

	Format  answer.Form `env:"NOWD_FORMAT" envDefault:"datetime" desc:"the form of an answer to a request without one of the words" want:"datetime, rfc3339, unix, unixms, unixus, unixns, bound or json"`
	Newline bool        `env:"NOWD_NEWLINE" envDefault:"true" desc:"whether a text answer ends in a newline" want:"true or false"`

	Loops  loopCount `env:"NOWD_LOOPS" envDefault:"1" desc:"event loops, each with a thread and sockets of its own on the same ports" want:"a number from 1 to 256, or auto for one per CPU"`
	Poller string    `env:"NOWD_POLLER" envDefault:"auto" desc:"what the loops wait with" want:"auto, epoll, poll or select"`

	Framing      tcp.Framing   `env:"NOWD_TCP_FRAMING" envDefault:"burst" desc:"what a request on a connection is: a line, or also what a client sends before it pauses" want:"line or burst"`
	MaxConns     int           `env:"NOWD_TCP_MAX_CONNS" envDefault:"10000" desc:"connections at a time; at the cap the longest idle one makes room" want:"a number from 1 to 1000000000, and at least NOWD_LOOPS" min:"1"`
	MaxPerSource limit         `env:"NOWD_TCP_MAX_CONNS_PER_SOURCE" envDefault:"off" desc:"connections at a time from one address (of IPv6, one /64)" want:"a number from 1 to 1000000000, or off"`
	IdleTimeout  time.Duration `env:"NOWD_TCP_IDLE_TIMEOUT" envDefault:"5m" desc:"how long a client may be silent" want:"a time from 1ms to 8760h, such as 5m" min:"1ms"`
	WriteTimeout time.Duration `env:"NOWD_TCP_WRITE_TIMEOUT" envDefault:"10s" desc:"how long a client may leave its answers unread, or an HTTP request unfinished" want:"a time from 1ms to 8760h, such as 10s" min:"1ms"`
	NoDelay      bool          `env:"NOWD_TCP_NODELAY" envDefault:"true" desc:"whether answers leave at once, not gathered by Nagle's algorithm" want:"true or false"`

	RateLimit limit `env:"NOWD_RATE_LIMIT" envDefault:"2000" desc:"answers a second to one address (of IPv6, one /64) over UDP, for each loop; of more, a third is answered" want:"a number from 1 to 1000000000, or off"`
	RateBurst int   `env:"NOWD_RATE_BURST" envDefault:"4000" desc:"answers at once to one that has not asked for a while" want:"a number from 1 to 1000000000" min:"1"`

	TotalLimit limit `env:"NOWD_GLOBAL_RATE_LIMIT" envDefault:"off" desc:"answers a second to all addresses together over UDP, and a tenth of that at once" want:"a number from 1 to 1000000000, and at least NOWD_LOOPS, or off"`
	MinRequest int   `env:"NOWD_UDP_MIN_REQUEST" envDefault:"0" desc:"the least length of a datagram, in bytes, for open networks: with 64 no answer is longer than its request; those of NTP never are" want:"a number from 0 to 1472" min:"0"`

	NTPStratum       uint8         `env:"NOWD_NTP_STRATUM" envDefault:"10" desc:"the stratum that NTP clients are told, unless NOWD_UPSTREAM gives one" want:"a number from 1 to 15"`
	NTPRefID         refID         `env:"NOWD_NTP_REFID" envDefault:"NOWD" desc:"the reference id that they are told then" want:"1 to 4 letters, digits, dots, hyphens or underscores"`
	Upstream         servers       `env:"NOWD_UPSTREAM" envDefault:"off" desc:"NTP servers against which this host's clock is checked; it is never set" want:"HOST or HOST:PORT, or several separated by commas, or off"`
	UpstreamInterval time.Duration `env:"NOWD_UPSTREAM_INTERVAL" envDefault:"64s" desc:"how often" want:"a time from 1s to 8760h, such as 64s" min:"1s"`

	RequireSync   bool          `env:"NOWD_REQUIRE_SYNC" envDefault:"false" desc:"whether /ready fails, and daytime and time give no answer, while the clock is not trusted" want:"true or false"`
	ClockMaxError time.Duration `env:"NOWD_CLOCK_MAX_ERROR" envDefault:"1s" desc:"the error bound above which the clock is not trusted" want:"a time above 0 and up to 8760h, such as 100ms" min:"1ns"`

	ClockErrorFloor time.Duration `env:"NOWD_CLOCK_ERROR_FLOOR" envDefault:"0s" desc:"what is added to every error bound, if the kernel is known to claim too little" want:"a time from 0s to 8760h, such as 1ms" min:"0s"`

	LivenessTimeout time.Duration `env:"NOWD_LIVENESS_TIMEOUT" envDefault:"500ms" desc:"how long a loop may take to answer when /live asks" want:"a time from 1ms to 8760h, such as 500ms" min:"1ms"`
	DrainDelay      time.Duration `env:"NOWD_DRAIN_DELAY" envDefault:"0s" desc:"how long service goes on after SIGTERM, while /ready fails already" want:"a time from 0s to 8760h, such as 10s" min:"0s"`
	ShutdownTimeout time.Duration `env:"NOWD_SHUTDOWN_TIMEOUT" envDefault:"5s" desc:"how long clients may then take to read their last answers" want:"a time from 0s to 8760h, such as 5s" min:"0s"`

	LogLevel  slog.Level `env:"NOWD_LOG_LEVEL" envDefault:"info" desc:"what is logged, to standard error" want:"debug, info, warn or error"`
	LogFormat string     `env:"NOWD_LOG_FORMAT" envDefault:"text" desc:"how it is written" want:"text or json"`
}

const longest = 365 * 24 * time.Hour

// loopCount is a number of loops.
type loopCount int

// UnmarshalText accepts a number from 1 to 256, or "auto".
func (n *loopCount) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*n = loopCount(runtime.GOMAXPROCS(0))
		return nil
	}
	i, err := strconv.Atoi(string(text))
	if err != nil || i < 1 || i > 256 {
		return errors.New("out of range")
	}
	*n = loopCount(i)
	return nil
}

// limit is a number, 0 for no limit.
type limit int

// UnmarshalText accepts a number from 1 to 1e9, or "off".
func (l *limit) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*l = 0
		return nil
	}
	i, err := strconv.Atoi(string(text))
	if err != nil || i < 1 || i > 1e9 {
		return errors.New("out of range")
	}
	*l = limit(i)
	return nil
}

// refID is a reference id: RFC 5905, section 7.3.
type refID [4]byte

// UnmarshalText accepts one to four characters.
func (id *refID) UnmarshalText(text []byte) error {
	*id = refID{}
	if n := copy(id[:], text); n == 0 || n < len(text) || hasOdd(string(text)) {
		return errors.New("no reference id")
	}
	return nil
}

// servers are HOST or HOST:PORT, each.
type servers []string

// UnmarshalText accepts some, separated by commas, or "off".
func (s *servers) UnmarshalText(text []byte) error {
	*s = nil
	if string(text) == "off" {
		return nil
	}
	for one := range strings.SplitSeq(string(text), ",") {
		one = strings.TrimSpace(one)
		withPort := one
		if _, err := netip.ParseAddr(one); err == nil || !strings.Contains(one, ":") {
			withPort = net.JoinHostPort(one, "123")
		}
		var l listen
		if err := l.UnmarshalText([]byte(withPort)); err != nil || l.host == "" {
			return fmt.Errorf("%q is no server", one)
		}
		*s = append(*s, one)
	}
	return nil
}

// loadConfig reads the settings. Its error lists all mistakes, each on a line,
// with the variable's name and value and what is allowed.
func loadConfig(environ []string) (config, error) {
	var c config
	vars := env.ToMap(environ)
	bad := make(map[string]bool) // by field
	err := env.ParseWithOptions(&c, env.Options{Environment: vars})
	var all env.AggregateError
	if errors.As(err, &all) {
		for _, e := range all.Errors {
			var pe env.ParseError
			if !errors.As(e, &pe) {
				return c, e
			}
			bad[pe.Name] = true
		}
	} else if err != nil {
		return c, err
	}
	c.check(bad)
	var errs []error
	for _, s := range settings() {
		if bad[s.field] {
			errs = append(errs, fmt.Errorf("%s=%q: want %s", s.name, s.value(vars), s.want))
		}
	}
	return c, errors.Join(append(errs, c.collisions()...)...)
}

// collisions finds addresses that are given to two.
func (c *config) collisions() (errs []error) {
	var taken []*offer
	told := make(map[string]bool)
	for _, p := range append(c.offered(), c.healthOffer()) {
		if p.off || p.port == 0 {
			continue
		}
		for _, q := range taken {
			if p.network == q.network && p.overlaps(q.listen) {
				err := fmt.Errorf("%s=%q: want a port that %s=%q does not have", p.variable, p.listen, q.variable, q.listen)
				if !told[err.Error()] { // over UDP
					errs = append(errs, err)
				}
				told[err.Error()] = true
				break
			}
		}
		taken = append(taken, p)
	}
	return errs
}

// check finds the fields whose values are of the right type and still not
// allowed.
func (c *config) check(bad map[string]bool) {
	v := reflect.ValueOf(c).Elem()
	for _, s := range settings() {
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

// setting is what the tags say of one.
type setting struct{ field, name, def, desc, want, min string }

func settings() []setting {
	var all []setting
	for f := range reflect.TypeFor[config]().Fields() {
		t := f.Tag
		all = append(all, setting{f.Name, t.Get("env"), t.Get("envDefault"), t.Get("desc"), t.Get("want"), t.Get("min")})
	}
	return all
}

// value is the one in force: a variable that is empty counts as not set.
func (s setting) value(vars map[string]string) string {
	if v := vars[s.name]; v != "" {
		return v
	}
	return s.def
}

// unknown returns the variables that look like settings but are none. Those
// that Kubernetes makes for a Service of the name nowd are not meant as any.
func unknown(environ []string) []string {
	known := make(map[string]bool)
	for _, s := range settings() {
		known[s.name] = true
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(env.ToMap(environ))) {
		rest, ok := strings.CutPrefix(name, "NOWD_")
		if ok && !known[name] && !strings.HasPrefix(rest, "SERVICE_") && !strings.HasPrefix(rest, "PORT") &&
			!strings.Contains(rest, "_PORT") && !strings.Contains(rest, "_SERVICE_") {
			names = append(names, name)
		}
	}
	return names
}

// showConfig prints the settings in the form that shells and --env-file read.
func showConfig(environ []string, stdout, stderr io.Writer) int {
	_, err := loadConfig(environ)
	if err != nil {
		fmt.Fprintln(stderr, err)
	}
	vars := env.ToMap(environ)
	for _, s := range settings() {
		fmt.Fprintf(stdout, "# %s: %s (default %s)\n%s=%s\n", s.desc, s.want, s.def, s.name, s.value(vars))
	}
	for _, name := range unknown(environ) {
		fmt.Fprintf(stderr, "%s: no such setting\n", name)
	}
	if err != nil {
		return 2
	}
	return 0
}
