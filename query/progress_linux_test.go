package query

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal returns both ends of a terminal with so many columns: pty(7).
func terminal(t *testing.T, columns uint16) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	// Fd would make the file blocking, so that deadlines have no effect.
	raw, err := screen.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := uint32(0)
	var ioctlErr error
	if err := raw.Control(func(fd uintptr) {
		if ioctlErr = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); ioctlErr == nil {
			n, ioctlErr = unix.IoctlGetUint32(int(fd), unix.TIOCGPTN)
		}
		if ioctlErr == nil {
			ioctlErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
		}
	}); err != nil || ioctlErr != nil {
		t.Fatal(err, ioctlErr)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return screen, tty
}

// read reads from f until the text contains all of want.
func read(t *testing.T, f *os.File, want ...string) string {
	t.Helper()
	_ = f.SetReadDeadline(time.Now().Add(patience))
	var got strings.Builder
	b := make([]byte, 1024)
	for {
		all := true
		for _, w := range want {
			all = all && strings.Contains(got.String(), w)
		}
		if all {
			return got.String()
		}
		n, err := f.Read(b)
		got.Write(b[:n])
		if err != nil {
			t.Fatalf("%v; the terminal shows %q, want %q", err, got.String(), want)
		}
	}
}

func TestProgressIsShownOnATerminalAndTakenAway(t *testing.T) {
	screen, tty := terminal(t, 60)
	p := newProgress(tty)
	hosts := []*Host{{Name: "here"}, {Name: "there"}, {Name: "no\x1bwhere"}}
	p.wait("no answer yet from", hosts)
	p.finished(0)
	line := read(t, screen, "1s: no answer yet from", "where")
	if !strings.Contains(line, `from there "no\x1bwhere"`) || strings.Contains(line, "here here") {
		t.Errorf("shown: %q", line)
	}
	p.finished(1)
	if line := read(t, screen, "2s: no answer yet from"); strings.Contains(line, "there") {
		t.Errorf("shown: %q", line)
	}
	p.hide()
	read(t, screen, "\r\x1b[K")
	p.close()
	fmt.Fprint(tty, "end")
	if rest := read(t, screen, "end"); rest != "end" {
		t.Errorf("after hide: %q", rest)
	}
}

func TestProgressFitsOnALine(t *testing.T) {
	screen, tty := terminal(t, 20)
	p := newProgress(tty)
	defer p.close()
	p.wait("no answer yet from", []*Host{{Name: strings.Repeat("é", 100)}})
	line := read(t, screen, "…")
	if n := len([]rune(strings.TrimPrefix(line, "\r\x1b[K"))); n != 19 {
		t.Errorf("%d columns of 20: %q", n, line)
	}
}

func TestProgressIsNowhereButOnATerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, f := range []*os.File{w, null} {
		p := newProgress(f)
		if p.tty != nil {
			t.Errorf("%s is taken for a terminal", f.Name())
		}
		p.wait("nothing", nil)
		p.finished(0)
		p.hide()
		p.close()
	}
}
