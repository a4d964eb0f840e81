package testbed

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/davit-agent/davit/network/ns"
)

// Listen listens on a TCP address inside the bed's network namespace, as a
// server on the node would, until the test ends.
func (b *Bed) Listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	err := ns.Do(filepath.Join("/run/netns", b.NS), func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	})
	if err != nil {
		t.Fatalf("listening on %s in namespace %s: %v", addr, b.NS, err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
