package testbed

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Containerd2 is the version that BuildContainerd2 builds.
const Containerd2 = "v2.2.3"

// BuildContainerd2 returns a directory with a containerd and its shim of
// version Containerd2, for Options.Containerd. They are built from their Go
// module, which takes some minutes, once for the machine: in the directory
// containerd-<version>/bin of the cache, /var/cache/davit-test or what
// DAVIT_TEST_CACHE says.
func BuildContainerd2(t testing.TB) string {
	t.Helper()
	bin := filepath.Join(cacheDir(), "containerd-"+Containerd2, "bin")
	if err := buildContainerd(bin); err != nil {
		t.Fatalf("building containerd %s: %v", Containerd2, err)
	}
	return bin
}

func buildContainerd(bin string) error {
	unlock, err := lockFile(filepath.Join(cacheDir(), "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	var missing []string
	for _, prog := range []string{"containerd", "containerd-shim-runc-v2"} {
		if _, err := os.Stat(filepath.Join(bin, prog)); err != nil {
			missing = append(missing, "github.com/containerd/containerd/v2/cmd/"+prog+"@"+Containerd2)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	// Built aside and renamed: a build that is cut leaves no half program.
	tmp, err := os.MkdirTemp(cacheDir(), "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command("go", append([]string{"install", "-trimpath", "-ldflags=-s -w",
		"-tags=no_btrfs,no_zfs,no_devmapper,no_tracing"}, missing...)...)
	cmd.Env = append(os.Environ(), "GOBIN="+tmp, "CGO_ENABLED=0", "GOFLAGS=")
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running go install: %w\n%s", err, out)
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	built, err := os.ReadDir(tmp)
	if err != nil {
		return err
	}
	for _, e := range built {
		if err := os.Rename(filepath.Join(tmp, e.Name()), filepath.Join(bin, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

//go:embed cmd/podtool/*.go
var podtoolSource embed.FS

// Podtool returns the path of a static binary of cmd/podtool, the program that
// test images carry. It is built once for each state of its source and kept in
// the cache, so that a test binary carried to a machine without Go works if the
// cache comes along.
func Podtool(t testing.TB) string {
	t.Helper()
	file, err := buildPodtool()
	if err != nil {
		t.Fatalf("building podtool: %v", err)
	}
	return file
}

func buildPodtool() (string, error) {
	h := sha256.New()
	err := fs.WalkDir(podtoolSource, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := podtoolSource.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(data), data)
		return err
	})
	if err != nil {
		return "", err
	}
	file := filepath.Join(cacheDir(), "podtool-"+hex.EncodeToString(h.Sum(nil)[:8]))
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := os.MkdirAll(cacheDir(), 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cacheDir(), "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "podtool")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out,
		"github.com/davit-agent/davit/test/testbed/cmd/podtool")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("running go build: %w\n%s", err, text)
	}
	return file, os.Rename(out, file)
}
