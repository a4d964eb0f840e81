package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"
)

// An Inbox takes a window's worth, gives it back as it is read, and ends after
// what it holds.
func TestInbox(t *testing.T) {
	given := 0
	b := NewInbox(func(n int) { given += n })
	full := bytes.Repeat([]byte{7}, StdinWindow)
	if err := b.Put(full); err != nil {
		t.Fatal(err)
	}
	if b.Put([]byte{1}) == nil {
		t.Error("it took more than the window")
	}
	buf := make([]byte, 1000)
	if n, err := b.Read(buf); n != 1000 || err != nil || given != 1000 {
		t.Fatalf("%d, %v, gave %d back", n, err, given)
	}
	if err := b.Put(buf); err != nil {
		t.Errorf("after reading: %v", err)
	}
	b.Close(io.EOF)
	b.Close(errors.New("a second end"))
	if err := b.Put(full); err != nil {
		t.Errorf("after the end: %v", err)
	}
	if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, full) || given != StdinWindow+1000 {
		t.Errorf("read %d bytes, %v, gave %d back", len(got), err, given)
	}
}

// Take waits for what was given back, or for the end.
func TestCredit(t *testing.T) {
	c := NewCredit()
	if !c.Take(StdinWindow-1) || !c.Has(1) || c.Has(2) {
		t.Fatal("a new Credit is not the window")
	}
	woken := make(chan struct{}, 2)
	c.OnGive(func() { woken <- struct{}{} })
	took := make(chan bool)
	go func() { took <- c.Take(3) }()
	c.Give(1)
	select {
	case <-took:
		t.Fatal("it took what was not there")
	case <-time.After(20 * time.Millisecond):
	}
	c.Give(1)
	if !<-took || len(woken) != 2 {
		t.Errorf("woken %d times", len(woken))
	}
	c.OnGive(nil)
	c.Give(1 << 31) // more than can be
	if c.Has(StdinWindow + 1) {
		t.Error("it has more than the window")
	}
	if !c.Take(StdinWindow) {
		t.Error("it has less than the window")
	}
	go func() { took <- c.Take(1) }()
	c.Close()
	if <-took {
		t.Error("it took after the end")
	}
}
