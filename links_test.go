package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// TestLinksLeadSomewhere: in every document each relative link names a file or folder of the tree, and each anchor a
// heading. Other files name only pages of docs/ that exist.
func TestLinksLeadSomewhere(t *testing.T) {
	documents := sources(t, ".md")
	for path, text := range documents {
		for _, link := range links(text) {
			if err := follow(documents, path, link); err != nil {
				t.Errorf("%s: link %q: %v", path, link, err)
			}
		}
		for _, link := range otherLinks(text) {
			t.Errorf("%s: %q is a link that no test follows: want [text](target)", path, link)
		}
	}
	page := regexp.MustCompile(`\bdocs/[\w-]+\.md\b`)
	for _, suffix := range []string{".go", ".yaml", ".tpl", ".txt", ".md"} {
		for path, text := range sources(t, suffix) {
			for _, name := range page.FindAllString(text, -1) {
				if _, ok := documents[name]; !ok {
					t.Errorf("%s names %s, which does not exist", path, name)
				}
			}
		}
	}
}

// TestReadmeHasAnIndex: it links to every page of docs/ and to every other document of the root.
func TestReadmeHasAnIndex(t *testing.T) {
	documents := sources(t, ".md")
	linked := make(map[string]bool)
	for _, link := range links(documents["README.md"]) {
		linked[link] = true
	}
	for path := range documents {
		if dir := filepath.Dir(path); (dir == "." || dir == "docs") && path != "README.md" && !linked[path] {
			t.Errorf("README.md does not link to %s", path)
		}
	}
}

var (
	codeBlock = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	codeSpan  = regexp.MustCompile("`[^`\n]*`")
	// Links in other forms: HTML, references, and inline links with a title, blanks or parentheses.
	other    = regexp.MustCompile(`(?m)<(?:a|img)\b.*|^ {0,3}\[[^\]]+\]:.*|\]\([^()\n]*[ \t(][^)\n]*\)`)
	inline   = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
	linkText = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// otherLinks returns the links that links does not understand.
func otherLinks(text string) []string {
	return other.FindAllString(codeSpan.ReplaceAllString(codeBlock.ReplaceAllString(text, ""), "code"), -1)
}

func TestOtherLinksAreFound(t *testing.T) {
	for text, want := range map[string]bool{
		`see [x](y.md), (z)`: false, "`[x](y z)`": false, `[x](y.md) and (a b)`: false,
		`[x](y.md "title")`: true, `[x](a b.md)`: true, `[x](a(1).md)`: true, `<a href="y.md">x</a>`: true, `<img src="y.svg">`: true, "text\n\n[x]: y.md": true,
	} {
		if found := otherLinks(text); len(found) > 0 != want {
			t.Errorf("%s: %q", text, found)
		}
	}
}

// links returns the targets of the links and pictures in a document, without those that are in code or on other hosts.
func links(text string) (targets []string) {
	text = codeSpan.ReplaceAllString(codeBlock.ReplaceAllString(text, ""), "code")
	for _, m := range inline.FindAllStringSubmatch(text, -1) {
		if target := m[1]; !strings.Contains(target, "://") && !strings.HasPrefix(target, "mailto:") {
			targets = append(targets, target)
		}
	}
	return targets
}

// follow returns an error if a link in the document at from leads nowhere.
func follow(documents map[string]string, from, link string) error {
	target, anchor, hasAnchor := strings.Cut(link, "#")
	path := from
	if target != "" {
		path = filepath.Join(filepath.Dir(from), filepath.FromSlash(target))
	}
	if !filepath.IsLocal(path) {
		return fmt.Errorf("%s is outside of the tree", path)
	}
	if _, err := os.Stat(path); err != nil || !hasAnchor {
		return err
	}
	text, ok := documents[path]
	if !ok {
		return fmt.Errorf("%s has no headings", path)
	}
	if !anchors(text)[anchor] {
		return fmt.Errorf("%s has no heading #%s", path, anchor)
	}
	return nil
}

// anchors returns the anchors that GitHub gives to the headings of a document: in lower case, with hyphens for blanks,
// without punctuation, and numbered from the second of the same name on.
func anchors(text string) map[string]bool {
	all := make(map[string]bool)
	seen := make(map[string]int)
	for _, m := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		title := linkText.ReplaceAllString(strings.TrimSpace(m[1]), "$1")
		slug := strings.Map(func(c rune) rune {
			switch {
			case c == ' ':
				return '-'
			case c == '-' || c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c):
				return unicode.ToLower(c)
			}
			return -1
		}, title)
		n := seen[slug]
		seen[slug]++
		if n > 0 {
			slug = fmt.Sprintf("%s-%d", slug, n)
		}
		all[slug] = true
	}
	return all
}

func TestAnchorsAreGitHubs(t *testing.T) {
	got := anchors("# nowd query\n\n## Daytime, time and NTP\n## `nowd wait`: [a link](x.md)\n```sh\n# no heading\n```\n## nowd query\n")
	for _, want := range []string{"nowd-query", "daytime-time-and-ntp", "nowd-wait-a-link", "nowd-query-1"} {
		if !got[want] {
			t.Errorf("no %s in %v", want, got)
		}
	}
	if len(got) != 4 {
		t.Errorf("%v", got)
	}
}
