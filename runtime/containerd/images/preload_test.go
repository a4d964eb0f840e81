package images

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/images"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

// preloaded runs Preload and returns its results by file.
func preloaded(t *testing.T, c *Store, dir string) map[string]PreloadResult {
	t.Helper()
	results, err := c.Preload(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(results, func(a, b PreloadResult) int { return strings.Compare(a.File, b.File) }) {
		t.Errorf("results are not ordered by file: %v", results)
	}
	by := map[string]PreloadResult{}
	for _, r := range results {
		by[r.File] = r
	}
	return by
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func readAll(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func gzipped(data []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write(data)
	_ = w.Close()
	return buf.Bytes()
}

func TestPreloadImportsWhatIsThereOnce(t *testing.T) {
	onBothDaemons(t, func(t *testing.T, bed *testbed.Bed, c *Store) {
		if r := preloaded(t, c, bed.Path("none")); len(r) != 0 {
			t.Errorf("a missing directory gave %v", r)
		}
		dir := t.TempDir()
		testbed.Archive(t, dir, testbed.ImageSpec{Name: "web:1", File: "docker.tar"})
		testbed.Archive(t, dir, testbed.ImageSpec{Name: "example.com/oci:1", File: "layout.oci", OCI: true, User: "oci"})
		plain := testbed.Archive(t, t.TempDir(), testbed.ImageSpec{Name: "example.com/gz:1", User: "gz"})
		writeFile(t, filepath.Join(dir, "z.tar.gz"), gzipped(readAll(t, plain)))
		writeFile(t, filepath.Join(dir, "README.md"), []byte("not an image"))
		want := map[string]string{"docker.tar": "docker.io/library/web:1", "layout.oci": "example.com/oci:1", "z.tar.gz": "example.com/gz:1"}
		for round, unchanged := range []bool{false, true} {
			got := preloaded(t, c, dir)
			if len(got) != len(want) {
				t.Errorf("round %d: results %v", round, got)
			}
			for file, image := range want {
				r := got[file]
				if r.Err != nil || !slices.Equal(r.Images, []string{image}) || r.Unchanged != unchanged || r.Shadowed != nil {
					t.Errorf("round %d: %s: %+v", round, file, r)
				}
				if img, err := c.Image(t.Context(), image); err != nil || len(img.Passwd) == 0 {
					t.Errorf("%s: %v", image, err)
				}
			}
		}
		noLeaks(t, bed)
		// A file that was touched is read again; an image that was lost, too.
		now := time.Now()
		if err := os.Chtimes(filepath.Join(dir, "docker.tar"), now, now.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := bed.Client(bed.Namespace).ImageService().Delete(t.Context(), "example.com/oci:1", images.SynchronousDelete()); err != nil {
			t.Fatal(err)
		}
		got := preloaded(t, c, dir)
		if got["docker.tar"].Unchanged || got["layout.oci"].Unchanged || !got["z.tar.gz"].Unchanged {
			t.Errorf("after changes: %+v", got)
		}
		if _, err := c.Image(t.Context(), "example.com/oci:1"); err != nil {
			t.Error(err)
		}
	})
}

func TestPreloadOfBadArchives(t *testing.T) {
	bed, c := newStore(t, "")
	dir, aside := t.TempDir(), t.TempDir()
	// A layer that no other image has: damage to one that is there harms nobody.
	image := func(file string, oci bool) []byte {
		noise := make([]byte, 1<<20)
		_, _ = rand.Read(noise)
		return readAll(t, testbed.Archive(t, aside, testbed.ImageSpec{Name: "example.com/bad:1", File: file, OCI: oci,
			Empty: true, Files: map[string]testbed.File{"/noise": {Data: noise}}}))
	}
	docker, oci := image("d.tar", false), image("o.tar", true)
	flipped := func(data []byte) []byte {
		data = bytes.Clone(data)
		data[len(data)/2] ^= 0xff // in the layer, by far the largest part
		return data
	}
	put := func(name string, data []byte) { writeFile(t, filepath.Join(dir, name), data) }
	put("corrupt-docker.tar", flipped(docker))
	put("corrupt-gzip.tgz", flipped(gzipped(docker)))
	put("corrupt-oci.tar", flipped(oci))
	put("cut.tar", docker[:len(docker)/2])
	put("cut-gzip.tgz", gzipped(docker)[:len(docker)/3])
	put("empty.tar", nil)
	put("text.tar", []byte("this is not an archive"))
	put("zstd.tar", []byte("\x28\xb5\x2f\xfd not supported"))
	testbed.Archive(t, dir, testbed.ImageSpec{Name: "example.com/other:1", File: "platform.tar", Arch: "s390x"})
	testbed.Archive(t, dir, testbed.ImageSpec{Name: "example.com/other:1", File: "platform-oci.tar", Arch: "s390x", OCI: true})
	testbed.Archive(t, dir, testbed.ImageSpec{Name: "", File: "nameless.tar", OCI: true})
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling.tar")); err != nil {
		t.Fatal(err)
	}
	testbed.Archive(t, dir, testbed.ImageSpec{Name: "example.com/good:1", File: "zz-good.tar"})

	got := preloaded(t, c, dir)
	for file, say := range map[string]string{
		"corrupt-docker.tar": "unpacking",
		"corrupt-gzip.tgz":   "",
		"corrupt-oci.tar":    "has it damaged",
		"cut.tar":            "unexpected EOF",
		"cut-gzip.tgz":       "unexpected EOF",
		"empty.tar":          "it is empty",
		"text.tar":           "unexpected EOF",
		"zstd.tar":           "zstd archives are not supported",
		"platform.tar":       "it is for linux/s390x, not for linux/",
		"platform-oci.tar":   "it is for linux/s390x, not for linux/",
		"nameless.tar":       "has no name",
		"dangling.tar":       "no such file",
	} {
		r, ok := got[file]
		if !ok || r.Err == nil {
			t.Errorf("%s: %+v, want an error", file, r)
			continue
		}
		if !strings.Contains(r.Err.Error(), say) || !strings.Contains(r.Err.Error(), file) {
			t.Errorf("%s: %v; want the file's name and %q in it", file, r.Err, say)
		}
		if strings.Contains(r.Err.Error(), "%!") {
			t.Errorf("%s: %v", file, r.Err)
		}
	}
	if r := got["zz-good.tar"]; r.Err != nil {
		t.Errorf("a good archive among bad ones: %v", r.Err)
	}
	for _, ref := range []string{"example.com/bad:1", "example.com/other:1"} {
		if _, err := c.Image(t.Context(), ref); !errors.Is(err, runtime.ErrImageNotFound) {
			t.Errorf("%s: %v, want ErrImageNotFound", ref, err)
		}
	}
	noLeaks(t, bed)
}

func TestPreloadOfADamagedSuccessorKeepsTheImage(t *testing.T) {
	_, c := newStore(t, "")
	dir := t.TempDir()
	file := testbed.Archive(t, dir, testbed.ImageSpec{Name: "example.com/x:1", User: "first"})
	if r := preloaded(t, c, dir); r[filepath.Base(file)].Err != nil {
		t.Fatal(r)
	}
	data := readAll(t, file)
	writeFile(t, file, data[:len(data)-4096])
	if r := preloaded(t, c, dir); r[filepath.Base(file)].Err == nil {
		t.Error("a truncated archive was taken")
	}
	if img, err := c.Image(t.Context(), "example.com/x:1"); err != nil || img.Config.User != "first" {
		t.Errorf("the image before: %+v, %v", img, err)
	}
}

func TestPreloadOfTwoArchivesWithOneName(t *testing.T) {
	bed, c := newStore(t, "")
	dir := t.TempDir()
	testbed.Archive(t, dir, testbed.ImageSpec{Name: "example.com/x:1", File: "a.tar", User: "a"})
	testbed.Archive(t, dir, testbed.ImageSpec{Name: "example.com/x:1", File: "b.tar", User: "b"})
	user := func() string {
		t.Helper()
		img, err := c.Image(t.Context(), "example.com/x:1")
		if err != nil {
			t.Fatal(err)
		}
		return img.Config.User
	}
	for range 2 {
		r := preloaded(t, c, dir)
		if r["a.tar"].Err != nil || r["b.tar"].Err != nil || !slices.Equal(r["a.tar"].Shadowed, []string{"example.com/x:1"}) {
			t.Errorf("results: %+v", r)
		}
		if user() != "b" {
			t.Errorf("the image is %s's, want b's", user())
		}
	}
	if err := os.Remove(filepath.Join(dir, "b.tar")); err != nil {
		t.Fatal(err)
	}
	if user() != "b" {
		t.Error("the image went with its archive")
	}
	if r := preloaded(t, c, dir); r["a.tar"].Err != nil || r["a.tar"].Shadowed != nil || user() != "a" {
		t.Errorf("with a alone: %+v, image is %s's", r, user())
	}
	noLeaks(t, bed)
}

func TestPreloadWithTheDaemonAway(t *testing.T) {
	bed, c := newStore(t, "")
	dir := t.TempDir()
	testbed.Archive(t, dir, testbed.ImageSpec{Name: "example.com/x:1"})
	bed.Containerd.Kill()
	if _, err := c.Preload(t.Context(), dir); !errors.Is(err, runtime.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	bed.Containerd.Start()
	testbed.Poll(t, limit, func() string {
		if _, err := c.Preload(t.Context(), dir); err != nil {
			return err.Error()
		}
		return ""
	})
}

// TestPreloadSurvivesKill kills processes that import a large archive, at moments
// spread over the import, and then imports once more.
func TestPreloadSurvivesKill(t *testing.T) {
	if arg := os.Getenv("DAVIT_PRELOAD_CHILD"); arg != "" {
		f := strings.Split(arg, " ")
		r, err := storeAt(t, f[0], f[1], Config{}).Preload(t.Context(), f[2])
		if err != nil || r[0].Err != nil {
			t.Fatal(err, r)
		}
		return
	}
	onBothDaemons(t, func(t *testing.T, bed *testbed.Bed, c *Store) {
		noise := make([]byte, 24<<20)
		_, _ = rand.Read(noise)
		dir := t.TempDir()
		spec := testbed.ImageSpec{Name: "example.com/big:1", Files: map[string]testbed.File{"/noise": {Data: noise}}}
		testbed.Archive(t, dir, spec)
		child := func(killAfter time.Duration) (ended bool) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestPreloadSurvivesKill$")
			cmd.Env = append(os.Environ(), fmt.Sprintf("DAVIT_PRELOAD_CHILD=%s %s %s", bed.Address, bed.Namespace, dir))
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			kill := time.AfterFunc(killAfter, func() { _ = cmd.Process.Kill() })
			defer kill.Stop()
			return cmd.Wait() == nil
		}
		cut, left := 0, 0
		for i := 1; i <= 20 && cut == i-1; i++ {
			// Another file in the same place: a blob that was half written must
			// not be gone on with.
			_, _ = rand.Read(noise[:1<<20])
			testbed.Archive(t, dir, spec)
			if !child(time.Duration(i) * 60 * time.Millisecond) {
				cut++
			}
			cl := bed.Client(bed.Namespace)
			leases, err := cl.LeasesService().List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			left += len(leases)
		}
		t.Logf("cut %d imports, which left %d leases", cut, left)
		if left == 0 {
			t.Error("no import was cut in the middle")
		}
		if r := preloaded(t, c, dir); len(r) != 1 || r["example.com_big_1.tar"].Err != nil {
			t.Fatalf("results: %+v", r)
		}
		img, err := c.Image(t.Context(), "example.com/big:1")
		if err != nil {
			t.Fatal(err)
		}
		if len(img.Passwd) == 0 {
			t.Error("the image is not whole")
		}
		noLeaks(t, bed)
	})
}
