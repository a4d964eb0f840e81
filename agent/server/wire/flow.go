package wire

import (
	"fmt"
	"sync"
)

// Inbox is one direction of bytes at its receiver: Put never blocks, Read does.
// It holds at most StdinWindow bytes, for the sender may have no more under way.
type Inbox struct {
	onRead func(n int) // gives n bytes of window back

	mu   sync.Mutex
	cond *sync.Cond
	buf  []byte
	err  error // what Read returns when buf is empty
}

// NewInbox returns an Inbox that calls onRead with the number of bytes of every
// Read.
func NewInbox(onRead func(n int)) *Inbox {
	b := &Inbox{onRead: onRead}
	b.cond = sync.NewCond(&b.mu)
	return b
}

// Put appends a copy of p. After Close it does nothing. The error means that the
// sender did not keep to the window.
func (b *Inbox) Put(p []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil // nobody reads any more
	}
	if len(b.buf)+len(p) > StdinWindow {
		return fmt.Errorf("reading from the client: more than %d bytes of stdin under way", StdinWindow)
	}
	b.buf = append(b.buf, p...)
	b.cond.Signal()
	return nil
}

// Close ends the direction with err after what is buffered; the first Close
// counts.
func (b *Inbox) Close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.cond.Broadcast()
}

// Read implements io.Reader.
func (b *Inbox) Read(p []byte) (int, error) {
	b.mu.Lock()
	for len(b.buf) == 0 && b.err == nil {
		b.cond.Wait()
	}
	n := copy(p, b.buf)
	b.buf = b.buf[n:]
	if len(b.buf) == 0 {
		b.buf = nil // one that idles keeps nothing
	}
	err := b.err
	b.mu.Unlock()
	if n == 0 && len(p) > 0 {
		return 0, err
	}
	b.onRead(n)
	return n, nil
}

// Credit is the same direction at its sender: how many bytes may still be sent.
type Credit struct {
	mu     sync.Mutex
	cond   *sync.Cond
	free   int
	closed bool
	onGive func() // called after more was given; nil: nothing
}

// NewCredit returns the Credit of a direction's beginning, StdinWindow bytes.
func NewCredit() *Credit {
	w := &Credit{free: StdinWindow}
	w.cond = sync.NewCond(&w.mu)
	return w
}

// Take waits until n bytes may be sent; false: Close was called.
func (w *Credit) Take(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.hasLocked(n) {
		w.cond.Wait()
	}
	w.free -= n
	return !w.closed
}

// Has tells whether Take would not wait.
func (w *Credit) Has(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hasLocked(n)
}

func (w *Credit) hasLocked(n int) bool { return w.free >= n || w.closed }

// OnGive has f called whenever Take may not have to wait any more.
func (w *Credit) OnGive(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onGive = f
}

// Give adds n bytes, which the receiver has read.
func (w *Credit) Give(n uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free = min(w.free+int(n), StdinWindow)
	w.wakeLocked()
}

// Close ends all waiting.
func (w *Credit) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.wakeLocked()
}

func (w *Credit) wakeLocked() {
	w.cond.Broadcast()
	if w.onGive != nil {
		w.onGive()
	}
}
