package conventions

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// call forbids the use of names of a package, but in some directories.
type call struct {
	pkg    string   // import path
	names  []string // of the package
	only   []string // directories in which they may be used; nil: nowhere
	in     []string // directories in which they may not; nil: everywhere else
	reason string
}

var calls = []call{
	// runtime/enter/inside: a process that becomes one of a container's.
	{pkg: "golang.org/x/sys/unix", names: []string{"Setns", "Unshare", "SYS_SETNS", "SYS_UNSHARE"}, only: []string{"network/ns", "runtime/enter/inside", "test"},
		reason: "one place changes a thread's namespaces; all else hands the socket the namespace"},
	{pkg: "syscall", names: []string{"Unshare", "SYS_UNSHARE", "SYS_SETNS"}, only: []string{"network/ns", "test"},
		reason: "one place changes a thread's namespaces"},
	{pkg: "runtime", names: []string{"LockOSThread"}, only: []string{"network/ns", "runtime/enter/inside", "test"},
		reason: "a locked thread is there to change its namespaces, which network/ns does"},
	{pkg: "github.com/vishvananda/netns", names: []string{"Set", "New", "NewNamed", "Setns"}, only: []string{"network/ns", "test"},
		reason: "one place changes a thread's namespaces"},
	{pkg: "time", names: []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"},
		in:     []string{"agent/lifecycle", "agent/podspec", "agent/downward", "agent/containerenv", "runtime/oci", "proxy/rules", "cmd/davit/printer"},
		reason: "in a pure core now is a value"},
}

// attrs are the fields of syscall.SysProcAttr that make namespaces.
var attrs = []string{"Cloneflags", "Unshareflags"}

// attrDirs may use them: the helper's child makes user namespaces.
var attrDirs = []string{"network/ns", "cmd/davit-helper", "test"}

// misplaced are the calls that are made where they may not be.
func misplaced(files []*source) []string {
	var out []string
	for _, s := range files {
		for _, c := range calls {
			if s.test || s.under(c.only...) || c.in != nil && !s.under(c.in...) {
				continue
			}
			name := s.importedAs(c.pkg)
			if name == "" {
				continue
			}
			ast.Inspect(s.file, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == name && slices.Contains(c.names, sel.Sel.Name) {
					out = append(out, s.at(sel, "%s.%s: %s", name, sel.Sel.Name, c.reason))
				}
				return true
			})
		}
		if !s.test && !s.under(attrDirs...) {
			out = append(out, s.cloneFlags()...)
		}
	}
	return out
}

// cloneFlags are the places that set the fields that make namespaces.
func (s *source) cloneFlags() []string {
	var out []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		var id *ast.Ident
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			id, _ = n.Key.(*ast.Ident)
		case *ast.SelectorExpr:
			id = n.Sel
		}
		if id != nil && slices.Contains(attrs, id.Name) {
			out = append(out, s.at(n, "%s: namespaces are made in network/ns", id.Name))
		}
		return true
	})
	return out
}

// importedAs is the name under which a file uses a package, "" if it does not.
func (s *source) importedAs(pkg string) string {
	for _, imp := range s.file.Imports {
		if p, _ := strconv.Unquote(imp.Path.Value); p == pkg {
			if imp.Name != nil {
				return imp.Name.Name
			}
			return p[strings.LastIndex(p, "/")+1:]
		}
	}
	return ""
}

func TestCalls(t *testing.T) { report(t, misplaced(sources(t))) }

func TestCallsNotice(t *testing.T) {
	expect(t, misplaced(fromText(t, map[string]string{
		"agent/lifecycle/a.go": `package a
import clock "time"
var x = clock.Now()
var ok = clock.Second`,
		"agent/pods/a.go": `package a
import ("runtime"; "time"; "golang.org/x/sys/unix"; "syscall")
var a = time.Now()
func f() { runtime.LockOSThread(); unix.Setns(0, 0) }
var g = &syscall.SysProcAttr{Cloneflags: 1}`,
		"network/ns/a.go": `package a
import ("runtime"; "golang.org/x/sys/unix"; "syscall")
func f() { runtime.LockOSThread(); unix.Setns(0, 0) }
var g = &syscall.SysProcAttr{Cloneflags: 1}`,
		"network/a.go": `package a
import "github.com/vishvananda/netns"
func f() { netns.Set(0); netns.GetFromPath("x") }`,
		"agent/pods/a_test.go": `package a
import "runtime"
func f() { runtime.LockOSThread() }`,
		"agent/volumes/a.go": `package a
import "syscall"
func f(a *syscall.SysProcAttr) { a.Unshareflags = 1; syscall.Unshare(0) }`,
	})),
		"clock.Now", "unix.Setns", "runtime.LockOSThread", "Cloneflags", "syscall.Unshare", "Unshareflags", "netns.Set")
}

// skips are the tests that may decide not to be one.
func skips(files []*source) []string {
	var out []string
	for _, s := range files {
		if !s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok {
				if sel, ok := c.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
					out = append(out, s.at(n, "a test that needs something fails without it: a skipped test proves nothing and looks like one that does"))
				}
			}
			return true
		})
	}
	return out
}

func TestNoSkips(t *testing.T) { report(t, skips(sources(t))) }

func TestNoSkipsNotices(t *testing.T) {
	expect(t, skips(fromText(t, map[string]string{
		"a/a_test.go": "package a\nfunc f(t T) { t.Skip(); t.Skipf(\"\"); t.Fatal() }",
		"a/a.go":      "package a\nfunc f(t T) { t.Skip() }",
	})), "a/a_test.go:2", "a/a_test.go:2")
}
