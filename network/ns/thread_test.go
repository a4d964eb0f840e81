package ns

import (
	"errors"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestThread: threads are thrown away, and the first one is never taken.
func TestThread(t *testing.T) {
	home := inode(t, "/proc/self/ns/net") // of the first thread
	for range 500 {
		if err := onThread(func() error {
			if unix.Gettid() == unix.Getpid() {
				return errors.New("on the first thread")
			}
			return unix.Unshare(unix.CLONE_NEWUTS)
		}); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	if now := inode(t, "/proc/self/ns/net"); now != home {
		t.Errorf("the first thread is in network %d", now)
	}
	uts := inode(t, "/proc/self/ns/uts")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		abroad := 0
		tasks, err := filepath.Glob("/proc/self/task/*/ns/uts")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range tasks {
			var st unix.Stat_t
			if unix.Stat(p, &st) == nil && st.Ino != uts {
				abroad++
			}
		}
		if abroad == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d threads are in another namespace", abroad, len(tasks))
		}
	}
}
