package process

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/runtime"
)

// streams is the FIFOs of a further process. davit holds a writing end of each
// output until the process has ended, so that a reader which comes first does
// not take an end without writers for the end of the output.
type streams struct {
	Stdin, Stdout, Stderr string

	stdin   *os.File
	readers []*os.File // stdout, stderr
	holds   []*os.File // writing ends of the same
	copies  sync.WaitGroup
	done    chan struct{} // closed when all output was copied
	once    sync.Once
}

// openStreams makes the FIFOs in dir.
func openStreams(dir string, cfg *runtime.ExecConfig) (*streams, error) {
	x := &streams{done: make(chan struct{})}
	ok := false
	defer func() {
		if !ok {
			x.close()
		}
	}()
	var err error
	if x.Stdout, err = x.output(dir, "stdout"); err != nil {
		return nil, err
	}
	if !cfg.TTY {
		if x.Stderr, err = x.output(dir, "stderr"); err != nil {
			return nil, err
		}
	}
	if cfg.Stdin != nil {
		x.Stdin = filepath.Join(dir, "stdin")
		// Both ends: a FIFO cannot be opened for writing before its reader.
		if x.stdin, err = openFIFO(x.Stdin, syscall.O_RDWR); err != nil {
			return nil, err
		}
	}
	ok = true
	return x, nil
}

func (x *streams) output(dir, name string) (string, error) {
	path := filepath.Join(dir, name)
	r, err := openFIFO(path, syscall.O_RDONLY)
	if err != nil {
		return "", err
	}
	x.readers = append(x.readers, r)
	w, err := os.OpenFile(path, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("opening FIFO: %w", err)
	}
	x.holds = append(x.holds, w)
	return path, nil
}

func openFIFO(path string, mode int) (*os.File, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("making FIFO: %w", err)
	}
	f, err := os.OpenFile(path, mode|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening FIFO: %w", err)
	}
	return f, nil
}

// copyOut begins to copy the output.
func (x *streams) copyOut(cfg *runtime.ExecConfig) {
	outs := []io.Writer{cfg.Stdout, cfg.Stderr}
	for i, r := range x.readers {
		w := outs[i]
		if w == nil {
			w = io.Discard
		}
		x.copies.Go(func() {
			if _, err := io.Copy(w, r); err != nil {
				// Nobody reads any more; the process must not block on that.
				_, _ = io.Copy(io.Discard, r)
			}
		})
	}
	go func() { x.copies.Wait(); close(x.done) }()
}

// copyIn begins to copy the input and calls ended when it has ended. To be
// called when the shim has opened its end: what is in a FIFO that nobody has
// open is lost.
func (x *streams) copyIn(cfg *runtime.ExecConfig, ended func()) {
	if x.stdin == nil {
		return
	}
	// Not waited for: a read of the caller's input may never return.
	go func() {
		_, _ = io.Copy(x.stdin, cfg.Stdin)
		_ = x.stdin.Close()
		ended()
	}()
}

// drain waits until all output was copied. To be called when the shim has let
// go of the FIFOs.
func (x *streams) drain(ctx context.Context) error {
	for _, w := range x.holds {
		_ = w.Close()
	}
	select {
	case <-x.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close closes what is open; output that was not drained is lost.
func (x *streams) close() {
	x.once.Do(func() {
		files := append(append([]*os.File{x.stdin}, x.readers...), x.holds...)
		for _, f := range files {
			if f != nil {
				_ = f.Close() // some were closed before
			}
		}
	})
}
