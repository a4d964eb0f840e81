package facts

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/oci"
)

// tmpfs mounts one with a propagation (unix.MS_SHARED, ...) for the test.
func tmpfs(t *testing.T, path string, propagation uintptr) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mounting a tmpfs: %v (this test needs root)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mount("", path, "", propagation, ""); err != nil {
		t.Fatal(err)
	}
}

func TestCheckPropagation(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	private, shared := filepath.Join(dir, "private"), filepath.Join(dir, "shared")
	tmpfs(t, private, unix.MS_PRIVATE)
	tmpfs(t, shared, unix.MS_SHARED)
	slave := filepath.Join(dir, "slave")
	if err := os.Mkdir(slave, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(shared, slave, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(slave, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mount("", slave, "", unix.MS_SLAVE, ""); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{private, shared} {
		if err := os.MkdirAll(filepath.Join(d, "below"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(shared, "below"), link); err != nil {
		t.Fatal(err)
	}
	const in, both = v1.MountPropagationHostToContainer, v1.MountPropagationBidirectional
	for _, c := range []struct {
		path string
		mode v1.MountPropagationMode
		want string
	}{
		{private, "", ""},
		{private, v1.MountPropagationNone, ""},
		{shared + "/below", both, ""},
		{shared, in, ""},
		{link, both, ""},
		{slave, in, ""},
		{slave, both, `path "` + slave + `" is mounted on "` + slave + `" but it is not a shared mount; run mount --make-rshared ` + slave + ` on the node, or use mountPropagation: None`},
		{private + "/below", in, `path "` + private + `/below" is mounted on "` + private + `" but it is not a shared or slave mount; run mount --make-rshared ` + private +
			` on the node, or use mountPropagation: None`},
	} {
		err := CheckPropagation(c.path, c.mode)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != c.want {
			t.Errorf("%s, %s: %q, want %q", c.path, c.mode, text, c.want)
		}
		var e *oci.Error
		if err != nil && (!errors.As(err, &e) || oci.Reason(err) != "CreateContainerError") {
			t.Errorf("%#v", err)
		}
	}
	if err := CheckPropagation(filepath.Join(dir, "none"), in); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
}

func TestMountByID(t *testing.T) {
	const info = "20 1 0:1 / / rw - ext4 /dev/vda rw\n21 20 0:2 / /a rw shared:5 master:3 propagate_from:1 - tmpfs tmpfs rw\n22 20 0:3 / /shared:x rw - tmpfs shared:1 rw\nbroken\n"
	for id, want := range map[string]mounted{"20": {"/", false, false}, "21": {"/a", true, true}, "22": {"/shared:x", false, false}} {
		if got, ok := mountByID(info, id); !ok || got != want {
			t.Errorf("%s: %+v", id, got)
		}
	}
	if got, ok := mountByID(info, "23"); ok {
		t.Errorf("%+v", got)
	}
}
