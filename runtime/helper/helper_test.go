package helper

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func source(content string) (sum []byte, open func() (fs.File, error)) {
	fsys := fstest.MapFS{"f": {Data: []byte(content)}}
	s := sha256.Sum256([]byte(content))
	return s[:], func() (fs.File, error) { return fsys.Open("f") }
}

func TestInstall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	content := strings.Repeat("program", 10000)
	sum, open := source(content)
	check := func(what, path string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if want := filepath.Join(dir, "davit-helper-"+hex.EncodeToString(sum)[:12]); path != want {
			t.Errorf("%s: path %s, want %s", what, path, want)
		}
		data, err := os.ReadFile(path)
		st, serr := os.Stat(path)
		if err != nil || serr != nil || string(data) != content || st.Mode() != 0o555 {
			t.Errorf("%s: %d bytes, %v, %v, %v", what, len(data), st.Mode(), err, serr)
		}
		if names, _ := os.ReadDir(dir); len(names) != 1 {
			t.Errorf("%s: %d files", what, len(names))
		}
	}
	path, err := install(dir, sum, open)
	check("first", path, err)

	before, _ := os.Stat(path)
	path, err = install(dir, sum, open)
	check("again", path, err)
	if after, _ := os.Stat(path); !os.SameFile(before, after) {
		t.Error("an intact file was replaced")
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content[:100]), 0o555); err != nil {
		t.Fatal(err)
	}
	path, err = install(dir, sum, open)
	check("damaged", path, err)

	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	path, err = install(dir, sum, open)
	check("not executable", path, err)
}

// What does not read back as it should is not put in place.
func TestInstallWrongContent(t *testing.T) {
	dir := t.TempDir()
	sum, _ := source("right")
	_, open := source("wrong")
	if _, err := install(dir, sum, open); err == nil {
		t.Error("no error")
	}
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

// A davit with a helper has it at hand; one without says how to get it.
func TestEmbedded(t *testing.T) {
	f, err := embedded.Open(embeddedName)
	hash, herr := Hash()
	path, ierr := Install(t.TempDir())
	if err != nil {
		if !errors.Is(herr, ErrMissing) || !errors.Is(ierr, ErrMissing) || !strings.Contains(ierr.Error(), "make build") {
			t.Errorf("without a helper: %v, %v", herr, ierr)
		}
		return
	}
	defer f.Close()
	want, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if herr != nil || ierr != nil || err != nil || string(got) != string(want) || filepath.Base(path) != Name(hash) {
		t.Errorf("%s: %d bytes, want %d; %v, %v, %v", path, len(got), len(want), herr, ierr, err)
	}
}
