package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var build = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", err
	}
	root := strings.TrimSpace(string(out))
	cmd := exec.Command("make", "-s", "-C", root, "build")
	// A make above must not hand this one its job server.
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", &buildError{err, string(text)}
	}
	return filepath.Join(root, "bin", "davit"), nil
})

type buildError struct {
	err  error
	text string
}

func (e *buildError) Error() string { return "make build: " + e.err.Error() + "\n" + e.text }

// Build returns the binary of this tree, made by make build.
func Build(t testing.TB) string {
	t.Helper()
	file, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return file
}
