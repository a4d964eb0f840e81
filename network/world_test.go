package network

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/network/ns"
)

// world is a node and a far machine on one wire, and the pods of a test:
// network namespaces without a way out.
//
//	node: up0 192.0.2.10, 2001:db8::10; default route to far
//	far:  up0 192.0.2.1, 2001:db8::1; routes to the pod CIDRs by way of node
//	      lo 198.51.100.1, 2001:db8:f::1 (outside the cluster), 10.96.7.7, fd00:96::7 (inside)
type world struct {
	t         testing.TB
	root      string
	node, far string
}

const uplinkMTU = 1400

var (
	nodeIPs      = []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")}
	podCIDR4     = netip.MustParsePrefix("10.85.0.0/24")
	podCIDR6     = netip.MustParsePrefix("fd00:85::/64")
	clusterCIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/16")}
)

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, root: t.TempDir()}
	t.Cleanup(func() {
		names, err := ns.List(w.root)
		if err != nil {
			t.Error(err)
		}
		for _, n := range names {
			if err := ns.Remove(filepath.Join(w.root, n)); err != nil {
				t.Error(err)
			}
		}
	})
	w.node, w.far = w.netns("node"), w.netns("far")
	node, far := handle(t, w.node), handle(t, w.far)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = "up0", uplinkMTU
	veth := netlink.NewVeth(attrs)
	farFile, err := ns.Open(w.far)
	w.ok(err)
	defer farFile.Close()
	veth.PeerName, veth.PeerNamespace = "up0", netlink.NsFd(farFile.Fd())
	w.ok(node.LinkAdd(veth))
	up(t, node, "up0", "192.0.2.10/24", "2001:db8::10/64")
	up(t, far, "up0", "192.0.2.1/24", "2001:db8::1/64")
	up(t, far, "lo", "198.51.100.1/32", "2001:db8:f::1/128", "10.96.7.7/32", "fd00:96::7/128")
	route(t, node, "up0", "0.0.0.0/0", "192.0.2.1")
	route(t, node, "up0", "::/0", "2001:db8::1")
	route(t, far, "up0", podCIDR4.String(), "192.0.2.10")
	route(t, far, "up0", podCIDR6.String(), "2001:db8::10")
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// netns makes a namespace.
func (w *world) netns(name string) string {
	w.t.Helper()
	dir := filepath.Join(w.root, name)
	w.ok(ns.Create(dir, ns.Options{Kinds: []ns.Kind{ns.Net}}))
	return filepath.Join(dir, "net")
}

func (w *world) config() Config {
	return Config{PodCIDRs: []netip.Prefix{podCIDR4, podCIDR6}, ClusterCIDRs: clusterCIDRs, NodeIPs: nodeIPs, NetNS: w.node}
}

func (w *world) network(cfg Config) *Network {
	w.t.Helper()
	n, err := New(cfg, slog.New(slog.NewTextHandler(w.t.Output(), nil)))
	w.ok(err)
	w.t.Cleanup(n.Close)
	return n
}

// run starts n and waits until its table is there; stop is called with the test
// if not before.
func (w *world) run(n *Network) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	w.t.Cleanup(stop)
	eventually(w.t, "the table is there", func() bool {
		ok, err := n.tables.Intact(masquerade(n.cfg))
		return err == nil && ok
	})
	return stop
}

// pod makes a pod's namespace; the numbers are its addresses' last parts.
func (w *world) pod(uid string, last int, families ...string) Endpoint {
	w.t.Helper()
	ep := Endpoint{UID: uid, NetNS: w.netns(uid)}
	for _, f := range families {
		switch f {
		case "4":
			ep.Addrs = append(ep.Addrs, netip.MustParseAddr(fmt.Sprintf("10.85.0.%d", last)))
		case "6":
			ep.Addrs = append(ep.Addrs, netip.MustParseAddr(fmt.Sprintf("fd00:85::%x", last)))
		}
	}
	return ep
}

// command runs a program in a namespace and returns its output.
func (w *world) command(path, name string, args ...string) string {
	w.t.Helper()
	out, err := exec.Command("nsenter", append([]string{"--net=" + path, name}, args...)...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

// seen connects from a namespace to an address in another, where a server
// answers with the client's address; that is returned.
func (w *world) seen(from, to string, addr netip.Addr) (netip.Addr, error) {
	w.t.Helper()
	var l net.Listener
	w.ok(ns.Do(to, func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
		return err
	}))
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, c.RemoteAddr().String())
			c.Close()
		}
	}()
	var answer []byte
	err := ns.Do(from, func() error {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 3*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		answer, err = io.ReadAll(c)
		return err
	})
	if err != nil {
		return netip.Addr{}, err
	}
	ap, err := netip.ParseAddrPort(string(answer))
	w.ok(err)
	return ap.Addr(), nil
}

// mustSee is seen that has to be answered, and by whom.
func (w *world) mustSee(from, to string, addr, want netip.Addr) {
	w.t.Helper()
	got, err := w.seen(from, to, addr)
	if err != nil {
		w.t.Errorf("connecting to %s: %v", addr, err)
	} else if got != want {
		w.t.Errorf("%s saw %s, want %s", addr, got, want)
	}
}

// clean checks that nothing of davit is left in the node's namespace.
func (w *world) clean() {
	w.t.Helper()
	if out := w.command(w.node, "ip", "-o", "link"); strings.Contains(out, " dv") {
		w.t.Errorf("links left:\n%s", out)
	}
	for _, f := range []string{"-4", "-6"} {
		if out := w.command(w.node, "ip", f, "route", "show", "table", "all", "proto", fmt.Sprint(protocol)); out != "" {
			w.t.Errorf("routes left:\n%s", out)
		}
	}
	if out := w.command(w.node, "ip", "neigh", "show", "nud", "permanent"); out != "" {
		w.t.Errorf("neighbours left:\n%s", out)
	}
	if out := w.command(w.node, "nft", "list", "ruleset"); out != "" {
		w.t.Errorf("tables left:\n%s", out)
	}
}

func handle(t testing.TB, path string) *netlink.Handle {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := netlink.NewHandleAt(netns.NsHandle(f.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func up(t testing.TB, h *netlink.Handle, name string, addrs ...string) {
	t.Helper()
	l, err := h.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.LinkSetUp(l); err != nil {
		t.Fatal(err)
	}
	for _, s := range addrs {
		a, err := netlink.ParseAddr(s)
		if err != nil {
			t.Fatal(err)
		}
		a.Flags = unix.IFA_F_NODAD
		if err := h.AddrReplace(l, a); err != nil {
			t.Fatal(err)
		}
	}
}

func route(t testing.TB, h *netlink.Handle, name, dst, via string) {
	t.Helper()
	l, err := h.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	_, d, err := net.ParseCIDR(dst)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.RouteReplace(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: d, Gw: net.ParseIP(via)}); err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}
