package images

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tree is what one layer holds, by path: content of a file; or ">target" a
// symbolic link, "/" a directory, "!" an opaque one, "-" a whiteout, "|" a FIFO.
type tree map[string]string

// lay makes layers on disk, the topmost first, and returns their directories.
func lay(t *testing.T, trees ...tree) []string {
	t.Helper()
	var dirs []string
	for _, tr := range trees {
		dir := t.TempDir()
		dirs = append(dirs, dir)
		for name, what := range tr {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			var err error
			switch {
			case what == "/", what == "!":
				err = os.MkdirAll(path, 0o755)
				if err == nil && what == "!" {
					err = unix.Setxattr(path, "trusted.overlay.opaque", []byte("y"), 0)
				}
			case what == "-":
				err = unix.Mknod(path, unix.S_IFCHR, 0)
			case what == "|":
				err = unix.Mkfifo(path, 0o644)
			case strings.HasPrefix(what, ">"):
				err = os.Symlink(what[1:], path)
			default:
				err = os.WriteFile(path, []byte(what), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return dirs
}

func readFrom(t *testing.T, dirs []string, name string) string {
	t.Helper()
	l, err := openLayers(dirs)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	data, err := l.read(name)
	if err != nil {
		t.Fatal(err)
	}
	if data == nil {
		return "(none)"
	}
	return string(data)
}

func TestReadingThroughLayers(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "passwd"), []byte("host"), 0o600); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 20)
	for _, c := range []struct {
		name   string
		layers []tree
		want   string
	}{
		{"one layer", []tree{{"etc/passwd": "a"}}, "a"},
		{"none", []tree{{"etc": "/"}}, "(none)"},
		{"empty image", []tree{{}}, "(none)"},
		{"upper wins", []tree{{"etc/passwd": "a"}, {"etc/passwd": "b"}}, "a"},
		{"merged directory", []tree{{"etc/group": "g"}, {"etc/passwd": "b"}}, "b"},
		{"whiteout of the file", []tree{{"etc/passwd": "-"}, {"etc/passwd": "b"}}, "(none)"},
		{"whiteout of the directory", []tree{{"etc": "-"}, {"etc/passwd": "b"}}, "(none)"},
		{"opaque directory", []tree{{"etc": "!"}, {"etc/passwd": "b"}}, "(none)"},
		{"file over directory", []tree{{"etc": "x"}, {"etc/passwd": "b"}}, "(none)"},
		{"directory over file", []tree{{"etc": "/"}, {"etc": "x"}, {"etc/passwd": "b"}}, "(none)"},
		{"relative link", []tree{{"etc/passwd": ">../usr/passwd"}, {"usr/passwd": "b"}}, "b"},
		{"absolute link", []tree{{"etc": ">/usr/etc"}, {"usr/etc/passwd": "b"}}, "b"},
		{"link out of the image", []tree{{"etc/passwd": ">" + outside + "/passwd"}}, "(none)"},
		{"link up and out", []tree{{"etc/passwd": ">" + up + outside + "/passwd"}}, "(none)"},
		{"linked directory out", []tree{{"etc": ">" + up + outside}}, "(none)"},
		{"loop", []tree{{"etc/passwd": ">group", "etc/group": ">passwd"}}, "(none)"},
		{"directory", []tree{{"etc/passwd": "/"}}, "(none)"},
		{"FIFO", []tree{{"etc/passwd": "|"}}, "(none)"},
		{"long", []tree{{"etc/passwd": strings.Repeat("0123456789abcde\n", 1<<17)}}, strings.Repeat("0123456789abcde\n", 1<<16)},
		{"long line at the end", []tree{{"etc/passwd": "a\n" + strings.Repeat("x", maxAccounts)}}, "a\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := readFrom(t, lay(t, c.layers...), "/etc/passwd"); got != c.want {
				t.Errorf("got %.40q, want %.40q", got, c.want)
			}
		})
	}
}

// TestLayersAgreeWithTheKernel lays random trees over one another and compares
// every lookup with the kernel's overlayfs.
func TestLayersAgreeWithTheKernel(t *testing.T) {
	seed := uint64(os.Getpid())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	names := []string{"a", "b", "a/a", "a/b", "b/a", "b/b", "a/a/a", "a/b/a", "b/a/b"}
	whats := []string{"/", "/", "!", "-", ">a", ">/b", ">../a", ">/a/b", ">a/../b", "text", "text"}
	found := 0
	for round := range 150 {
		var trees []tree
		for range 2 + rnd.IntN(3) {
			tr := tree{}
			for _, n := range names {
				up := tr[filepath.Dir(n)]
				if rnd.IntN(3) == 0 && (filepath.Dir(n) == "." || up == "" || up == "/" || up == "!") {
					tr[n] = whats[rnd.IntN(len(whats))]
					if tr[n] == "text" {
						tr[n] = fmt.Sprintf("%d of %d", len(trees), rnd.Int32())
					}
				}
			}
			for n := range tr { // nothing below what is no directory
				for up := filepath.Dir(n); up != "."; up = filepath.Dir(up) {
					if w, ok := tr[up]; ok && w != "/" && w != "!" {
						delete(tr, n)
					}
				}
			}
			trees = append(trees, tr)
		}
		dirs := lay(t, append(trees, tree{"base": "/"})...)
		merged := t.TempDir()
		if err := unix.Mount("overlay", merged, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(dirs, ":")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(merged, unix.MNT_DETACH) })
		for _, n := range names {
			want := kernelRead(t, merged, n)
			if want != "(none)" {
				found++
			}
			if got := readFrom(t, dirs, n); got != want {
				t.Fatalf("round %d: %s is %q, the kernel says %q, of %v", round, n, got, want, trees)
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d lookups found a file: the trees are too poor", found)
	}
}

// kernelRead reads a regular file in a mounted tree as a process would that has
// the tree as its root.
func kernelRead(t *testing.T, root, name string) string {
	t.Helper()
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return "(none)"
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var buf bytes.Buffer
	if _, err := buf.ReadFrom(f); err != nil {
		return "(none)" // a directory
	}
	return buf.String()
}
