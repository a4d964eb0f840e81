package cri

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))

func TestAppendRecord(t *testing.T) {
	for _, tt := range []struct {
		partial bool
		stream  Stream
		text    string
		want    string
	}{
		{false, Stdout, "hello", "2026-01-02T02:04:05.000000006Z stdout F hello\n"},
		{true, Stderr, "a b", "2026-01-02T02:04:05.000000006Z stderr P a b\n"},
		{false, Stderr, "", "2026-01-02T02:04:05.000000006Z stderr F \n"},
	} {
		got := AppendRecord(nil, at, tt.stream, tt.partial, []byte(tt.text))
		if string(got) != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
		if n := len(got) - len(tt.text) - 1; n != HeaderLen {
			t.Errorf("header has %d bytes, want %d", n, HeaderLen)
		}
	}
}

// The limit as containerd has it: 16 KiB of text fit into one record.
func TestEncoderLimit(t *testing.T) {
	for _, tt := range []struct {
		length int
		tags   string
	}{{MaxContent - 1, "F"}, {MaxContent, "F"}, {MaxContent + 1, "PF"}, {2 * MaxContent, "PF"}, {2*MaxContent + 1, "PPF"}} {
		var e Encoder
		out, rest := e.Append(nil, at, []byte(strings.Repeat("x", tt.length)+"\n"), 1<<30)
		tags := ""
		for line := range bytes.Lines(out) {
			r, err := Parse(line)
			if err != nil {
				t.Fatal(err)
			}
			tags += string(tag(r.Partial))
		}
		if tags != tt.tags || len(rest) > 0 || e.Held() > 0 {
			t.Errorf("%d bytes: %s, rest %d, held %d; want %s", tt.length, tags, len(rest), e.Held(), tt.tags)
		}
	}
}

// text draws output: mostly short lines, some around the limits.
func text() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		var out []byte
		for range rapid.IntRange(0, 8).Draw(t, "lines") {
			n := rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(MaxContent-2, MaxContent+2),
				rapid.IntRange(2*MaxContent-1, 2*MaxContent+1)).Draw(t, "length")
			fill := rapid.SampledFrom([]string{"x", " ", "\r", "\x00", "é", " F "}).Draw(t, "fill")
			out = append(out, strings.Repeat(fill, n/len(fill)+1)[:n]...)
			out = append(out, '\n')
		}
		return append(out, rapid.SliceOfN(rapid.ByteRange('a', 'z'), 0, 5).Draw(t, "unfinished")...)
	})
}

// chunks feeds data in pieces.
func chunks(t *rapid.T, e *Encoder, data []byte, flush bool) (out []byte) {
	limit := rapid.SampledFrom([]int{1, 100, 1 << 20}).Draw(t, "limit")
	for len(data) > 0 {
		n := min(len(data), rapid.OneOf(rapid.IntRange(1, 9), rapid.IntRange(1, 40000)).Draw(t, "chunk"))
		rest := data[:n]
		for len(rest) > 0 {
			var batch []byte
			batch, rest = e.Append(nil, at, rest, limit)
			if len(batch) >= limit+MaxRecord {
				t.Fatalf("batch of %d bytes with limit %d", len(batch), limit)
			}
			out = append(out, batch...)
		}
		data = data[n:]
		if flush && rapid.IntRange(0, 5).Draw(t, "flush") == 0 {
			out = e.Flush(out, at)
			if e.Held() != 0 {
				t.Fatal("held after Flush")
			}
		}
	}
	return out
}

// decode returns what the records hold, a newline after each F.
func decode(t *rapid.T, records []byte) (out []byte, open bool) {
	for line := range bytes.Lines(records) {
		r, err := Parse(line)
		if err != nil {
			t.Fatalf("%v: %.80q", err, line)
		}
		if r.Stream != Stderr || !r.Time.Equal(at) || len(r.Content) > MaxContent {
			t.Fatalf("stream %v, time %v, %d bytes", r.Stream, r.Time, len(r.Content))
		}
		out = append(out, r.Content...)
		if open = r.Partial; !open {
			out = append(out, '\n')
		}
	}
	return out, open
}

// What goes in comes out, however it is cut and flushed.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := text().Draw(t, "data")
		e := Encoder{Stream: Stderr}
		records := chunks(t, &e, data, true)
		_, open := decode(t, records)
		records = e.Finish(records, at, open)
		got, open := decode(t, records)
		want := slices.Clone(data)
		if len(want) > 0 && want[len(want)-1] != '\n' {
			want = append(want, '\n')
		}
		if open || !bytes.Equal(got, want) {
			t.Fatalf("open %v, got %.200q, want %.200q", open, got, want)
		}
		for b := Batch(records); len(b) > 0; {
			n, partial := b.Next()
			if r, err := Parse(b[:n]); err != nil || r.Partial != partial || Batch(b[:n]).Open() != partial {
				t.Fatalf("Next is at odds with Parse: %v", err)
			}
			if b.Whole(n) != n || b.Whole(n-1) != 0 {
				t.Fatal("Whole")
			}
			b = b[n:]
		}
	})
}

// Without flushes not even the records depend on the cuts.
func TestChunking(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := text().Draw(t, "data")
		one, many := Encoder{Stream: Stderr}, Encoder{Stream: Stderr}
		want, _ := one.Append(nil, at, data, 1<<30)
		if got := chunks(t, &many, data, false); !bytes.Equal(got, want) || one.Held() != many.Held() {
			t.Fatalf("%d bytes and %d held, want %d and %d", len(got), many.Held(), len(want), one.Held())
		}
	})
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		line, want string // stream, tag, content
	}{
		{"2026-01-02T03:04:05.000000006Z stdout F hello world", "stdout F hello world"},
		{"2026-01-02T03:04:05+02:00 stderr P x", "stderr P x"},
		{"2026-01-02T03:04:05Z stdout F ", "stdout F "},
		{"2026-01-02T03:04:05Z stdout F", "stdout F "},
		{"2026-01-02T03:04:05Z stdout P:a:b x", "stdout P x"},
		{"", ""}, {"x", ""}, {"2026 stdout F x", ""}, {"2026-01-02T03:04:05Z stdin F x", ""},
		{"2026-01-02T03:04:05Z stdout X x", ""}, {"2026-01-02T03:04:05Z stdout", ""},
		{"2026-13-02T03:04:05Z stdout F x", ""},
	} {
		r, err := Parse([]byte(tt.line))
		got := ""
		if err == nil {
			got = r.Stream.String() + " " + string(tag(r.Partial)) + " " + string(r.Content)
		} else if !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v is not ErrFormat", tt.line, err)
		}
		if got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.line, got, tt.want)
		}
	}
}

// What parses can be written again and parses the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte("2026-01-02T03:04:05.000000006Z stdout F hello"))
	f.Add([]byte("2026-01-02T03:04:05+02:00 stderr P:x \n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := Parse(line)
		if err != nil {
			return
		}
		if y := r.Time.UTC().Year(); y < 0 || y > 9999 || bytes.ContainsRune(r.Content, '\n') {
			return
		}
		again, err := Parse(AppendRecord(nil, r.Time, r.Stream, r.Partial, r.Content))
		if err != nil || !again.Time.Equal(r.Time) || again.Stream != r.Stream || again.Partial != r.Partial ||
			!bytes.Equal(again.Content, r.Content) {
			t.Errorf("%q: got %+v, %v, want %+v", line, again, err, r)
		}
	})
}

func TestRotated(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "0.log")
	if names, err := Rotated(filepath.Join(dir, "none", "0.log")); err != nil || names != nil {
		t.Errorf("no directory: %q, %v", names, err)
	}
	for _, name := range []string{"0.log", "0.log.20260102-030405", "0.log.20251231-235959", "0.log.20260102-030405.gz",
		"0.log.tmp", "10.log.20260102-030405", "0.log.20261399-030405"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Rotated(path)
	if want := []string{path + ".20251231-235959", path + ".20260102-030405"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if name := RotatedName(path, at.UTC()); name != path+".20260102-020405" {
		t.Errorf("name %q", name)
	}
}

func BenchmarkAppend(b *testing.B) {
	data := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 655))
	var e Encoder
	out := make([]byte, 0, 1<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		out, _ = e.Append(out[:0], at, data, 1<<30)
	}
}
