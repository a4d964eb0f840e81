package pods

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	v1 "k8s.io/api/core/v1"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTerminationLog(t *testing.T) {
	dir := t.TempDir()
	path, err := terminationLog(dir, "a", 2)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o666 {
		t.Errorf("mode %v: the container's user could not write", info.Mode())
	}
	write(t, path, "kept")
	if again, err := terminationLog(dir, "a", 2); err != nil || again != path || path != terminationLogPath(dir, "a", 2) {
		t.Errorf("second call: %v, %v", again, err)
	}
	if data, _ := os.ReadFile(path); string(data) != "kept" {
		t.Errorf("the second call made %q of it", data)
	}
}

// ended is an attempt that failed, of a container alone in its pod, with the
// policy File.
func ended(t *testing.T) ending {
	dir := t.TempDir()
	return ending{
		container: &v1.Container{TerminationMessagePolicy: v1.TerminationMessageReadFile},
		file:      filepath.Join(dir, "file"), log: filepath.Join(dir, "0.log"),
		logged: true, failed: true, sharers: 1,
	}
}

func TestMessageFromFile(t *testing.T) {
	e := ended(t)
	write(t, e.log, "2026-01-02T03:04:05.000000006Z stdout F logged\n")
	if got := e.message(); got != "" {
		t.Errorf("without a file: %q", got)
	}
	for _, c := range []struct {
		name, content string
		sharers       int
		want          string
	}{
		{"empty", "", 1, ""},
		{"text", "it broke\n", 1, "it broke\n"},
		{"the end of a long one", strings.Repeat("a", 9000) + "end", 1, strings.Repeat("a", 4093) + "end"},
		{"a cut character", "ä" + strings.Repeat("b", 4095), 1, strings.Repeat("b", 4095)},
		{"no UTF-8", "a\xff\xfeb\x00", 1, "a\uFFFDb\x00"},
		{"no UTF-8 grows", strings.Repeat("\xffa", 2048), 1, strings.Repeat("\uFFFDa", 1024)},
		{"three share", strings.Repeat("a", 5000), 3, strings.Repeat("a", 4096)},
		{"six share: of the end the beginning", strings.Repeat("x", 1000) + strings.Repeat("a", 2048) + strings.Repeat("b", 2048), 6, strings.Repeat("a", 2048)},
		{"five share, in the middle of a character", strings.Repeat("ä", 2048), 5, strings.Repeat("ä", 1228)},
	} {
		t.Run(c.name, func(t *testing.T) {
			e.sharers = c.sharers
			write(t, e.file, c.content)
			if got := e.message(); got != c.want {
				t.Errorf("%d bytes %.60q, want %d bytes %.60q", len(got), got, len(c.want), c.want)
			}
		})
	}
}

func TestMessageFromLog(t *testing.T) {
	record := func(i int, tag, text string) string {
		return fmt.Sprintf("2026-01-02T03:04:05.%09dZ stderr %s %s\n", i, tag, text)
	}
	var many, long strings.Builder
	var last80, all strings.Builder
	for i := range 200 {
		many.WriteString(record(i, "F", fmt.Sprintf("line %d", i)))
		if i >= 120 {
			fmt.Fprintf(&last80, "line %d\n", i)
		}
		long.WriteString(record(i, "P", strings.Repeat("x", 16<<10)))
	}
	long.WriteString(record(200, "F", "the end"))
	for i := range 5 {
		fmt.Fprintf(&all, "line %d\n", i)
	}
	few := strings.SplitAfter(many.String(), "\n")[:5]
	for _, c := range []struct {
		name    string
		change  func(*ending)
		rotated map[string]string // by what is added to the live file's name
		log     string
		want    string
	}{
		{"all of a short one", nil, nil, strings.Join(few, ""), all.String()},
		{"80 lines", nil, nil, many.String(), last80.String()},
		{"2048 bytes", nil, nil, long.String(), strings.Repeat("x", 2040) + "the end\n"},
		{"a cut character", nil, nil, record(0, "F", strings.Repeat("ä", 2000)), strings.Repeat("ä", 1023) + "\n"},
		{"no newline at the end", nil, nil, record(0, "F", "a") + record(1, "P", "b"), "a\nb"},
		{"what is no record", nil, nil, "garbage\n" + record(0, "F", "a") + "\n\x00\xff\n" + record(1, "F", "") + "torn 20", "a\n\n"},
		{"empty", nil, map[string]string{}, "", ""},
		{"rotated", nil, map[string]string{".20260102-030405": few[0] + few[1], ".20260102-030406": few[2], ".gz": "no"},
			few[3] + few[4], all.String()},
		{"rotated just now", nil, map[string]string{".20260102-030406": strings.Join(few, "")}, "", all.String()},
		{"rotated, with enough after", nil, map[string]string{".20260102-030406": few[0]}, many.String(), last80.String()},
		{"succeeded", func(e *ending) { e.failed = false }, nil, few[0], ""},
		{"policy File", func(e *ending) { e.container.TerminationMessagePolicy = v1.TerminationMessageReadFile }, nil, few[0], ""},
		{"not all logged", func(e *ending) { e.logged = false }, nil, few[0], ""},
		{"a file that says something", func(e *ending) { write(t, e.file, "said") }, nil, few[0], "said"},
		{"an empty file", func(e *ending) { write(t, e.file, "") }, nil, few[0], "line 0\n"},
		{"shared by ten", func(e *ending) { e.sharers = 10 }, nil, record(0, "F", strings.Repeat("y", 3000)), strings.Repeat("y", 1228)},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := ended(t)
			e.container.TerminationMessagePolicy = v1.TerminationMessageFallbackToLogsOnError
			if c.change != nil {
				c.change(&e)
			}
			for suffix, text := range c.rotated {
				write(t, e.log+suffix, text)
			}
			write(t, e.log, c.log)
			if got := e.message(); got != c.want {
				t.Errorf("%d bytes %.60q, want %d bytes %.60q", len(got), got, len(c.want), c.want)
			}
		})
	}
	e := ended(t)
	e.container.TerminationMessagePolicy = v1.TerminationMessageFallbackToLogsOnError
	if got := e.message(); got != "" {
		t.Errorf("without a log: %q", got)
	}
}

// Whatever lies in the termination log's place: it is not waited for, not
// followed, and not read if it is no file.
func TestHostileTerminationLog(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "topsecret")
	for name, place := range map[string]func(path string) error{
		"link":      func(path string) error { return os.Symlink(secret, path) },
		"fifo":      func(path string) error { return syscall.Mkfifo(path, 0o666) },
		"directory": func(path string) error { return os.Mkdir(path, 0o755) },
		"device":    func(path string) error { return syscall.Mknod(path, syscall.S_IFCHR|0o666, 1<<8|5) }, // zero
	} {
		t.Run(name, func(t *testing.T) {
			e := ended(t)
			if err := place(e.file); err != nil {
				t.Fatal(err)
			}
			got := e.message()
			if !strings.HasPrefix(got, "Error on reading termination log ") || strings.Contains(got, "topsecret") {
				t.Errorf("%.100q", got)
			}
		})
	}
	e := ended(t)
	write(t, e.file, "")
	if err := os.Truncate(e.file, 1<<40); err != nil { // holes only
		t.Fatal(err)
	}
	if got := e.message(); got != strings.Repeat("\x00", maxTerminationMessage) {
		t.Errorf("a terabyte of zeroes: %.20q", got)
	}
}

func FuzzLastRecords(f *testing.F) {
	f.Add([]byte("2026-01-02T03:04:05Z stdout F a\n2026-01-02T03:04:05Z stdout P b\n"), 80)
	f.Add([]byte("\n\n2026-01-02T03:04:05Z stdout F"), 1)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		n = min(n, maxMessageLines)
		text, found := lastRecords(data, n)
		if found > max(n, 0) || len(text) > len(data)+found {
			t.Errorf("%d records and %d bytes of %d bytes, %d asked for", found, len(text), len(data), n)
		}
		e := ending{sharers: 7}
		if got := e.limit(text); !utf8.ValidString(got) || len(got) > maxPodMessages/7 {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	})
}
