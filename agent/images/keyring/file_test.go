package keyring

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A file that comes, changes, breaks and goes is followed, and its problems are
// in the log once each.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	var text bytes.Buffer
	f := NewFile(path, slog.New(slog.NewTextHandler(&text, nil)))
	logged := func(want string) {
		t.Helper()
		if got := text.String(); strings.Count(got, "\n") != strings.Count(want, "|")+min(1, len(want)) || strings.Contains(got, "hunter2") {
			t.Errorf("logged %q", got)
		}
		for _, part := range strings.Split(want, "|") {
			if !strings.Contains(text.String(), part) {
				t.Errorf("logged %q, want %q", text.String(), part)
			}
		}
		text.Reset()
	}
	look := func(user, problem string) {
		t.Helper()
		for range 2 {
			creds, problems := f.Lookup("r.example/app")
			if got := users(creds); got != user || problem == "" && len(problems) > 0 ||
				problem != "" && (len(problems) != 1 || !strings.Contains(problems[0].Error(), problem)) {
				t.Errorf("users %q, problems %v; want %q, %q", got, problems, user, problem)
			}
		}
	}
	write := func(data []byte, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, data, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}

	look("", "no such file")
	logged("no such file")
	write(auths("r.example"), 0o600)
	look("r.example", "")
	logged("")
	write(auths("*.example"), 0o600) // of the same size, within the same tick of the clock
	look("*.example", "")
	write(auths("*.example"), 0o644)
	look("*.example", "")
	logged("open to everybody")
	write([]byte(`{"auths": hunter2`), 0o600)
	look("*.example", "it is not JSON: error at byte 11; the credentials of before are used")
	logged("it is not JSON")
	write([]byte(`{"auths": {"r.example": {"username": "new"}, "s.example": {"auth": "hunter2!"}}}`), 0o600)
	look("new", "")
	logged(`registry \"s.example\": auth is not base64`)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	look("", "no such file")
	logged("no such file")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	look("", "is not a file")
	logged("is not a file")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(bytes.Repeat([]byte(" "), MaxSize+5), 0o600)
	look("", "over the limit")
	logged("over the limit")

	if creds, problems := NewFile("", nil).Lookup("app"); len(creds)+len(problems) > 0 {
		t.Errorf("no file: %v, %v", creds, problems)
	}
}
