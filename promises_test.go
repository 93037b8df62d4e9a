package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sources returns the contents of all files in the repository whose names end in suffix, by
// path.
func sources(t *testing.T, suffix string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && len(path) > 1 && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, suffix):
			return nil
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// testNames returns the names of all tests and fuzz tests in the repository.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(\w+ \*testing\.[TFM]\)`)
	for _, source := range sources(t, "_test.go") {
		for _, m := range function.FindAllStringSubmatch(source, -1) {
			names[m[1]] = true
		}
	}
	return names
}

// TestEachPromiseNamesItsTests: in SECURITY.md's tables of promises and of attacks, the last
// column has only names of existing tests.
func TestEachPromiseNamesItsTests(t *testing.T) {
	security, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	exists, cell := testNames(t), regexp.MustCompile("^`(Test|Fuzz)\\w+`(, `(Test|Fuzz)\\w+`)*$")
	for first, columns := range map[string]int{"| promise |": 3, "| attack |": 7} {
		_, table, found := strings.Cut(string(security), "\n"+first)
		table, _, ended := strings.Cut(table, "\n\n")
		lines := slices.Collect(strings.Lines(table))
		if !found || !ended || len(lines) < 3 {
			t.Fatalf("SECURITY.md has no table that begins with %q", first)
		}
		for _, line := range lines[2:] { // after the header
			cells := strings.Split(strings.Trim(line, "| \n"), " | ")
			heldBy := cells[len(cells)-1]
			if len(cells) != columns || !cell.MatchString(heldBy) {
				t.Errorf("%.60s... ends in %q; want names of tests, separated by commas", line, heldBy)
				continue
			}
			for name := range strings.SplitSeq(heldBy, ", ") {
				if !exists[strings.Trim(name, "`")] {
					t.Errorf("%.60s... names %s, which does not exist", line, name)
				}
			}
		}
	}
}

// TestTestsThatAreNamedExist: every test that a document or a comment names exists.
func TestTestsThatAreNamedExist(t *testing.T) {
	exists, name := testNames(t), regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z][a-z]+[A-Z]\w+`)
	all := sources(t, ".md")
	for path, source := range sources(t, ".go") {
		all[path] = source
	}
	for path, text := range all {
		for _, n := range name.FindAllString(text, -1) {
			if !exists[n] {
				t.Errorf("%s names %s, which does not exist", path, n)
			}
		}
	}
}

// TestOtherModulesCanImportTheLoop: with the lines in docs/internals.md another module can
// import the packages for other programs.
func TestOtherModulesCanImportTheLoop(t *testing.T) {
	internals, err := os.ReadFile("docs/internals.md")
	if err != nil {
		t.Fatal(err)
	}
	const lines = "require nowd v0.0.0\nreplace nowd => ../nowd\n"
	if !strings.Contains(string(internals), lines) {
		t.Errorf("docs/internals.md lacks the lines\n%s", lines)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module other\n\ngo 1.26\n\n" + strings.Replace(lines, "../nowd", here, 1),
		"go.sum": string(sums),
		"main.go": `package main

import (
	"nowd/clock"
	"nowd/clockbound"
	"nowd/ntp"
	"nowd/reactor"
	"nowd/socket"
)

var _, _, _, _, _ = clock.New, clockbound.Open, ntp.Exchange, reactor.New, socket.Open

func main() {}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-mod=mod", "-o", os.DevNull, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOPROXY=off") // fetch nothing
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
