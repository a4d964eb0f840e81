package volumes

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

// perSecond is how often a volume changes under its readers.
const perSecond = 100

// contentOf is the n-th content of a file: 4 bytes to 20 KB that tell n.
func contentOf(n, i int) string {
	return fmt.Sprintf("%d\n%s", n, strings.Repeat(string(rune('a'+n%26)), 1+(n*7919+i*104729)%20000))
}

// generationOf makes keys that prove that they belong together: some, one that
// is only in this generation, and a hash over the names and content of all.
func generationOf(n int) map[string]string {
	data := map[string]string{fmt.Sprint("only-", n): fmt.Sprintf("%d\n", n)}
	for i := range 8 {
		data[fmt.Sprint("key-", i)] = contentOf(n, i)
	}
	data["sum"] = sum(data)
	return data
}

func sum(data map[string]string) string {
	h := sha256.New()
	var names []string
	for name := range data {
		if name != "sum" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		_, _ = fmt.Fprintf(h, "%s %d %s", name, len(data[name]), data[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// together reads the whole volume as a program does that wants all or nothing:
// it opens ..data once and reads what is in there.
func together(dir string) error {
	top, err := os.OpenRoot(filepath.Join(dir, "..data"))
	if err != nil {
		return err
	}
	defer func() { _ = top.Close() }()
	found, err := fs.ReadDir(top.FS(), ".")
	if err != nil {
		return err
	}
	data := map[string]string{}
	for _, e := range found {
		content, err := top.ReadFile(e.Name())
		if err != nil {
			return err
		}
		data[e.Name()] = string(content)
	}
	if len(data) != 10 || sum(data) != data["sum"] {
		return fmt.Errorf("a part of a volume: %d files, hash %s, want %s", len(data), sum(data), data["sum"])
	}
	return nil
}

// single reads one file by its visible name, which has to be there and whole.
func single(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "key-3"))
	if err != nil {
		return err
	}
	var n int
	if _, err := fmt.Sscanf(string(data), "%d\n", &n); err != nil {
		return err
	}
	if want := contentOf(n, 3); string(data) != want {
		return fmt.Errorf("a part of a file: %d of %d bytes", len(data), len(want))
	}
	return nil
}

// readWhileUpdating updates a volume perSecond times a second and reads it all
// the time.
func readWhileUpdating(t *testing.T, v v1.Volume, d time.Duration) {
	dir := podDir(t)
	o, m := world()
	n := 0
	update := func() map[string]Mount {
		o.configMaps["vol"] = &v1.ConfigMap{Data: generationOf(n)}
		s := &v1.Secret{Data: map[string][]byte{}}
		for k, v := range o.configMaps["vol"].Data {
			s.Data[k] = []byte(v)
		}
		o.secrets["vol"] = s
		mounts, err := m.Setup(t.Context(), inNS(v), dir)
		must(t, err)
		return mounts
	}
	path := update()["vol"].HostPath
	stop := make(chan struct{})
	var wg sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer end()
	for name, look := range map[string]func(string) error{"together": together, "single": single} {
		wg.Go(func() {
			whole, late := 0, 0
			for done := false; !done; {
				began := time.Now()
				switch err := look(path); {
				case err == nil:
					whole++
				case time.Since(began) > linger: // the reader was held up for longer than files stay
					late++
				default:
					t.Errorf("%s: %v", name, err)
					return
				}
				select {
				case <-stop:
					done = true
				case <-time.After(time.Millisecond): // leave the writer a processor
				}
			}
			t.Logf("%s: %d whole, %d times too slow", name, whole, late)
			if whole < 10 {
				t.Errorf("%s: %d whole volumes only", name, whole)
			}
		})
	}
	for start := time.Now(); time.Since(start) < d && !t.Failed(); {
		n++ // late ones are made up for
		time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / perSecond)))
		update()
	}
	end()
	t.Logf("%d updates", n)
	if n < 10 {
		t.Errorf("%d updates only", n)
	}
	eventually(t, "what was replaced is removed", func() bool {
		found, err := filepath.Glob(filepath.Join(path, "..2*"))
		must(t, err)
		return len(found) == 1
	})
	if only, err := filepath.Glob(filepath.Join(path, "only-*")); err != nil || len(only) != 1 {
		t.Errorf("%q, %v", only, err)
	}
}

// TestReaderSeesWholeVolumes: see reader_long_test.go for a minute of it.
func TestReaderSeesWholeVolumes(t *testing.T) {
	readWhileUpdating(t, ofConfigMap("vol"), 3*time.Second)
}

// TestLingerIsBounded: what waits for readers does not fill the memory.
func TestLingerIsBounded(t *testing.T) {
	dir := podDir(t)
	o, m := world()
	p := inNS(ofSecret("sec"))
	var path string
	for i := range 40 {
		o.setSecret("sec", "large", strings.Repeat(string(rune('a'+i%26)), 1<<20))
		mounts, err := m.Setup(t.Context(), p, dir)
		must(t, err)
		path = mounts["sec"].HostPath
		found, err := filepath.Glob(filepath.Join(path, "..2*"))
		must(t, err)
		if len(found) > maxLinger>>20+2 {
			t.Fatalf("%d generations of 1 MiB", len(found))
		}
	}
	must(t, m.Teardown(t.Context(), dir))
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestKeep(t *testing.T) {
	now := time.Now()
	at := func(name string, size int, left time.Duration) replaced {
		return replaced{name, size, now.Add(left)}
	}
	for _, tc := range []struct {
		before []replaced
		want   string
	}{
		{nil, ""},
		{[]replaced{at("a", 1, 1), at("b", 1, 2)}, "a b"},
		{[]replaced{at("a", 1, -1), at("b", 1, 0), at("c", 1, 1)}, "c"},
		{[]replaced{at("a", 1, -2), at("b", 1, -1)}, ""},
		{[]replaced{at("a", 1, 1), at("b", maxLinger, 2), at("c", 1, 3)}, "c"},
		{[]replaced{at("a", 1, 1), at("b", maxLinger-1, 2), at("c", 1, 3)}, "b c"},
		{[]replaced{at("a", 1, 1), at("b", maxLinger+1, 2)}, "b"},
	} {
		w := &written{before: slices.Clone(tc.before)}
		if got := strings.Join(w.keep(now), " "); got != tc.want || len(w.before) != len(strings.Fields(tc.want)) {
			t.Errorf("%v: %q, want %q", tc.before, got, tc.want)
		}
	}
}
