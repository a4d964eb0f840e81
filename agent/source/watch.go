package source

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// event is something that happened in a watched directory.
type event struct {
	name     string // base name; "" for the directory itself
	modified bool   // written to and not closed yet
	settled  bool   // made, closed, moved or removed: nobody writes to it
	lost     bool   // events were lost: anything may have happened
}

// watch is an inotify watch on one directory. The methods of a nil watch do
// nothing.
type watch struct {
	file     *os.File
	dev, ino uint64
	events   chan event
	done     chan struct{}
	reader   sync.WaitGroup
}

const watchMask = unix.IN_CREATE | unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB |
	unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// openWatch watches dir. What happens to the directory after it returns shows.
func openWatch(dir string) (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("making an inotify instance: %w", err)
	}
	w := &watch{file: os.NewFile(uintptr(fd), "inotify"), events: make(chan event, 64), done: make(chan struct{})}
	// The file that the watch is on is looked up twice; if it was exchanged in
	// between, Current finds out and the watch is made again.
	if w.dev, w.ino, err = identity(dir); err == nil {
		_, err = unix.InotifyAddWatch(fd, dir, watchMask)
	}
	if err != nil {
		_ = w.file.Close() // the error that counts is the other
		return nil, fmt.Errorf("watching %q: %w", dir, err)
	}
	w.reader.Go(w.read)
	return w, nil
}

func identity(dir string) (dev, ino uint64, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, fmt.Errorf("no inode number of %q", dir)
	}
	return st.Dev, st.Ino, nil
}

// Current tells whether the watch is still on what is at dir now.
func (w *watch) Current(dir string) bool {
	dev, ino, err := identity(dir)
	if err != nil || dev != w.dev || ino != w.ino {
		return false
	}
	select {
	case <-w.done:
		return false
	default:
		return true
	}
}

// Events returns the channel of events. It is closed when the directory is
// gone.
func (w *watch) Events() <-chan event {
	if w == nil {
		return nil
	}
	return w.events
}

// Close ends the watch and returns when its goroutine has ended.
func (w *watch) Close() {
	if w == nil {
		return
	}
	_ = w.file.Close() // wakes the reader; an inotify descriptor has nothing to lose
	for range w.events {
		continue // the reader may be waiting to send
	}
	w.reader.Wait()
}

func (w *watch) read() {
	defer close(w.events)
	defer close(w.done)
	buf := make([]byte, 16<<10) // an event has at most 16+256 bytes
	for {
		n, err := w.file.Read(buf)
		if err != nil {
			return
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			mask := binary.NativeEndian.Uint32(b[4:])
			size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			if size > len(b) {
				return
			}
			name := strings.TrimRight(string(b[unix.SizeofInotifyEvent:size]), "\x00")
			b = b[size:]
			if mask&(unix.IN_IGNORED|unix.IN_MOVE_SELF|unix.IN_DELETE_SELF|unix.IN_UNMOUNT) != 0 {
				return
			}
			const settled = unix.IN_CREATE | unix.IN_CLOSE_WRITE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE
			w.events <- event{
				name: name, modified: mask&unix.IN_MODIFY != 0, settled: mask&settled != 0, lost: mask&unix.IN_Q_OVERFLOW != 0,
			}
		}
	}
}
