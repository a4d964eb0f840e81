package pump

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/davit-agent/davit/runtime/logs/cri"
	"github.com/davit-agent/davit/runtime/logs/spool"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func testFile(path string, maxSize int64, maxFiles int) *logFile {
	return newLogFile(spool.Spec{ID: "x", Path: path, MaxSize: maxSize, MaxFiles: maxFiles}, new(atomic.Int64))
}

// tempDir is t.TempDir for each of rapid's runs.
func tempDir(t *rapid.T) string {
	dir, err := os.MkdirTemp("", "davit-pump-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Whatever is written is in the files in order, each within its limit as long
// as lines allow, and none begins or ends within a line.
func TestRotation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(tempDir(t), "0.log")
		const maxSize = 1000
		l := testFile(path, maxSize, 1<<20)
		defer l.close()
		var want []byte
		clock := at
		for range rapid.IntRange(1, 20).Draw(t, "writes") {
			s := cri.Stream(rapid.IntRange(0, 1).Draw(t, "stream"))
			var batch cri.Batch
			for i := range rapid.IntRange(1, 12).Draw(t, "records") {
				// Seldom a P: files grow to twice the limit while a line is open.
				partial := rapid.IntRange(0, 6).Draw(t, "partial") == 0
				text := fmt.Sprintf("%d%s", i, strings.Repeat("x", rapid.IntRange(0, 300).Draw(t, "length")))
				batch = cri.AppendRecord(batch, clock, s, partial, []byte(text))
			}
			want = append(want, batch...)
			l.write(s, batch, clock)
			clock = clock.Add(time.Duration(rapid.IntRange(-5, 5).Draw(t, "seconds")) * time.Second)
			if rapid.IntRange(0, 4).Draw(t, "restart") == 0 {
				l.close()
				l = testFile(path, maxSize, 1<<20)
				l.open()
			}
		}
		names, err := cri.Rotated(path)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		var open [2]bool
		for _, name := range append(names, path) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			open = checkFile(t, data, maxSize, name == path, open)
			got = append(got, data...)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("files hold\n%s\nwant\n%s", got, want)
		}
	})
}

// checkFile checks one file; before is which lines were open at its beginning,
// as they are after a file that had grown to twice its limit.
func checkFile(t *rapid.T, data []byte, maxSize int, live bool, before [2]bool) (open [2]bool) {
	lineEnded := 0 // the first place beyond the limit at which no line was open
	open = before
	for off := 0; off < len(data); {
		n, _ := cri.Batch(data[off:]).Next()
		r, err := cri.Parse(data[off : off+n])
		if err != nil {
			t.Fatal(err)
		}
		off += n
		open[r.Stream] = r.Partial
		if off >= maxSize && lineEnded == 0 && !open[0] && !open[1] {
			lineEnded = off
		}
	}
	if !live && len(data) < 2*maxSize && (open[0] || open[1]) {
		t.Fatalf("a line is split at the end of %d bytes:\n%s", len(data), data)
	}
	if lineEnded != 0 && lineEnded != len(data) {
		t.Fatalf("%d bytes though a line ended at %d:\n%s", len(data), lineEnded, data)
	}
	return open
}

// The number of files is bounded, and what is kept is the newest.
func TestPrune(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	l := testFile(path, 100, 3)
	defer l.close()
	for i := range 10 {
		l.write(cri.Stdout, cri.AppendRecord(nil, at, cri.Stdout, false, []byte(fmt.Sprint("line ", i, strings.Repeat("x", 50)))), at)
	}
	names, err := cri.Rotated(path)
	if err != nil || len(names) != 2 {
		t.Fatalf("rotated: %q, %v", names, err)
	}
	for i, name := range append(names, path) {
		data, _ := os.ReadFile(name)
		if want := fmt.Sprint("line ", 7+i, "x"); !strings.Contains(string(data), want) || strings.Count(string(data), "\n") != 1 {
			t.Errorf("%s holds %q, want %s", name, data, want)
		}
	}
	if names[0] >= names[1] {
		t.Errorf("names out of order: %q", names)
	}
}

func TestTakeOver(t *testing.T) {
	f := string(cri.AppendRecord(nil, at, cri.Stdout, false, []byte("full")))
	p := string(cri.AppendRecord(nil, at, cri.Stdout, true, []byte("part")))
	e := string(cri.AppendRecord(nil, at, cri.Stderr, true, []byte("err")))
	for _, tt := range []struct {
		name, have, want string
		open             [2]bool
	}{
		{"empty", "", "", [2]bool{}},
		{"whole", f + f, f + f, [2]bool{}},
		{"torn", f + f[:20], f, [2]bool{}},
		{"only torn", f[:20], "", [2]bool{}},
		{"open", f + p, f + p, [2]bool{true, false}},
		{"both open", e + f + p, e + f + p, [2]bool{true, true}},
		{"other stream after", p + e, p + e, [2]bool{true, true}},
		{"torn end of an open line", p + f[:10], p, [2]bool{true, false}},
		{"not a record", "hello\n", "hello\n", [2]bool{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "d", "0.log")
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(tt.have), 0o600); err != nil {
				t.Fatal(err)
			}
			l := testFile(path, 1<<20, 5)
			l.open()
			defer l.close()
			got, _ := os.ReadFile(path)
			if string(got) != tt.want || l.size != int64(len(tt.want)) || l.out[0].open != tt.open[0] || l.out[1].open != tt.open[1] {
				t.Errorf("file %q, size %d, open %v %v; want %q, %v", got, l.size, l.out[0].open, l.out[1].open, tt.want, tt.open)
			}
		})
	}
}

// A file that cannot be opened loses lines, whole ones, and tells of it later.
func TestLossIsTold(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pod", "0.log")
	record := func(partial bool, text string) cri.Batch {
		return cri.AppendRecord(nil, at, cri.Stdout, partial, []byte(text))
	}
	if err := os.WriteFile(filepath.Join(dir, "pod"), nil, 0o600); err != nil { // where the directory belongs
		t.Fatal(err)
	}
	l := testFile(path, 1<<20, 5)
	defer l.close()
	l.write(cri.Stdout, record(false, "lost"), at)
	l.write(cri.Stdout, record(true, "begins"), at)
	if l.retry(at) {
		t.Error("retry succeeded")
	}
	if err := l.check(); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("check: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "pod")); err != nil {
		t.Fatal(err)
	}
	l.write(cri.Stdout, append(record(false, "goes on"), record(false, "kept")...), at)
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := string(record(false, "[davit: 19 bytes of stdout (2 line ends) lost here: not a directory]")) + string(record(false, "kept"))
	if string(got) != want || l.lost.Load() != 19 {
		t.Errorf("file %q, %d lost\nwant %q", got, l.lost.Load(), want)
	}
}

// A file that somebody removed is made anew.
func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	l := testFile(path, 1<<20, 5)
	defer l.close()
	l.open()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := l.check(); err != nil {
		t.Error(err)
	}
	l.write(cri.Stdout, cri.AppendRecord(nil, at, cri.Stdout, false, []byte("x")), at)
	if st, err := os.Stat(path); err != nil || st.Size() == 0 {
		t.Errorf("%v, %v", st, err)
	}
}
