package cluster

import (
	"os"
	"path/filepath"
	"testing"
)

// A program is built anew when anything changes that it is built of.
func TestSourceSum(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sum := func() string {
		t.Helper()
		s, err := sourceSum(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	write("go.mod", "module x")
	if _, err := sourceSum(dir); err == nil {
		t.Error("a missing go.sum is no error")
	}
	write("go.sum", "")
	write("main.go", "package main")
	seen := map[string]string{sum(): "the first"}
	for _, change := range [][2]string{{"main.go", "package main\n"}, {"go.sum", "a"}, {"go.mod", "module y"}, {"more.go", "package main"}} {
		write(change[0], change[1])
		if was, ok := seen[sum()]; ok {
			t.Errorf("with another %s it is as with %s", change[0], was)
		}
		seen[sum()] = change[0]
	}
	before := sum()
	write("README", "x")
	if sum() != before {
		t.Error("a file that is not built changes it")
	}
}
