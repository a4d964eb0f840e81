package server

import (
	"fmt"
	"sync"

	"github.com/davit-agent/davit/agent/server/wire"
)

// inbox is the stdin of an exec session: put never blocks, Read does. It holds
// at most wire.StdinWindow bytes, for the client may have no more under way.
type inbox struct {
	onRead func(n int) // gives n bytes of window back

	mu   sync.Mutex
	cond *sync.Cond
	buf  []byte
	err  error // what Read returns when buf is empty
}

func newInbox(onRead func(int)) *inbox {
	b := &inbox{onRead: onRead}
	b.cond = sync.NewCond(&b.mu)
	return b
}

func (b *inbox) put(p []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil // nobody reads any more
	}
	if len(b.buf)+len(p) > wire.StdinWindow {
		return fmt.Errorf("reading from the client: more than %d bytes of stdin under way", wire.StdinWindow)
	}
	b.buf = append(b.buf, p...)
	b.cond.Signal()
	return nil
}

// close ends the stream with err after what is buffered; the first close counts.
func (b *inbox) close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.cond.Broadcast()
}

// Read implements io.Reader.
func (b *inbox) Read(p []byte) (int, error) {
	b.mu.Lock()
	for len(b.buf) == 0 && b.err == nil {
		b.cond.Wait()
	}
	n := copy(p, b.buf)
	b.buf = b.buf[n:]
	err := b.err
	b.mu.Unlock()
	if n == 0 && len(p) > 0 {
		return 0, err
	}
	b.onRead(n)
	return n, nil
}
