package logs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/davit-agent/davit/runtime/logs/cri"
)

var tailTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// drawnLog is a log of several files and, in order, its lines as they begin.
type drawnLog struct {
	files []string // the last is the live one
	lines []string // stream, and what was printed
}

func drawLog(t *rapid.T) drawnLog {
	var log drawnLog
	var open [2]int // index of the line that goes on, from 1
	for range rapid.IntRange(1, 4).Draw(t, "files") {
		var text []byte
		for i := range rapid.IntRange(0, 12).Draw(t, "records") {
			s := cri.Stream(rapid.IntRange(0, 1).Draw(t, "stream"))
			partial := rapid.IntRange(0, 2).Draw(t, "partial") == 0
			content := fmt.Sprintf("<%d.%d%s>", len(log.files), i,
				strings.Repeat("x", rapid.SampledFrom([]int{0, 1, 50, 20000}).Draw(t, "length")))
			text = cri.AppendRecord(text, tailTime, s, partial, []byte(content))
			if open[s] == 0 {
				log.lines = append(log.lines, s.String()+" ")
				open[s] = len(log.lines)
			}
			log.lines[open[s]-1] += content
			if !partial {
				log.lines[open[s]-1] += "\n"
				open[s] = 0
			}
			if rapid.IntRange(0, 9).Draw(t, "junk") == 0 {
				text = append(text, "no record\n"...)
			}
		}
		log.files = append(log.files, string(text))
	}
	if rapid.Bool().Draw(t, "torn") {
		log.files[len(log.files)-1] += "2026-01-02T03:04:05Z stdout F to"
	}
	return log
}

// The last lines are those that a reader of the whole would have picked.
func TestTailIsRight(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		sub, err := os.MkdirTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(sub, "0.log")
		log := drawLog(t)
		for i, text := range log.files {
			name := path
			if i < len(log.files)-1 {
				name = cri.RotatedName(path, tailTime.Add(time.Duration(i)*time.Second))
			}
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n := int64(rapid.IntRange(0, 30).Draw(t, "n"))
		var want [2]string
		for _, line := range log.lines[max(0, len(log.lines)-int(n)):] {
			i := slices.Index([]string{"stdout", "stderr"}, line[:6])
			want[i] += line[7:]
		}
		var out, errs bytes.Buffer
		if err := new(Client).Stream(t.Context(), StreamOptions{Path: path, Tail: &n}, &out, &errs); err != nil {
			t.Fatal(err)
		}
		if out.String() != want[0] || errs.String() != want[1] {
			t.Fatalf("the last %d lines are %.200q and %.200q, want %.200q and %.200q", n, &out, &errs, want[0], want[1])
		}
	})
}

// The end of a long log is found without reading the rest of it.
func TestTailIsCheap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	var text []byte
	put := func(s cri.Stream, partial bool, content string) {
		text = cri.AppendRecord(text, tailTime, s, partial, []byte(content))
	}
	fill := func(lines int) {
		for i := range lines {
			put(cri.Stdout, false, fmt.Sprintf("line %d %s", i, strings.Repeat("x", 80)))
		}
	}
	flush := func(name string) {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		text = nil
	}
	fill(100_000)
	flush(cri.RotatedName(path, tailTime))
	fill(100_000)
	flush(path)
	for n, most := range map[int64]int64{0: readAhead, 1: readAhead, 10: readAhead, 5000: 1 << 20} {
		tl := &tail{want: max(n, 1)}
		cur, err := tl.walk(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		cur.close()
		if tl.read > most {
			t.Errorf("the last %d lines: read %d bytes, want at most %d", n, tl.read, most)
		}
	}

	// A line to stderr that has nothing before it is looked for no further than
	// openReach, and counts.
	fill(100_000)
	put(cri.Stderr, false, "alone")
	flush(path)
	tl := &tail{want: 3}
	cur, err := tl.walk(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	cur.close()
	if tl.read > openReach+4*readAhead {
		t.Errorf("read %d bytes", tl.read)
	}
	var out, errs bytes.Buffer
	three := int64(3)
	if err := new(Client).Stream(t.Context(), StreamOptions{Path: path, Tail: &three}, &out, &errs); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "\n"); got != 2 || !strings.HasPrefix(out.String(), "line 99998") || errs.String() != "alone\n" {
		t.Errorf("got %.40q and %q", &out, &errs)
	}
}

// While files are rotated the last lines are the last, and a follower goes on
// from there without a gap.
func TestTailWhileRotating(t *testing.T) {
	const records = 1500
	path := filepath.Join(t.TempDir(), "0.log")
	wrote := make(chan error, 1)
	go func() { wrote <- rotateWildly(path, records, tailTime) }()
	for next := 0; next < records; {
		s, err := lastLines(t.Context(), path, 20)
		if err != nil {
			t.Fatal(err)
		}
		p := newPrinter(StreamOptions{}, nil, nil)
		p.begin(s)
		first, prev := -1, -1
		err = s.cur.readAll(t.Context(), func(r cri.Record) error {
			begins := p.skip == 0 && !p.lines[r.Stream]
			if err := p.record(r); err != nil || !begins {
				return err
			}
			var i int
			if _, err := fmt.Sscan(string(r.Content), &i); err != nil || prev >= 0 && i != prev+1 {
				return fmt.Errorf("record %q follows %d", r.Content, prev)
			}
			if prev = i; first < 0 {
				first = i
			}
			return nil
		}, false)
		s.cur.close()
		if err != nil {
			t.Fatal(err)
		}
		if first >= 0 && prev-first+1 < min(20, prev+1) {
			t.Fatalf("the last 20 lines are %d to %d", first, prev)
		}
		next = prev + 1
		select {
		case err := <-wrote:
			if err != nil {
				t.Fatal(err)
			}
			wrote <- nil
		default:
		}
	}
}

// A file that is rotated between being opened and being listed is passed once.
// (Under both names at a time is how that looks.)
func TestTailOfFileJustRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	var text []byte
	for _, line := range []string{"one", "two", "three"} {
		text = cri.AppendRecord(text, tailTime, cri.Stdout, false, []byte(line))
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(path, cri.RotatedName(path, tailTime)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	n := int64(5)
	if err := new(Client).Stream(t.Context(), StreamOptions{Path: path, Tail: &n}, &out, nil); err != nil || out.String() != "one\ntwo\nthree\n" {
		t.Errorf("got %q, %v", &out, err)
	}
}
