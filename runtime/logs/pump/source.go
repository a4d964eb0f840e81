package pump

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime/logs/cri"
	"github.com/davit-agent/davit/runtime/logs/spool"
)

const (
	readSize  = 64 << 10
	batchSize = 128 << 10
	// idleFlush is how long the beginning of a line waits for the rest.
	idleFlush = 100 * time.Millisecond
	// lossRetry is how often a file that could not be written is tried while
	// nothing more comes.
	lossRetry = 5 * time.Second
	// stopDrain is how much a stopping pump still reads of one FIFO. Beyond it
	// there must be a writer, who holds the FIFO for the next pump.
	stopDrain = 4 << 20
)

// mode is what a source is to do.
type mode int32

const (
	modeRun   mode = iota
	modeLeave      // write out what is held and go; another pump has the FIFO open
	modeStop       // read what is in the FIFO, write it out and go
	modeEnd        // as modeStop, and end the last line: there is no writer any more
)

// source copies one FIFO to a log file.
type source struct {
	fifo *os.File
	rc   syscall.RawConn
	enc  cri.Encoder
	file *logFile
	mark *byte        // 1 while something that was read is not in the file
	want atomic.Int32 // mode
	done chan struct{}
}

func newSource(dir string, s cri.Stream, file *logFile, mark *byte) (*source, error) {
	f, err := spool.OpenFIFO(filepath.Join(dir, file.spec.ID, s.String()))
	if err != nil {
		return nil, err
	}
	rc, err := f.SyscallConn()
	if err == nil {
		err = f.SetReadDeadline(time.Time{}) // refused if the poller does not have it
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("polling FIFO: %w", err)
	}
	if *mark != 0 {
		file.killed(s)
		*mark = 0
	}
	return &source{fifo: f, rc: rc, enc: cri.Encoder{Stream: s}, file: file, mark: mark, done: make(chan struct{})}, nil
}

// leave tells run to end in the way of m. The caller then waits for done.
func (s *source) leave(m mode) {
	s.want.Store(int32(m))
	_ = s.fifo.SetReadDeadline(time.Unix(1, 0))
}

// buffers are for the time of one chunk; idle streams have none.
var (
	readBuffers  = sync.Pool{New: func() any { b := make([]byte, readSize); return &b }}
	batchBuffers = sync.Pool{New: func() any {
		b := make([]byte, 0, batchSize+cri.MaxRecord)
		return &b
	}}
)

// run copies until leave. now is the clock.
func (s *source) run(now func() time.Time) {
	defer close(s.done)
	defer s.fifo.Close()
	lossy := false
	for {
		var deadline time.Time
		switch {
		case s.enc.Held() > 0:
			deadline = time.Now().Add(idleFlush)
		case lossy:
			deadline = time.Now().Add(lossRetry)
		}
		_ = s.fifo.SetReadDeadline(deadline)
		// Looked at after the deadline was set: leave does it the other way
		// round, so its deadline is never lost unseen.
		if m := mode(s.want.Load()); m != modeRun {
			s.finish(m, now)
			return
		}
		switch err := s.chunk(now); {
		case err == nil:
			lossy = s.file.lossy()
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.put(s.enc.Flush(nil, now()), now())
			s.unmark()
			lossy = !s.file.retry(now())
		default: // not known to happen; the FIFO is of no use any more
			s.put(s.enc.Flush(nil, now()), now())
			return
		}
	}
}

func (s *source) put(batch cri.Batch, now time.Time) {
	if len(batch) > 0 {
		s.file.write(s.enc.Stream, batch, now)
	}
}

// chunk waits until there is something in the FIFO and copies up to readSize
// bytes of it.
func (s *source) chunk(now func() time.Time) error {
	var buf *[]byte
	n, rerr := 0, error(nil)
	err := s.rc.Read(func(fd uintptr) bool {
		buf = readBuffers.Get().(*[]byte)
		*s.mark = 1
		n, rerr = fill(int(fd), *buf)
		if n == 0 && rerr == nil {
			s.unmark()
			readBuffers.Put(buf)
			buf = nil
			return false // wait
		}
		return true
	})
	if buf != nil {
		defer readBuffers.Put(buf)
		s.copy((*buf)[:n], now())
	}
	if err == nil {
		err = rerr
	}
	return err
}

// fill reads until buf is full or the FIFO empty: the shim writes pieces of 4
// KiB, and each read here ends in a write to the file.
func fill(fd int, buf []byte) (int, error) {
	n := 0
	for n < len(buf) {
		m, err := unix.Read(fd, buf[n:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return n, nil
		case err != nil:
			return n, err
		case m == 0:
			return n, nil
		}
		n += m
	}
	return n, nil
}

func (s *source) copy(data []byte, now time.Time) {
	batch := batchBuffers.Get().(*[]byte)
	defer batchBuffers.Put(batch)
	for len(data) > 0 {
		*batch, data = s.enc.Append((*batch)[:0], now, data, batchSize)
		s.put(*batch, now)
	}
	s.unmark()
}

// unmark takes the mark back unless a line's beginning is held.
func (s *source) unmark() {
	if s.enc.Held() == 0 {
		*s.mark = 0
	}
}

// finish ends the copying in the way of m.
func (s *source) finish(m mode, now func() time.Time) {
	defer s.unmark()
	if m != modeLeave {
		s.drain(m, now)
	}
	if m != modeEnd {
		s.put(s.enc.Flush(nil, now()), now())
		return
	}
	s.put(s.enc.Finish(nil, now(), s.file.isOpen(s.enc.Stream)), now())
}

func (s *source) drain(m mode, now func() time.Time) {
	buf := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buf)
	for total := 0; m == modeEnd || total < stopDrain; {
		n, err := 0, error(nil)
		*s.mark = 1
		if cerr := s.rc.Control(func(fd uintptr) { n, err = fill(int(fd), *buf) }); cerr != nil {
			return
		}
		s.copy((*buf)[:n], now())
		if n == 0 || err != nil {
			return
		}
		total += n
	}
}
