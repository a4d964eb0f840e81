package logs_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/davit-agent/davit/runtime/logs"
	"github.com/davit-agent/davit/runtime/logs/spool"
)

const (
	oldText = "2026-01-02T03:04:01Z stdout F one\n" +
		"2026-01-02T03:04:02Z stdout P tw\n" +
		"2026-01-02T03:04:02.5Z stderr F err\n"
	liveText = "2026-01-02T03:04:03Z stdout F o\n" +
		"no record\n" +
		"2026-01-02T03:04:04Z stdout F:tag three\n" +
		"2026-01-02T03:04:05Z stdout P four\n" +
		"2026-01-02T03:04:06Z stdout F to" // torn
)

func ptr(n int64) *int64 { return &n }

// What Stream prints of files that are there.
func TestStreamOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	must(t, os.WriteFile(path+".20260102-030402", []byte(oldText), 0o600))
	must(t, os.WriteFile(path+".20260102-030402.gz", []byte("x"), 0o600))
	must(t, os.WriteFile(path, []byte(liveText), 0o600))
	c, err := logs.New(logs.Config{Dir: t.TempDir()})
	must(t, err)
	at := time.Date(2026, 1, 2, 3, 4, 3, 0, time.UTC)
	for _, tt := range []struct {
		name        string
		o           logs.StreamOptions
		out, errOut string
	}{
		{"all", logs.StreamOptions{}, "one\ntwo\nthree\nfour", "err\n"},
		{"timestamps", logs.StreamOptions{Timestamps: true},
			"2026-01-02T03:04:01Z one\n2026-01-02T03:04:02Z two\n2026-01-02T03:04:04Z three\n2026-01-02T03:04:05Z four",
			"2026-01-02T03:04:02.5Z err\n"},
		{"tail 0", logs.StreamOptions{Tail: ptr(0)}, "", ""},
		{"tail 2", logs.StreamOptions{Tail: ptr(2)}, "three\nfour", ""},
		{"tail 3", logs.StreamOptions{Tail: ptr(3)}, "three\nfour", "err\n"},
		{"tail 4", logs.StreamOptions{Tail: ptr(4)}, "two\nthree\nfour", "err\n"},
		{"tail many", logs.StreamOptions{Tail: ptr(99)}, "one\ntwo\nthree\nfour", "err\n"},
		{"since", logs.StreamOptions{Since: at}, "three\nfour", ""},
		{"limit", logs.StreamOptions{LimitBytes: 6}, "one\ntw", ""},
		{"limit at the end of a line", logs.StreamOptions{LimitBytes: 4}, "one\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Path = path
			var out, errOut bytes.Buffer
			must(t, c.Stream(t.Context(), tt.o, &out, &errOut))
			if out.String() != tt.out || errOut.String() != tt.errOut {
				t.Errorf("got %q, %q\nwant %q, %q", &out, &errOut, tt.out, tt.errOut)
			}
		})
	}
}

// Without a log there is an error; with a cancelled context, the context's.
func TestStreamErrors(t *testing.T) {
	b := newBench(t)
	for _, follow := range []bool{false, true} {
		o := logs.StreamOptions{ID: "x", Path: b.path("x"), Follow: follow}
		if err := b.client.Stream(t.Context(), o, nil, nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("follow %v: %v", follow, err)
		}
	}
	b.open("x", 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := logs.StreamOptions{ID: "x", Path: b.path("x"), Follow: true}
	if err := b.client.Stream(ctx, o, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func dialRaw(t *testing.T, dir string) net.Conn {
	t.Helper()
	c, err := spool.Dial(t.Context(), dir)
	must(t, err)
	return c.Conn
}
