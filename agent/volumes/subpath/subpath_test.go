package subpath

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a volume, something beside it that is not to be reached, and a pod's
// directory.
type world struct{ volume, outside, pod string }

func newWorld(t *testing.T) world {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	w := world{filepath.Join(base, "volume"), filepath.Join(base, "outside"), filepath.Join(base, "pod")}
	for _, dir := range []string{w.volume, w.outside, w.pod} {
		must(t, os.Mkdir(dir, 0o755))
	}
	must(t, os.WriteFile(filepath.Join(w.outside, "secret"), []byte("outside"), 0o600))
	t.Cleanup(func() { w.unmount(t) })
	return w
}

// unmount takes away what Bind mounted for volume "v" and container "c".
func (w world) unmount(t *testing.T) {
	t.Helper()
	targets, err := filepath.Glob(filepath.Join(w.pod, Dir, "v", "c", "*"))
	must(t, err)
	for _, target := range targets {
		must(t, unmount(target))
	}
}

func (w world) mount(sub string) Mount {
	return Mount{Volume: "v", Path: w.volume, Container: "c", SubPath: sub}
}

// prepare is what volumes.SubPath does.
func (w world) prepare(t *testing.T, m Mount) (string, error) {
	t.Helper()
	f, err := Open(t.Context(), m.Path, m.SubPath)
	if err != nil {
		return "", err
	}
	target, err := Bind(f, w.pod, m)
	return target, errors.Join(err, f.Close())
}

func TestExisting(t *testing.T) {
	w := newWorld(t)
	must(t, os.MkdirAll(filepath.Join(w.volume, "dir/sub"), 0o700))
	must(t, os.WriteFile(filepath.Join(w.volume, "dir/sub/file"), []byte("inside"), 0o600))
	for name, to := range map[string]string{
		"rel": "dir/sub", "up": "dir/../dir/sub", "abs": filepath.Join(w.volume, "dir/sub"), "chain": "up", "dir/back": "../rel", "dot": ".",
	} {
		must(t, os.Symlink(to, filepath.Join(w.volume, name)))
	}
	for _, sub := range []string{"dir/sub", "./dir//sub/", "rel", "up", "abs", "chain", "dir/back", "dot/dir/sub"} {
		target, err := w.prepare(t, w.mount(sub))
		if err != nil || target != filepath.Join(w.pod, "volume-subpaths/v/c/0") {
			t.Errorf("%s: %q, %v", sub, target, err)
			continue
		}
		if data, err := os.ReadFile(filepath.Join(target, "file")); err != nil || string(data) != "inside" {
			t.Errorf("%s: %q, %v", sub, data, err)
		}
		file, err := w.prepare(t, w.mount(sub+"/file"))
		must(t, err)
		if data, err := os.ReadFile(file); err != nil || string(data) != "inside" {
			t.Errorf("%s/file: %q, %v", sub, data, err)
		}
	}
	// The place is one mount, however often it was prepared, and after it
	// none is left.
	w.unmount(t)
	info, err := os.Lstat(filepath.Join(w.pod, "volume-subpaths/v/c/0"))
	must(t, err)
	if !info.Mode().IsRegular() || info.Size() != 0 {
		t.Errorf("below the mount: %v, %d bytes", info.Mode(), info.Size())
	}
	if info, err := os.Stat(filepath.Join(w.pod, "volume-subpaths/v/c")); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestMadeDirectories(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	w := newWorld(t)
	must(t, os.Chown(w.volume, 0, 4711))
	must(t, os.Chmod(w.volume, 0o777|fs.ModeSetgid))
	must(t, os.Symlink("later", filepath.Join(w.volume, "link")))
	for _, sub := range []string{"a/b/c", "link/x"} {
		target, err := w.prepare(t, w.mount(sub))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(target, "f"), nil, 0o600))
		if _, err := os.Stat(filepath.Join(w.volume, sub, "f")); err != nil {
			t.Errorf("%s: %v", sub, err)
		}
	}
	for _, dir := range []string{"a", "a/b", "a/b/c", "later", "later/x"} {
		info, err := os.Lstat(filepath.Join(w.volume, dir))
		must(t, err)
		if info.Mode() != 0o777|fs.ModeSetgid|fs.ModeDir || info.Sys().(*syscall.Stat_t).Gid != 4711 {
			t.Errorf("%s: %v", dir, info.Mode())
		}
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	must(t, os.WriteFile(filepath.Join(w.volume, "file"), nil, 0o600))
	for name, to := range map[string]string{
		"abs": w.outside, "rel": "../outside", "deep": "./x/../../outside", "loop": "loop", "root": "/", "proc": "/proc/self/root",
		"beside": w.volume + "x", "missing": "gone/../../outside", "missing2": "../outside/new",
	} {
		must(t, os.Symlink(to, filepath.Join(w.volume, name)))
	}
	must(t, os.Mkdir(filepath.Join(w.volume, "x"), 0o755))
	escapes := errEscapes.Error()
	for sub, want := range map[string]string{
		"abs": escapes, "abs/secret": escapes, "abs/new": escapes, "rel/secret": escapes, "rel/new": escapes, "deep": escapes, "root/etc": escapes, "proc/etc": escapes, "beside": escapes,
		"missing2": escapes, "missing": unix.ENOENT.Error(), "loop": errLoop.Error(), "file/x": unix.ENOTDIR.Error(),
		"/abs":   "error SubPath `/abs` must not be an absolute path",
		"a/../b": "unable to provision SubPath `a/../b`: must not contain '..'", "..": "must not contain '..'", "a\x00b": "must not contain a NUL",
	} {
		if target, err := w.prepare(t, w.mount(sub)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %s", sub, target, err, want)
		}
	}
	left, err := os.ReadDir(w.outside)
	must(t, err)
	if len(left) != 1 {
		t.Errorf("outside: %v", left)
	}
	m := w.mount("x")
	m.Container = "../x"
	if _, err := w.prepare(t, m); err == nil || err.Error() != `"../x" is no name of a volume or container` {
		t.Errorf("got %v", err)
	}
	m = w.mount("x")
	m.Path = filepath.Join(w.volume, "file")
	if _, err := w.prepare(t, m); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("got %v", err)
	}
}

// TestProc: magic links lead anywhere, and are refused as such.
func TestProc(t *testing.T) {
	f, err := os.Open(t.TempDir())
	must(t, err)
	defer func() { must(t, f.Close()) }()
	for _, sub := range []string{"self/root", "self/cwd", "self/exe"} {
		if f, err := Open(t.Context(), "/proc", sub); err == nil {
			_ = f.Close()
			t.Errorf("%s was opened", sub)
		}
	}
}

// TestSpecialFiles are mounted as files, without being opened.
func TestSpecialFiles(t *testing.T) {
	w := newWorld(t)
	must(t, unix.Mkfifo(filepath.Join(w.volume, "fifo"), 0o600))
	target, err := w.prepare(t, w.mount("fifo"))
	must(t, err)
	if info, err := os.Lstat(target); err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		t.Errorf("%v, %v", info, err)
	}
}

// TestFollowsContent: what was prepared is what is there at that time, though
// the path leads elsewhere later.
func TestFollowsContent(t *testing.T) {
	w := newWorld(t)
	read := func(path string) string {
		data, err := os.ReadFile(path)
		must(t, err)
		return string(data)
	}
	for i, content := range []string{"one", "two"} {
		dir := filepath.Join(w.volume, content)
		must(t, os.Mkdir(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "key"), []byte(content), 0o644))
		must(t, os.Symlink(content, filepath.Join(w.volume, "new")))
		must(t, os.Rename(filepath.Join(w.volume, "new"), filepath.Join(w.volume, "data")))
		target := filepath.Join(w.pod, "volume-subpaths/v/c/0")
		if i > 0 && read(target) != "one" {
			t.Errorf("it followed: %q", read(target))
		}
		_, err := w.prepare(t, w.mount("data/key"))
		must(t, err)
		if read(target) != content {
			t.Errorf("%q, want %q", read(target), content)
		}
	}
}
