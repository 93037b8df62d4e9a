//go:build linux

package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// words are all words that a request can be.
var words = []string{"datetime", "rfc3339", "unix", "unixms", "unixus", "unixns", "bound", "json", "help"}

// span is the time between two readings of this host's clock, which the server uses too.
type span struct{ before, after time.Time }

// during returns the span in which f ran.
func during(f func()) span {
	before := time.Now()
	f()
	return span{before, time.Now()}
}

// check returns an error unless a time, truncated to a unit, can have been read in s.
func (s span) check(at time.Time, unit time.Duration) error {
	const layout = "2006-01-02 15:04:05.000000000 -0700"
	if at.Before(s.before.Truncate(unit)) || at.After(s.after) {
		return fmt.Errorf("the answer is %v, not between the request at %v and the answer at %v",
			at.Format(layout), s.before.Format(layout), s.after.Format(layout))
	}
	return nil
}

// verify returns an error unless answer is one line in the form of a word, with a time in s.
func verify(word, answer string, zone *time.Location, s span) error {
	err := verifyForm(word, answer, zone, s)
	if err != nil {
		return fmt.Errorf("answer %q: %w", answer, err)
	}
	return nil
}

func verifyForm(word, answer string, zone *time.Location, s span) error {
	line, ended := strings.CutSuffix(answer, "\n")
	if !ended || strings.Contains(line, "\n") {
		return errors.New("want one line")
	}
	switch word {
	case "datetime":
		at, err := time.ParseInLocation("2006-01-02 15:04:05.000000", line, zone)
		if err != nil {
			return err
		}
		return s.check(at, time.Microsecond)
	case "rfc3339":
		return verifyRFC3339(line, zone, s)
	case "unix":
		return verifyUnix(line, time.Second, s)
	case "unixms":
		return verifyUnix(line, time.Millisecond, s)
	case "unixus":
		return verifyUnix(line, time.Microsecond, s)
	case "unixns":
		return verifyUnix(line, time.Nanosecond, s)
	case "bound":
		return verifyBound(line, s)
	case "json":
		return verifyJSON(line, zone, s)
	case "help":
		if want := strings.Join(words, " "); line != want {
			return fmt.Errorf("want %q", want)
		}
		return nil
	}
	return fmt.Errorf("%q is no word", word)
}

func verifyRFC3339(line string, zone *time.Location, s span) error {
	const layout = "2006-01-02T15:04:05.000000000Z07:00"
	at, err := time.Parse(layout, line)
	if err != nil {
		return err
	}
	if want := at.In(zone).Format(layout); line != want {
		return fmt.Errorf("want %q", want)
	}
	return s.check(at, time.Nanosecond)
}

func verifyUnix(line string, unit time.Duration, s span) error {
	n, err := strconv.ParseInt(line, 10, 64)
	if err != nil {
		return err
	}
	perSecond := int64(time.Second / unit)
	return s.check(time.Unix(n/perSecond, n%perSecond*int64(unit)), unit)
}

var bound = regexp.MustCompile(`^(\d+)\.(\d{9}) (\d+)\.(\d{9}) (synced|unsynced)$`)

func verifyBound(line string, s span) error {
	if line == "- - unsynced" {
		return nil
	}
	m := bound.FindStringSubmatch(line)
	if m == nil {
		return errors.New("want EARLIEST LATEST STATUS")
	}
	var n [4]int64
	for i := range n {
		n[i], _ = strconv.ParseInt(m[i+1], 10, 64)
	}
	if earliest := time.Unix(n[0], n[1]); earliest.After(s.after) {
		return errors.New("the earliest time is in the future")
	}
	if latest := time.Unix(n[2], n[3]); latest.Before(s.before) {
		return errors.New("the latest time is in the past")
	}
	return nil
}

func verifyJSON(line string, zone *time.Location, s span) error {
	var got struct {
		Time     *string `json:"time"`
		Unix     *int64  `json:"unix_ns"`
		Earliest *int64  `json:"earliest_unix_ns"`
		Latest   *int64  `json:"latest_unix_ns"`
		Status   *string `json:"status"`
		MaxError *int64  `json:"max_error_ns"`
		EstError *int64  `json:"est_error_ns"`
		Offset   *int64  `json:"offset_ns"`
		Leap     *string `json:"leap"`
		TAI      *int    `json:"tai_offset_s"`
	}
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		return err
	}
	var all map[string]any
	if err := json.Unmarshal([]byte(line), &all); err != nil || len(all) != 10 {
		return fmt.Errorf("want 10 fields (%v)", err)
	}
	switch {
	case got.Time == nil || got.Unix == nil || got.Status == nil:
		return errors.New("want a time and a status")
	case *got.Status != "synced" && *got.Status != "unsynced":
		return errors.New("want synced or unsynced")
	case (got.Earliest == nil) != (got.Latest == nil):
		return errors.New("want both ends of the bound, or none")
	case got.Earliest != nil && (*got.Earliest > *got.Unix || *got.Latest < *got.Unix):
		return errors.New("want the time in its bound")
	}
	if at, err := time.Parse(time.RFC3339Nano, *got.Time); err != nil || at.UnixNano() != *got.Unix {
		return fmt.Errorf("time and unix_ns are not the same (%v)", err)
	}
	return verifyRFC3339(*got.Time, zone, s)
}

// dial connects, until the test ends, with a deadline.
func dial(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout(network, addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	hurry(t, conn)
	return conn
}

// hurry sets a deadline for the next exchange on conn.
func hurry(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
}

// ask asks over a connection of its own, and returns the answer and the span of the exchange. The request is a datagram over
// UDP, and a line over TCP.
func ask(t *testing.T, network, addr, request string) (answer string, s span) {
	t.Helper()
	conn := dial(t, network, addr)
	defer conn.Close()
	return askOn(t, conn, request)
}

// askOn asks over conn, which has no other request in flight.
func askOn(t *testing.T, conn net.Conn, request string) (answer string, s span) {
	t.Helper()
	hurry(t, conn)
	var err error
	s = during(func() { answer, err = exchange(conn, request) })
	if err != nil {
		t.Fatalf("asked %.100q over %s: %v", request, conn.LocalAddr().Network(), err)
	}
	return answer, s
}

// exchange sends a request and returns its answer: a datagram, or a line.
func exchange(conn net.Conn, request string) (string, error) {
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	var answer []byte
	for buf := make([]byte, 2048); ; {
		n, err := conn.Read(buf)
		answer = append(answer, buf[:n]...)
		if _, stream := conn.(*net.TCPConn); err != nil || !stream || bytes.HasSuffix(answer, []byte("\n")) {
			return string(answer), err
		}
	}
}

// checkTime asks for the default form, and checks the time.
func (n *nowd) checkTime(t *testing.T, network string) {
	t.Helper()
	answer, s := ask(t, network, n.at(network), "hello\n")
	if err := verify("datetime", answer, time.UTC, s); err != nil {
		t.Errorf("%s: %v", network, err)
	}
}

// at returns the address to ask it at.
func (n *nowd) at(network string) string {
	if network == "udp" {
		return n.udp
	}
	return n.tcp
}

// lines returns all lines until the end of the stream, with their newlines.
func lines(r io.Reader) (all []string, err error) {
	for b := bufio.NewReader(r); ; {
		line, err := b.ReadString('\n')
		if line != "" {
			all = append(all, line)
		}
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}
