package testbed

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
)

const netnsDir = "/run/netns"

// Wire is the network outside of the nodes: a namespace with a bridge that has
// the nodes' gateway addresses, 192.0.2.1 and 2001:db8::1 (the documentation
// ranges of RFC 5737 and RFC 3849), and no way out.
type Wire struct {
	NS   string
	next atomic.Uint32
}

// makeNetwork makes the Bed's network namespace and connects it to a wire.
func (b *Bed) makeNetwork(w *Wire) error {
	if w == nil {
		w = &Wire{NS: b.NS + "-w"}
		err := ip(
			"netns add "+w.NS,
			"-n "+w.NS+" link set lo up",
			"-n "+w.NS+" link add br0 type bridge",
			"-n "+w.NS+" addr add 192.0.2.1/24 dev br0",
			"-n "+w.NS+" addr add 2001:db8::1/64 dev br0 nodad",
			"-n "+w.NS+" link set br0 up",
		)
		if err != nil {
			return err
		}
	}
	b.Wire = w
	n := w.next.Add(1)
	b.Addr4 = netip.AddrFrom4([4]byte{192, 0, 2, byte(9 + n)})
	a6 := netip.MustParseAddr("2001:db8::").As16()
	a6[15] = byte(9 + n)
	b.Addr6 = netip.AddrFrom16(a6)
	port := "p" + b.ID
	return ip(
		"netns add "+b.NS,
		"-n "+b.NS+" link set lo up",
		"-n "+b.NS+" link add eth0 type veth peer name "+port+" netns "+w.NS,
		"-n "+w.NS+" link set "+port+" master br0 up",
		"-n "+b.NS+" addr add "+b.Addr4.String()+"/24 dev eth0",
		"-n "+b.NS+" addr add "+b.Addr6.String()+"/64 dev eth0 nodad",
		"-n "+b.NS+" link set eth0 up",
		"-n "+b.NS+" route add default via 192.0.2.1",
		"-n "+b.NS+" -6 route add default via 2001:db8::1",
	)
}

// Command prepares a command that runs on the wire, as a host outside the node.
func (w *Wire) Command(name string, args ...string) *exec.Cmd {
	path := filepath.Join(netnsDir, w.NS)
	return exec.Command("nsenter", append([]string{"--net=" + path, "--", name}, args...)...)
}

// ip runs iproute2's ip, once a line, up to the first that fails.
func ip(lines ...string) error {
	for _, line := range lines {
		out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("running ip %s: %w: %s", line, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
