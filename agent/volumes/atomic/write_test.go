package atomic

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	"github.com/davit-agent/davit/agent/volumes/payload"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// files makes a payload of "path=content" with mode 0640.
func files(list ...string) payload.Payload {
	p := payload.Payload{}
	for _, f := range list {
		name, data, _ := strings.Cut(f, "=")
		p[name] = payload.File{Data: []byte(data), Mode: 0o640}
	}
	return p
}

// visible returns what a reader finds by names that are no secret of the layout:
// "path=content", directories followed.
func visible(t *testing.T, dir string) []string {
	t.Helper()
	out, err := look(dir)
	must(t, err)
	return out
}

func look(dir string) ([]string, error) {
	top, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range top {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		real, err := filepath.EvalSymlinks(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		err = filepath.WalkDir(real, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(p)
			out = append(out, e.Name()+strings.TrimPrefix(p, real)+"="+string(data))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(out)
	return out, nil
}

// hidden returns the names that begin with "..", generations as "..2".
func hidden(t *testing.T, dir string) []string {
	t.Helper()
	top, err := os.ReadDir(dir)
	must(t, err)
	var out []string
	for _, e := range top {
		switch name := e.Name(); {
		case isGeneration(name):
			out = append(out, "..2")
		case strings.HasPrefix(name, ".."):
			out = append(out, name)
		}
	}
	return out
}

func TestLayout(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := t.TempDir()
	want := files("a=A", "k/b=B", "k/l/c=C")
	want["free"] = payload.File{Data: []byte{0, 255}, Mode: 0o777}
	want["shut"] = payload.File{Mode: 0}
	res, err := Write(dir, want, Options{})
	must(t, err)
	if diff := cmp.Diff([]string{"a=A", "free=\x00\xff", "k/b=B", "k/l/c=C", "shut="}, visible(t, dir)); diff != "" {
		t.Error(diff)
	}
	for name, to := range map[string]string{"..data": res.Generation, "a": "..data/a", "k": "..data/k"} {
		if got, err := os.Readlink(filepath.Join(dir, name)); err != nil || got != to {
			t.Errorf("%s -> %q, %v; want %q", name, got, err, to)
		}
	}
	for name, mode := range map[string]fs.FileMode{
		"a": 0o640, "k/b": 0o640, "free": 0o777, "shut": 0, "k": 0o755 | fs.ModeDir, "k/l": 0o755 | fs.ModeDir, "..data": 0o755 | fs.ModeDir,
	} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, mode)
		}
	}
	if len(res.Generation) != len("..2026_11_23_12_29_39.0123456789") || res.Replaced != "" || Current(dir) != res.Generation {
		t.Errorf("%+v, current %q", res, Current(dir))
	}
}

// TestUpdates goes from each of several payloads to each other.
func TestUpdates(t *testing.T) {
	all := []payload.Payload{
		files("a=A", "b=B"), files("a=A2", "b=B"), files("b=B"), {}, files("a/x=X", "b=B"), files("a/y=Y", "a/x=X", "c=C"),
	}
	mode := files("a=A", "b=B")
	mode["a"] = payload.File{Data: []byte("A"), Mode: 0o600}
	all = append(all, mode)
	for i, from := range all {
		for j, to := range all {
			dir := t.TempDir()
			_, err := Write(dir, from, Options{})
			must(t, err)
			res, err := Write(dir, to, Options{})
			must(t, err)
			if (res.Replaced != "") != (i != j) {
				t.Errorf("%d to %d: replaced %q", i, j, res.Replaced)
			}
			if diff := cmp.Diff(contents(to), visible(t, dir)); diff != "" {
				t.Errorf("%d to %d: %s", i, j, diff)
			}
			must(t, Sweep(dir))
			if diff := cmp.Diff([]string{"..2", "..data"}, hidden(t, dir)); diff != "" {
				t.Errorf("%d to %d: %s", i, j, diff)
			}
			if info, err := os.Stat(filepath.Join(dir, "a")); err == nil && !info.IsDir() && info.Mode() != fs.FileMode(to["a"].Mode) {
				t.Errorf("%d to %d: mode %v", i, j, info.Mode())
			}
		}
	}
}

// contents are those of a payload as look tells them.
func contents(p payload.Payload) []string {
	var out []string
	for name, f := range p {
		out = append(out, name+"="+string(f.Data))
	}
	slices.Sort(out)
	return out
}

// TestKeep: what was replaced stays as long as it is to be kept.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	var keep []string
	for i := range 5 {
		res, err := Write(dir, files(fmt.Sprint("a=", i)), Options{Keep: keep})
		must(t, err)
		if res.Replaced != "" {
			keep = append(keep, res.Replaced)
		}
	}
	for i, name := range keep {
		if data, err := os.ReadFile(filepath.Join(dir, name, "a")); err != nil || string(data) != fmt.Sprint(i) {
			t.Errorf("%q, %v", data, err)
		}
	}
	must(t, Sweep(dir, keep[2:]...))
	if n := len(hidden(t, dir)); n != 2+2 {
		t.Errorf("%d entries", n)
	}
	if diff := cmp.Diff([]string{"a=4"}, visible(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// TestUnchangedWritesNothing: not even for what an earlier process wrote.
func TestUnchangedWritesNothing(t *testing.T) {
	dir := t.TempDir()
	group := Options{Group: ptr.To(int64(4711)), Mountpoints: []string{"m/n"}}
	for _, o := range []Options{{}, group} {
		_, err := Write(dir, files("a=A", "k/b=B"), o)
		must(t, err)
		must(t, Sweep(dir))
		w := &writer{want: files("k/b=B", "a=A"), o: o, cut: func() error { return errors.New("a change") }}
		if res, err := w.write(dir); err != nil || res.Replaced != "" || res.Generation != Current(dir) {
			t.Errorf("%+v, %v", res, err)
		}
	}
}

// TestDamage: what was changed by hand is put right.
func TestDamage(t *testing.T) {
	for name, damage := range map[string]func(data string) error{
		"content":      func(d string) error { return os.WriteFile(d+"/a", []byte("B"), 0) },
		"mode":         func(d string) error { return os.Chmod(d+"/a", 0o644) },
		"group":        func(d string) error { return os.Chown(d+"/k/b", -1, 5) },
		"removed":      func(d string) error { return os.Remove(d + "/k/b") },
		"added":        func(d string) error { return os.WriteFile(d+"/k/c", nil, 0o640) },
		"dir added":    func(d string) error { return os.Mkdir(d+"/d", 0o755) },
		"dir mode":     func(d string) error { return os.Chmod(d+"/k", 0o700) },
		"symlink":      func(d string) error { return errors.Join(os.Remove(d+"/a"), os.Symlink("k/b", d+"/a")) },
		"fifo":         func(d string) error { return errors.Join(os.Remove(d+"/a"), syscall.Mkfifo(d+"/a", 0o640)) },
		"link removed": func(d string) error { return os.Remove(d + "/../a") },
		"link added":   func(d string) error { return os.Symlink("/etc/passwd", d+"/../x") },
		"no data":      func(d string) error { return os.Remove(filepath.Dir(d) + "/..data") },
		"data elsewhere": func(d string) error {
			return errors.Join(os.Remove(filepath.Dir(d)+"/..data"), os.Symlink("/etc", filepath.Dir(d)+"/..data"))
		},
	} {
		dir, want, o := t.TempDir(), files("a=A", "k/b=B"), Options{Group: ptr.To(int64(7))}
		res, err := Write(dir, want, o)
		must(t, err)
		must(t, damage(filepath.Join(dir, res.Generation)))
		_, err = Write(dir, want, o)
		must(t, err)
		if diff := cmp.Diff(contents(want), visible(t, dir)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for _, f := range []string{"a", "k/b"} {
			info, err := os.Lstat(filepath.Join(dir, Current(dir), f))
			must(t, err)
			if info.Mode() != 0o640 || info.Sys().(*syscall.Stat_t).Gid != 7 {
				t.Errorf("%s: %v", name, info.Mode())
			}
		}
	}
}

func TestGroup(t *testing.T) {
	dir, want := t.TempDir(), files("k/b=B")
	want["shut"] = payload.File{Mode: 0}
	want["own"] = payload.File{Mode: 0o700}
	_, err := Write(dir, want, Options{Group: ptr.To(int64(4711)), Mountpoints: []string{"m/n"}})
	must(t, err)
	for name, mode := range map[string]fs.FileMode{
		"k/b": 0o640, "shut": 0o440, "own": 0o740, "..data/k": 0o755 | fs.ModeSetgid | fs.ModeDir,
		"..data": 0o755 | fs.ModeSetgid | fs.ModeDir, "m": 0o755 | fs.ModeSetgid | fs.ModeDir, "m/n": 0o755 | fs.ModeSetgid | fs.ModeDir,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if info.Mode() != mode || info.Sys().(*syscall.Stat_t).Gid != 4711 || info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("%s: %v, want %v", name, info.Mode(), mode)
		}
	}
	for _, link := range []string{"k", "..data"} {
		if info, err := os.Lstat(filepath.Join(dir, link)); err != nil || info.Sys().(*syscall.Stat_t).Gid != 4711 {
			t.Errorf("%s: %v", link, err)
		}
	}
}

// TestMountpoints stay over updates, whatever keys come.
func TestMountpoints(t *testing.T) {
	dir, o := t.TempDir(), Options{Mountpoints: []string{"a", "k/m"}}
	for _, want := range []payload.Payload{files("b=B"), files("a=A", "k/b=B", "c=C"), {}} {
		_, err := Write(dir, want, o)
		must(t, err)
		for _, m := range o.Mountpoints {
			if info, err := os.Lstat(filepath.Join(dir, m)); err != nil || !info.IsDir() || info.Mode().Perm() != 0o755 {
				t.Errorf("%s: %v", m, err)
			}
		}
	}
	// A directory that is in the way of a key goes if it is empty.
	must(t, os.Mkdir(filepath.Join(dir, "x"), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "full", "of"), 0o755))
	_, err := Write(dir, files("x=X", "full=F"), o)
	must(t, err)
	if diff := cmp.Diff([]string{"x=X"}, visible(t, dir)); diff != "" {
		t.Error(diff)
	}
}

var errCut = errors.New("cut")

// TestCut stops an update before each of its changes, as kill -9 does, and looks
// at what a reader sees then and after the next Write.
func TestCut(t *testing.T) {
	o := Options{Group: ptr.To(int64(9)), Mountpoints: []string{"m"}}
	old, next := files("a=A", "both=1", "k/b=B"), files("both=2", "k/c=C", "n=N")
	for _, from := range []payload.Payload{nil, old} {
		steps := 0
		for at := 0; ; at++ {
			dir := t.TempDir()
			if from != nil {
				for range 2 { // with a generation that waits for Sweep
					_, err := Write(dir, files(fmt.Sprint("before=", at)), o)
					must(t, err)
					_, err = Write(dir, from, o)
					must(t, err)
				}
			}
			n := 0
			w := &writer{want: next, o: o, cut: func() error {
				if n++; n > at {
					return errCut
				}
				return nil
			}}
			_, err := w.write(dir)
			if err == nil {
				steps = at
				break
			}
			if !errors.Is(err, errCut) {
				t.Fatalf("step %d: %v", at, err)
			}
			whole(t, dir, at, from, next)
			for _, then := range []payload.Payload{next, old} {
				_, err = Write(dir, then, o)
				must(t, err)
				if diff := cmp.Diff(contents(then), visible(t, dir)); diff != "" {
					t.Errorf("after a cut at step %d: %s", at, diff)
				}
				must(t, Sweep(dir))
				if diff := cmp.Diff([]string{"..2", "..data"}, hidden(t, dir)); diff != "" {
					t.Errorf("after a cut at step %d: %s", at, diff)
				}
			}
		}
		if steps < 15 {
			t.Errorf("%d steps only", steps)
		}
	}
}

// whole checks that ..data is all old or all new and that each link that leads
// somewhere leads to the content of that.
func whole(t *testing.T, dir string, at int, from, next payload.Payload) {
	t.Helper()
	var have []string
	root := filepath.Join(dir, "..data")
	if real, err := filepath.EvalSymlinks(root); err == nil {
		have, err = look(real)
		must(t, err)
	}
	is := from
	if !slices.Equal(have, contents(from)) {
		is = next
		if diff := cmp.Diff(contents(next), have); diff != "" {
			t.Errorf("step %d: neither old nor new: %s", at, diff)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && string(data) != string(is[name].Data) {
			t.Errorf("step %d: %s is %q, %v", at, name, data, err)
		}
	}
}

// TestErrorLeavesTheOld: a write that fails leaves what was there, and no rest.
func TestErrorLeavesTheOld(t *testing.T) {
	dir := t.TempDir()
	must(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	_, err := Write(dir, files("a=A"), Options{})
	must(t, err)
	_, err = Write(dir, files("a=A2", "big="+strings.Repeat("x", 1<<20)), Options{})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"a=A"}, visible(t, dir)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"..2", "..data"}, hidden(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// TestStaysInside: nothing outside of the volume is touched, whatever lies in it.
func TestStaysInside(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "precious"), []byte("p"), 0o600))
	must(t, os.Symlink(outside, filepath.Join(dir, "..2020_old")))
	must(t, os.Symlink(outside, filepath.Join(dir, "m")))
	must(t, os.Symlink(filepath.Join(outside, "precious"), filepath.Join(dir, "a")))
	must(t, os.Symlink(outside, filepath.Join(dir, "..data_tmp")))
	_, err := Write(dir, files("b=B"), Options{Group: ptr.To(int64(3)), Mountpoints: []string{"m/n"}})
	must(t, err)
	left, err := os.ReadDir(outside)
	must(t, err)
	info, err := os.Stat(filepath.Join(outside, "precious"))
	must(t, err)
	if len(left) != 1 || info.Mode() != 0o600 || info.Sys().(*syscall.Stat_t).Gid != 0 {
		t.Errorf("outside: %v, %v", left, info.Mode())
	}
}

// TestLarge: as many keys and bytes as objects may have.
func TestLarge(t *testing.T) {
	dir, want := t.TempDir(), payload.Payload{}
	for i := range 10000 {
		want[fmt.Sprintf("key-%05d", i)] = payload.File{Data: fmt.Appendf(nil, "value %d", i), Mode: 0o644}
	}
	want["large"] = payload.File{Data: make([]byte, 1<<20), Mode: 0o644}
	_, err := Write(dir, want, Options{})
	must(t, err)
	if diff := cmp.Diff(contents(want), visible(t, dir)); diff != "" {
		t.Error(diff)
	}
	delete(want, "key-04711")
	_, err = Write(dir, want, Options{})
	must(t, err)
	if got := visible(t, dir); len(got) != 10000 {
		t.Errorf("%d files", len(got))
	}
}

func TestNoDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if _, err := Write(dir, files("a=A"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	must(t, Sweep(dir))
	if c := Current(dir); c != "" {
		t.Error(c)
	}
}
