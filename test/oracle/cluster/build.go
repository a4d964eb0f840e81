package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Version is the Kubernetes that Build builds.
const Version = "v1.36.3"

// versionPackage is where Kubernetes' programs have their version. They compare
// it with one another and refuse what they take for too old.
const versionPackage = "k8s.io/component-base/version"

// Build returns the program that is etcd, kube-apiserver or kubelet, as its
// first argument says: static, of test/kubernetes. It is built once for each
// state of that module's source, which takes three to eight minutes, and kept in
// the cache, /var/cache/davit-test or what DAVIT_TEST_CACHE says.
func Build(t testing.TB) string {
	t.Helper()
	file, err := build()
	if err != nil {
		t.Fatalf("building Kubernetes %s: %v", Version, err)
	}
	return file
}

func build() (string, error) {
	source, err := sourceDir()
	if err != nil {
		return "", err
	}
	sum, err := sourceSum(source)
	if err != nil {
		return "", err
	}
	cache := cacheDir()
	file := filepath.Join(cache, "kubernetes-"+sum)
	unlock, err := lock(filepath.Join(cache, "kubernetes.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	// Built aside and renamed: a build that is cut leaves no half program.
	tmp, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "kubernetes")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", ldflags(), "-o", out, ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("running go build in %s: %w\n%s", source, err, text)
	}
	return file, os.Rename(out, file)
}

func ldflags() string {
	major, minor, _ := strings.Cut(strings.TrimPrefix(Version, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	flags := []string{"-s", "-w"}
	for _, v := range [][2]string{{"gitVersion", Version}, {"gitMajor", major}, {"gitMinor", minor}, {"gitTreeState", "clean"}} {
		flags = append(flags, "-X", versionPackage+"."+v[0]+"="+v[1])
	}
	return strings.Join(flags, " ")
}

// sourceDir is the directory of the module that Build builds.
func sourceDir() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module's root: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "test", "kubernetes"), nil
}

// sourceSum is a name for what Build builds: its flags and all files of dir that
// decide about it.
func sourceSum(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, ldflags())
	for _, f := range append(files, filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum")) {
		data, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("reading what Kubernetes is built of: %w", err)
		}
		fmt.Fprintf(h, "%s %d\n%s", filepath.Base(f), len(data), data)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// cacheDir is where things that are built once are kept, outside the tree.
func cacheDir() string {
	if d := os.Getenv("DAVIT_TEST_CACHE"); d != "" {
		return d
	}
	return "/var/cache/davit-test"
}

// lock takes an exclusive lock on a file, waiting as long as it takes.
func lock(name string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of lock %s: %w", name, err)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening lock: %w", err)
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", name, err)
	}
	return func() { f.Close() }, nil
}
