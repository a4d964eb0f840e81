package conventions

import (
	"go/ast"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// undocumented are the packages without a package comment and the exported
// identifiers without a doc comment, tests excepted.
func undocumented(files []*source) []string {
	var out []string
	pkgs := map[string]bool{}
	for _, s := range files {
		if s.test {
			continue
		}
		pkgs[s.dir] = pkgs[s.dir] || s.file.Doc.Text() != ""
		for _, d := range s.file.Decls {
			out = append(out, s.undocumentedDecl(d)...)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(pkgs)) {
		if !pkgs[dir] {
			out = append(out, dir+": the package has no comment that says what it is for")
		}
	}
	return out
}

func (s *source) undocumentedDecl(d ast.Decl) []string {
	var out []string
	missing := func(n ast.Node, name *ast.Ident) {
		if name.IsExported() {
			out = append(out, s.at(n, "%s is exported and has no doc comment", name.Name))
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc.Text() == "" && ast.IsExported(receiver(d)) {
			missing(d, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Doc.Text() == "" && d.Doc.Text() == "" && spec.Comment.Text() == "" {
					missing(spec, spec.Name)
				}
			case *ast.ValueSpec:
				if spec.Doc.Text() == "" && d.Doc.Text() == "" && spec.Comment.Text() == "" {
					for _, n := range spec.Names {
						missing(spec, n)
					}
				}
			}
		}
	}
	return out
}

// receiver is the name of a method's type; for a function, something exported.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return "Function"
	}
	for typ := d.Recv.List[0].Type; ; {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ = t.X
		case *ast.IndexExpr:
			typ = t.X
		case *ast.IndexListExpr:
			typ = t.X
		case *ast.Ident:
			return t.Name
		default:
			return ""
		}
	}
}

func TestDocs(t *testing.T) { report(t, undocumented(sources(t))) }

func TestDocsNotice(t *testing.T) {
	expect(t, undocumented(fromText(t, map[string]string{
		"a/a.go": `package a
func F() {}
func f() {}
type T struct{}
func (t *T) M() {}
func (t *t) M() {}
type t[X any] struct{}
func (t *t[X]) N() {}
const C = 1
var ( V, w int; X int )
`,
		"a/a_test.go": "package a\nfunc G() {}\n",
		"b/b.go": `// Package b is documented.
package b
// F too.
func F() {}
// The constants.
const ( A = 1; B = 2 )
var (
	V int // so is this
)
`})), "F is exported", "T is exported", "M is exported", "C is exported", "V is exported", "X is exported", "a: the package has no comment")
}

// vague names tell nothing, so everything ends up there.
var vague = []string{"util", "utils", "common", "helpers", "types", "manager", "misc", "base", "shared"}

func vagueNames(files []*source) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range files {
		name := strings.TrimSuffix(s.file.Name.Name, "_test")
		if (slices.Contains(vague, name) || slices.Contains(vague, path.Base(s.dir))) && !seen[s.dir] {
			seen[s.dir] = true
			out = append(out, s.dir+": the name "+name+" says nothing about what belongs there")
		}
	}
	return out
}

func TestNames(t *testing.T) { report(t, vagueNames(sources(t))) }

func TestNamesNotice(t *testing.T) {
	expect(t, vagueNames(fromText(t, map[string]string{
		"a/util/x.go": "package util", "b/x.go": "package manager", "c/x.go": "package pods", "d/types/x.go": "package podtypes"})),
		"a/util", "b: the name manager", "d/types")
}
