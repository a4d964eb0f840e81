package conventions

import (
	"fmt"
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What may be how long; in tests only files are measured. The tail of these distributions is what makes a house
// unpleasant to live in; see docs/design.md.
const (
	maxFile      = 500  // lines
	maxFunc      = 80   // lines
	maxInterface = 7    // methods
	maxStruct    = 20   // fields
	maxParams    = 5    // of a function or method
	maxPackage   = 2500 // lines without tests
)

var excuse = regexp.MustCompile(`(?m)^\s*// ?budget: \S+`) // gofmt puts a space into doc comments

// excused tells whether a comment in the lines [from, to] gives a reason.
func (s *source) excused(from, to int) bool {
	for _, g := range s.file.Comments {
		for _, c := range g.List {
			if l := s.line(c.Pos()); l >= from && l <= to && excuse.MatchString(c.Text) {
				return true
			}
		}
	}
	return false
}

// excusedNode looks into the lines from the node's doc comment, or the line
// above it, to its first.
func (s *source) excusedNode(n ast.Node, doc *ast.CommentGroup) bool {
	first := s.line(n.Pos())
	from := first - 1
	if doc != nil {
		from = min(from, s.line(doc.Pos()))
	}
	return s.excused(from, first)
}

func overBudget(files []*source) []string {
	var out []string
	sizes, excuses := map[string]int{}, map[string]bool{}
	for _, s := range files {
		head := s.line(s.file.Package)
		if s.lines > maxFile && !s.excused(1, head) {
			out = append(out, fmt.Sprintf("%s: %d lines, at most %d", s.path, s.lines, maxFile))
		}
		if s.test {
			continue
		}
		out = append(out, s.longDecls()...)
		sizes[s.dir] += s.lines
		if strings.HasSuffix(s.path, "/doc.go") && s.excused(1, head) {
			excuses[s.dir] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(sizes)) {
		if sizes[dir] > maxPackage && !excuses[dir] {
			out = append(out, fmt.Sprintf("%s: %d lines without tests, at most %d", dir, sizes[dir], maxPackage))
		}
	}
	return out
}

// longDecls are the declarations of a file that are over budget.
func (s *source) longDecls() []string {
	var out []string
	over := func(n ast.Node, doc *ast.CommentGroup, have, most int, what string) {
		if have > most && !s.excusedNode(n, doc) {
			out = append(out, s.at(n, "%s: %d, at most %d", what, have, most))
		}
	}
	for _, d := range s.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			over(d, d.Doc, s.line(d.End())-s.line(d.Pos())+1, maxFunc, "lines of "+d.Name.Name)
			over(d, d.Doc, d.Type.Params.NumFields(), maxParams, "parameters of "+d.Name.Name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if ts, ok := spec.(*ast.TypeSpec); ok {
					doc := ts.Doc
					if doc == nil {
						doc = d.Doc
					}
					s.longType(ts, doc, over)
				}
			}
		}
	}
	return out
}

func (s *source) longType(ts *ast.TypeSpec, doc *ast.CommentGroup, over func(ast.Node, *ast.CommentGroup, int, int, string)) {
	switch typ := ts.Type.(type) {
	case *ast.StructType:
		over(ts, doc, typ.Fields.NumFields(), maxStruct, "fields of "+ts.Name.Name)
	case *ast.InterfaceType:
		over(ts, doc, typ.Methods.NumFields(), maxInterface, "methods of "+ts.Name.Name)
		for _, m := range typ.Methods.List {
			if f, ok := m.Type.(*ast.FuncType); ok && len(m.Names) == 1 {
				over(m, m.Doc, f.Params.NumFields(), maxParams, "parameters of "+ts.Name.Name+"."+m.Names[0].Name)
			}
		}
	}
}

func TestBudgets(t *testing.T) { report(t, overBudget(sources(t))) }

func TestBudgetsNotice(t *testing.T) {
	lines := func(n int) string { return strings.Repeat("\n", n) }
	six := "a, b, c, d, e, f int"
	file := func(excuse string) string {
		return excuse + "package x\n" +
			excuse + "func long() {" + lines(81) + "}\n" +
			excuse + "func wide(" + six + ") {}\n" +
			excuse + "type s struct {\n" + strings.Repeat("a, b int\n", 10) + "c int }\n" +
			excuse + "type i interface {\n" + strings.Repeat("m()\n", 7) + excuse + "w(" + six + ") }\n" +
			lines(500)
	}
	expect(t, overBudget(fromText(t, map[string]string{"d/a.go": file("")})),
		"d/a.go: 6", "lines of long: 82", "parameters of wide: 6", "fields of s: 21", "methods of i: 8", "parameters of i.w: 6")
	expect(t, overBudget(fromText(t, map[string]string{"d/a.go": file("//budget: a reason\n")})))
	if found := overBudget(fromText(t, map[string]string{"d/a.go": file("//budget:\n")})); len(found) == 0 {
		t.Error("an excuse without a reason is taken")
	}

	big := map[string]string{"d/t_test.go": "package x" + lines(400)}
	for i := range 7 {
		big[fmt.Sprintf("d/f%d.go", i)] = "package x" + lines(400)
	}
	expect(t, overBudget(fromText(t, big)), "d: 2800 lines without tests")
	big["d/doc.go"] = "//budget: a reason\n\npackage x\n"
	expect(t, overBudget(fromText(t, big)))
}
