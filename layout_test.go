package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers are the packages of the program, the highest layer first. A package imports only
// packages of lower layers; those of the last layer import none of nowd's packages.
var layers = [][]string{
	{"."},
	{"service"},
	{"config"},
	{"query", "cluster"},
	{"health"},
	{"udp", "tcp", "xdp"},
	{"answer", "upstream", "peers"},
	{"ntp", "skew"},
	{"guard", "clock", "clockbound", "reactor", "socket", "command"},
}

// apart are the folders whose packages are not part of the program.
var apart = []string{"bench", "e2e", "helm"}

// layerOf returns the index of a package's layer, or -1.
func layerOf(name string) int {
	return slices.IndexFunc(layers, func(names []string) bool { return slices.Contains(names, name) })
}

func TestImportsPointDownward(t *testing.T) {
	seen := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == "tools" || len(path) > 1 && strings.HasPrefix(d.Name(), ".") || slices.Contains(apart, path)):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		name := filepath.ToSlash(filepath.Dir(path))
		seen[name] = true
		layer := layerOf(name)
		if layer < 0 {
			t.Errorf("%s: package %s is in no layer", path, name)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if imported, ours := strings.CutPrefix(imported, "nowd/"); ours && layerOf(imported) <= layer {
				t.Errorf("%s imports %s, which is not in a lower layer than %s", path, imported, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range layers {
		for _, name := range names {
			if !seen[name] {
				t.Errorf("package %s is in a layer, but does not exist", name)
			}
		}
	}
}

func TestRootHasMainAlone(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if name != "main.go" && !strings.HasSuffix(name, "_test.go") {
			t.Errorf("%s: want only main.go and tests in the root package", name)
		}
	}
	if _, err := os.Stat("main.go"); err != nil {
		t.Error(err)
	}
}
