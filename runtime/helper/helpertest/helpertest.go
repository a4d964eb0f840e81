// Package helpertest builds the helper program for tests.
package helpertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/davit-agent/davit/runtime/helper"
	"github.com/davit-agent/davit/runtime/logs/pump"
)

const program = "github.com/davit-agent/davit/cmd/davit-helper"

type result struct {
	path string
	err  error
	out  string
}

var once = sync.OnceValue(func() (r result) { return build("") })

// Build returns the path of the helper, built once per test binary into a
// directory below os.TempDir that is kept as a cache: one file per version, for a
// day.
func Build(t testing.TB) string {
	t.Helper()
	r := once()
	if r.err != nil {
		t.Fatalf("building helper: %v\n%s", r.err, r.out)
	}
	return r.path
}

// BuildOther returns a helper that does the same but is another version.
func BuildOther(t testing.TB) string {
	t.Helper()
	r := build("-X main.stamp=other")
	if r.err != nil {
		t.Fatalf("building helper: %v\n%s", r.err, r.out)
	}
	return r.path
}

func build(ldflags string) (r result) {
	dir := filepath.Join(os.TempDir(), "davit-helpertest")
	if r.err = os.MkdirAll(dir, 0o755); r.err != nil {
		return r
	}
	tmp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		r.err = err
		return r
	}
	defer os.RemoveAll(tmp)
	prune(dir)
	built := filepath.Join(tmp, "davit-helper")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w "+ldflags, "-o", built, program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.err, r.out = err, string(out)
		return r
	}
	version, err := pump.Version(built)
	if err != nil {
		r.err = err
		return r
	}
	r.path = filepath.Join(dir, helper.Name(version))
	r.err = os.Rename(built, r.path)
	return r
}

// prune removes versions that no test can be running any more.
func prune(dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, helper.Name("*")))
	for _, name := range files {
		if st, err := os.Stat(name); err == nil && time.Since(st.ModTime()) > 24*time.Hour {
			_ = os.Remove(name)
		}
	}
}
