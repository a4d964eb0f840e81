package conventions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/davit-agent/davit"

// source is one parsed Go file.
type source struct {
	path  string // from the module's root, with slashes
	dir   string
	test  bool
	lines int
	file  *ast.File
	fset  *token.FileSet
}

func (s *source) line(p token.Pos) int { return s.fset.Position(p).Line }

func (s *source) at(n ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", s.path, s.line(n.Pos()), fmt.Sprintf(format, args...))
}

// under tells whether the file lies in one of these directories.
func (s *source) under(dirs ...string) bool {
	for _, d := range dirs {
		if s.dir == d || strings.HasPrefix(s.dir, d+"/") {
			return true
		}
	}
	return false
}

func parse(name, text string) (*source, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &source{path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
		lines: strings.Count(text, "\n"), file: f, fset: fset}, nil
}

// fromText is a tree of files made up for a rule's own test.
func fromText(t *testing.T, files map[string]string) []*source {
	t.Helper()
	var out []*source
	for name, text := range files {
		s, err := parse(name, text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].path < out[j].path })
	return out
}

func root() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return filepath.Join(dir, "../..")
}

// tree is every Go file of the module, nested modules excluded.
var tree = sync.OnceValues(func() ([]*source, error) {
	var out []*source
	base := root()
	err := filepath.WalkDir(base, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(base, p)
		if d.IsDir() {
			_, nested := os.Stat(filepath.Join(p, "go.mod"))
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin" || nested == nil) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		s, err := parse(filepath.ToSlash(rel), string(text))
		if err != nil {
			return err
		}
		out = append(out, s)
		return nil
	})
	return out, err
})

func sources(t *testing.T) []*source {
	t.Helper()
	out, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("only %d Go files were found: the rules would pass for want of anything to look at", len(out))
	}
	return out
}

// listed is a package as go list tells of it.
type listed struct {
	ImportPath string
	Imports    []string // direct
	Deps       []string // transitive
}

// packages is what the module's packages import, tests excluded.
var packages = sync.OnceValues(func() ([]listed, error) {
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = root()
	var errText bytes.Buffer
	cmd.Stderr = &errText
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, errText.String())
	}
	var out []listed
	for dec := json.NewDecoder(bytes.NewReader(text)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		if own(p.ImportPath) {
			out = append(out, p)
		}
	}
})

func own(importPath string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}

// expect compares the violations that a rule finds in what breaks it: each of
// want must be in one of got, and there are no others.
func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("found %d violations, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
		return
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("violation %q, want one with %q", got[i], want[i])
		}
	}
}

// report fails the test with each violation.
func report(t *testing.T, found []string) {
	t.Helper()
	for _, f := range found {
		t.Error(f)
	}
}
