package server

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListenUnix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "d.sock")
	l, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Fatalf("mode %v, error %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	if _, err := listenUnix(path); !errors.Is(err, ErrInUse) {
		t.Errorf("second listener: %v, want ErrInUse", err)
	}
	l.Close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket outlives its listener")
	}
}

func TestListenUnixReplacesStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	first, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()

	// A listener whose name was taken over does not remove the new one.
	os.Remove(path)
	second, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("closing the old listener removed the new socket: %v", err)
	}
}

func TestListenUnixRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file: "not a socket",
		filepath.Join(dir, strings.Repeat("x", 120)): "107",
		filepath.Join(file, "d.sock"):                "not a directory",
	} {
		if l, err := listenUnix(path); err == nil || !strings.Contains(err.Error(), want) {
			if l != nil {
				l.Close()
			}
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
	if data, _ := os.ReadFile(file); string(data) != "precious" {
		t.Error("the file was changed")
	}
	// The longest path that the kernel takes works, though the name aside is longer.
	long := filepath.Join(dir, strings.Repeat("y", maxSocketPath-len(dir)-1))
	l, err := listenUnix(long)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", long)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
