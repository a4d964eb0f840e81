package volumes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/volumes/subpath"
)

func TestSubPath(t *testing.T) {
	dir := podDir(t)
	o, m := world()
	o.setConfigMap("cm", "a", "A")
	p := inNS(ofConfigMap("cm"), v1.Volume{Name: "disk"}, memory("1Mi"))
	mounts, err := m.Setup(t.Context(), p, dir)
	must(t, err)
	prepare := func(volume string, index int, sub string) (string, error) {
		return SubPath(t.Context(), dir, subpath.Mount{Volume: volume, Path: mounts[volume].HostPath, Container: "c", Index: index, SubPath: sub})
	}
	for range 2 {
		path, err := prepare("cm", 3, "a")
		if err != nil || path != filepath.Join(dir, "volume-subpaths/cm/c/3") {
			t.Fatalf("%q, %v", path, err)
		}
		expectFile(t, path, "A")
	}
	// A container's mount keeps what it has; the next one gets what is there.
	o.setConfigMap("cm", "a", "A2")
	_, err = m.Setup(t.Context(), p, dir)
	must(t, err)
	expectFile(t, filepath.Join(dir, "volume-subpaths/cm/c/3"), "A")
	path, err := prepare("cm", 3, "a")
	must(t, err)
	expectFile(t, path, "A2")

	const many = 200
	for i := range many {
		path, err := prepare([]string{"disk", "mem"}[i%2], i, fmt.Sprintf("new/%d", i))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(path, "f"), nil, 0o600))
		must(t, unix.Mount(dir, path, "", unix.MS_BIND, "")) // and something mounted on it
	}
	must(t, os.Symlink("/etc", filepath.Join(mounts["disk"].HostPath, "out")))
	for sub, want := range map[string]string{
		"out/passwd": `failed to prepare subPath for volumeMount "disk" of container "c"`,
		"out":        `failed to prepare subPath for volumeMount "disk" of container "c"`,
		"/etc":       "error SubPath `/etc` must not be an absolute path",
	} {
		if _, err := prepare("disk", many, sub); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", sub, err, want)
		}
	}
	must(t, unix.Mount("", mounts["mem"].HostPath, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	_, err = prepare("mem", many+1, "more")
	if want := `failed to create subPath directory for volumeMount "mem" of container "c"`; err == nil || err.Error() != want || !errors.Is(err, unix.EROFS) {
		t.Errorf("got %v, want %s", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := SubPath(ctx, dir, subpath.Mount{Volume: "disk", Path: mounts["disk"].HostPath, Container: "c", Index: many}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("", "err", err)
	if !strings.Contains(logged.String(), "read-only file system") {
		t.Errorf("the log lacks the cause: %s", &logged)
	}
	if n := len(mountsBelow(t, dir)); n != 1+1+2*many {
		t.Errorf("%d mounts", n)
	}
	must(t, m.Teardown(t.Context(), dir))
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 || len(mountsBelow(t, dir)) > 0 {
		t.Errorf("left behind: %v, %v, %v", left, mountsBelow(t, dir), err)
	}
}
