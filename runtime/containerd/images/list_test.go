package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	ctrdimages "github.com/containerd/containerd/v2/core/images"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

func load(t *testing.T, s *Store, spec testbed.ImageSpec) []string {
	t.Helper()
	names, err := s.Load(t.Context(), bytes.NewReader(readAll(t, testbed.Archive(t, t.TempDir(), spec))))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func list(t *testing.T, s *Store) []runtime.ImageInfo {
	t.Helper()
	all, err := s.Images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestImagesAreListedAndRemoved(t *testing.T) {
	onBothDaemons(t, func(t *testing.T, bed *testbed.Bed, s *Store) {
		if all := list(t, s); len(all) != 0 {
			t.Errorf("in an empty store there are %+v", all)
		}
		r := testbed.NewRegistry(t, testbed.RegistryOptions{})
		img := noise(t, "app", 1<<16)
		one, digest := r.Push(t, "web:1", img)
		two, _ := r.Push(t, "web:2", img)
		pulled := mustPull(t, s, one)
		mustPull(t, s, two)
		if names := load(t, s, testbed.ImageSpec{Name: "archived:1", User: "a", Empty: true}); !slices.Equal(names, []string{"docker.io/library/archived:1"}) {
			t.Errorf("loaded %q", names)
		}
		all := list(t, s)
		if len(all) != 2 {
			t.Fatalf("there are %+v", all)
		}
		if i := all[0]; !slices.Equal(i.Names, []string{one, two}) || i.ID != pulled.ID || i.Size != pulled.Size ||
			!slices.Equal(i.RepoDigests, []string{r.Host + "/web@" + digest}) || i.Pinned {
			t.Errorf("the pulled image is %+v", i)
		}
		if i := all[1]; !slices.Equal(i.Names, []string{"docker.io/library/archived:1"}) || i.RepoDigests != nil || i.Pinned {
			t.Errorf("the loaded image is %+v", i)
		}
		for ref, want := range map[string]error{
			"nothing:1": runtime.ErrImageNotFound, "archived:2": runtime.ErrImageNotFound, "sha256:" + strings.Repeat("0", 64): runtime.ErrImageNotFound,
			strings.Repeat("0", 64): runtime.ErrImageNotFound, "": runtime.ErrInvalidImageName, "UPPER": runtime.ErrInvalidImageName,
			"sha256:": runtime.ErrImageNotFound, r.Host + "/web@sha256:" + strings.Repeat("0", 64): runtime.ErrImageNotFound,
		} {
			if err := s.RemoveImage(t.Context(), ref); !errors.Is(err, want) {
				t.Errorf("removing %q: %v, want %v", ref, err, want)
			}
		}
		if err := s.RemoveImage(t.Context(), one); err != nil {
			t.Error(err)
		}
		if all = list(t, s); len(all) != 2 || !slices.Equal(all[0].Names, []string{two}) {
			t.Errorf("without the first name there are %+v", all)
		}
		if _, err := s.Image(t.Context(), one); !errors.Is(err, runtime.ErrImageNotFound) {
			t.Errorf("a removed name: %v", err)
		}
		if err := s.RemoveImage(t.Context(), one); !errors.Is(err, runtime.ErrImageNotFound) {
			t.Errorf("removing it again: %v", err)
		}
		mustPull(t, s, one)
		if err := s.RemoveImage(t.Context(), strings.TrimPrefix(pulled.ID, "sha256:")[:12]); err != nil {
			t.Error(err)
		}
		if all = list(t, s); len(all) != 1 {
			t.Errorf("without the ID there are %+v", all)
		}
		if err := s.RemoveImage(t.Context(), all[0].ID); err != nil {
			t.Error(err)
		}
		if left := contents(t, s); left != "0 blobs, 0 snapshots" {
			t.Errorf("there are %s", left)
		}
		noLeaks(t, bed)
	})
}

func TestAmbiguousIDs(t *testing.T) {
	by := map[string]*held{}
	for _, id := range []string{"sha256:aa1", "sha256:aa2", "sha256:b"} {
		by[id] = &held{records: []ctrdimages.Image{{Name: "docker.io/library/" + id[7:] + ":latest"}}}
	}
	for ref, want := range map[string]string{
		"aa": "the IDs of 2 images begin so", "sha256:aa": "the IDs of 2 images begin so", "c": "nothing has this name or ID", "aag": "nothing has this name",
	} {
		if _, err := match(by, ref); err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, runtime.ErrImageNotFound) {
			t.Errorf("%q: %v, want %q", ref, err, want)
		}
	}
	for ref, want := range map[string]string{"sha256:aa1": "aa1", "b": "b", "aa2": "aa2"} {
		if recs, err := match(by, ref); err != nil || len(recs) != 1 || !strings.Contains(recs[0].Name, "/"+want+":") {
			t.Errorf("%q: %v, %v", ref, recs, err)
		}
	}
	// What is a name is not taken for the beginning of an ID.
	by["sha256:abc"] = &held{records: []ctrdimages.Image{{Name: "docker.io/library/b:latest"}}}
	if recs, err := match(by, "b"); err != nil || len(recs) != 1 || recs[0].Name != "docker.io/library/b:latest" {
		t.Errorf("a name: %v, %v", recs, err)
	}
}

func TestPinnedImages(t *testing.T) {
	bed, s := newStore(t, "")
	dir := t.TempDir()
	file := testbed.Archive(t, dir, testbed.ImageSpec{Name: "preloaded:1", Empty: true, User: "p"})
	preloaded(t, s, dir)
	load(t, s, testbed.ImageSpec{Name: "labelled:1", Empty: true, User: "l"})
	rec := ctrdimages.Image{Name: "docker.io/library/labelled:1", Labels: map[string]string{labelPinned: pinned}}
	if _, err := s.records().Update(s.withNS(t.Context()), rec, "labels."+labelPinned); err != nil {
		t.Fatal(err)
	}
	all := list(t, s)
	if len(all) != 2 || !all[0].Pinned || !all[1].Pinned {
		t.Errorf("images are %+v, want both pinned", all)
	}
	for _, i := range all {
		for _, ref := range []string{i.Names[0], i.ID} {
			if err := s.RemoveImage(t.Context(), ref); !errors.Is(err, runtime.ErrImagePinned) {
				t.Errorf("removing %s: %v", ref, err)
			}
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	preloaded(t, s, dir)
	if err := s.RemoveImage(t.Context(), "preloaded:1"); err != nil {
		t.Errorf("without its archive: %v", err)
	}
	noLeaks(t, bed)
}

func TestPullOverAPreloadedName(t *testing.T) {
	_, s := newStore(t, "")
	r := testbed.NewRegistry(t, testbed.RegistryOptions{})
	ref, _ := r.Push(t, "web:1", noise(t, "pulled", 1<<16))
	dir := t.TempDir()
	spec := testbed.ImageSpec{Name: ref, File: "web.tar", Empty: true, User: "archived"}
	testbed.Archive(t, dir, spec)
	preloaded(t, s, dir)
	user := func(want string) {
		t.Helper()
		if img, err := s.Image(t.Context(), ref); err != nil || img.Config.User != want {
			t.Errorf("the image is %+v, %v; want %s's", img, err, want)
		}
	}
	user("archived")
	mustPull(t, s, ref)
	user("pulled")
	if got := preloaded(t, s, dir)["web.tar"]; !got.Unchanged || got.Err != nil {
		t.Errorf("the archive, which has not changed: %+v", got)
	}
	user("pulled")
	spec.User = "archived again"
	testbed.Archive(t, dir, spec)
	preloaded(t, s, dir)
	user("archived again")
}

// endless is a gzip stream of an entry of zeros that does not end.
func endless(t *testing.T) io.Reader {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { r.Close() })
	go func() {
		z := gzip.NewWriter(w)
		tw := tar.NewWriter(z)
		err := tw.WriteHeader(&tar.Header{Name: "blob", Typeflag: tar.TypeReg, Mode: 0o644, Size: 1 << 50})
		for zeros := make([]byte, 1<<20); err == nil; {
			_, err = tw.Write(zeros)
		}
		w.CloseWithError(err)
	}()
	return r
}

func TestLoadOfBadArchives(t *testing.T) {
	bed, s := newStore(t, "")
	good := readAll(t, testbed.Archive(t, t.TempDir(), testbed.ImageSpec{Name: "good:1", Empty: true, User: "x"}))
	other := readAll(t, testbed.Archive(t, t.TempDir(), testbed.ImageSpec{Name: "other:1", Arch: "s390x", Empty: true}))
	for name, c := range map[string]struct {
		r   io.Reader
		say string
	}{
		"nothing":          {bytes.NewReader(nil), "EOF"},
		"text":             {strings.NewReader("this is not an archive"), "unexpected EOF"},
		"half":             {bytes.NewReader(good[:len(good)/2]), "EOF"},
		"another platform": {bytes.NewReader(other), "it is for linux/s390x"},
		"a bomb":           {endless(t), "expand to more than"},
	} {
		_, err := s.Load(t.Context(), c.r)
		if err == nil || !strings.Contains(err.Error(), c.say) || !strings.HasPrefix(err.Error(), "loading image archive: ") {
			t.Errorf("%s: %v, want %q", name, err, c.say)
		}
	}
	if left := contents(t, s); left != "0 blobs, 0 snapshots" {
		t.Errorf("there are %s", left)
	}
	noLeaks(t, bed)
	if names, err := s.Load(t.Context(), bytes.NewReader(gzipped(good))); err != nil || len(names) != 1 {
		t.Errorf("a good archive, gzipped: %q, %v", names, err)
	}
}

func TestLoadsAtOnceDoNotMix(t *testing.T) {
	bed, s := newStore(t, "")
	// Docker's archives name their layers as they like: two with equal names.
	archives := [][]byte{}
	for _, user := range []string{"one", "two"} {
		archives = append(archives, readAll(t, testbed.Archive(t, t.TempDir(), testbed.ImageSpec{Name: user + ":1", Empty: true, User: user,
			Files: map[string]testbed.File{"/x": {Data: bytes.Repeat([]byte(user), 1<<20)}}})))
	}
	half, stop := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Load(t.Context(), half)
		ended <- err
	}()
	if _, err := stop.Write(archives[0][:len(archives[0])/2]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), bytes.NewReader(archives[1])); err != nil {
		t.Errorf("beside a slow one: %v", err)
	}
	_ = stop.Close()
	if err := <-ended; err == nil {
		t.Error("half an archive was loaded")
	}
	if img, err := s.Image(t.Context(), "two:1"); err != nil || img.Config.User != "two" {
		t.Errorf("%+v, %v", img, err)
	}
	noLeaks(t, bed)
}
