package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/davit-agent/davit/network/ns"
)

func TestNewRefuses(t *testing.T) {
	four := []netip.Prefix{podCIDR4}
	for want, cfg := range map[string]Config{
		"needs a pod CIDR":              {NodeIPs: nodeIPs},
		"is 10.85.0.0/24 meant":         {PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.85.0.1/24")}, NodeIPs: nodeIPs},
		"overlap":                       {PodCIDRs: []netip.Prefix{podCIDR4, netip.MustParsePrefix("10.85.0.0/16")}, NodeIPs: nodeIPs},
		"needs a node address":          {PodCIDRs: []netip.Prefix{podCIDR6}, NodeIPs: nodeIPs[:1]},
		"lies in pod CIDR":              {PodCIDRs: four, NodeIPs: []netip.Addr{netip.MustParseAddr("10.85.0.9")}},
		"not one that pods":             {PodCIDRs: four, NodeIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}},
		"MTU 100 is not":                {PodCIDRs: four, NodeIPs: nodeIPs, MTU: 100},
		"IPv6 needs":                    {PodCIDRs: []netip.Prefix{podCIDR6}, NodeIPs: nodeIPs, MTU: 1279},
		"cluster CIDR 0 is not valid":   {PodCIDRs: four, NodeIPs: nodeIPs, ClusterCIDRs: []netip.Prefix{{}}},
		"opening namespace: /proc/self": {PodCIDRs: four, NodeIPs: nodeIPs, NetNS: "/proc/self/comm"},
	} {
		n, err := New(cfg, slog.Default())
		if err == nil {
			n.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", want, err)
		}
	}
}

// TestReach connects everybody with everybody, for each way of having addresses.
func TestReach(t *testing.T) {
	for _, families := range [][]string{{"4"}, {"6"}, {"4", "6"}, {"6", "4"}} {
		t.Run(strings.Join(families, "+"), func(t *testing.T) {
			w := newWorld(t)
			ctx := t.Context()
			// The strictest check of source addresses, which some distributions set.
			w.command(w.node, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter")
			n := w.network(w.config())
			w.run(n)
			a, b := w.pod("pod-a", 5, families...), w.pod("pod-b", 6, families...)
			for _, ep := range []Endpoint{a, b} {
				w.ok(n.Attach(ctx, ep))
				if ok, err := n.Check(ctx, ep); err != nil || !ok {
					t.Errorf("Check = %v, %v", ok, err)
				}
			}
			for i, addr := range a.Addrs {
				node, outside, inside := nodeIPs[0], "198.51.100.1", "10.96.7.7"
				if addr.Is6() {
					node, outside, inside = nodeIPs[1], "2001:db8:f::1", "fd00:96::7"
				}
				w.mustSee(a.NetNS, b.NetNS, b.Addrs[i], addr)
				w.mustSee(b.NetNS, a.NetNS, addr, b.Addrs[i])
				w.mustSee(a.NetNS, a.NetNS, addr, addr)
				w.mustSee(a.NetNS, w.node, node, addr)
				w.mustSee(w.node, a.NetNS, addr, node)
				w.mustSee(w.far, a.NetNS, addr, map[bool]netip.Addr{true: netip.MustParseAddr("192.0.2.1"), false: netip.MustParseAddr("2001:db8::1")}[addr.Is4()])
				// Outside the cluster the node's address is seen, inside the pod's.
				w.mustSee(a.NetNS, w.far, netip.MustParseAddr(outside), node)
				w.mustSee(a.NetNS, w.far, netip.MustParseAddr(inside), addr)
				// The node itself is never masqueraded.
				w.mustSee(w.node, w.far, netip.MustParseAddr(outside), node)
			}
			if got := w.command(a.NetNS, "ip", "link", "show", "eth0"); !strings.Contains(got, fmt.Sprintf("mtu %d ", uplinkMTU)) {
				t.Errorf("MTU is not the uplink's: %s", got)
			}
			// What one pod loses the other keeps.
			w.ok(n.Detach(ctx, a.UID))
			if ok, err := n.Check(ctx, a); ok || err != nil {
				t.Errorf("Check after Detach = %v, %v", ok, err)
			}
			for i, addr := range a.Addrs {
				w.mustSee(w.node, b.NetNS, b.Addrs[i], n.cfg.nodeIP(addr))
			}
		})
	}
}

// TestRunSetsUpNode starts from a node without forwarding and with a default
// route from a router advertisement.
func TestRunSetsUpNode(t *testing.T) {
	w := newWorld(t)
	w.command(w.node, "ip", "-6", "route", "add", "default", "via", "fe80::99", "dev", "up0", "proto", "ra", "metric", "2048")
	get := func(name string) (v string) {
		w.ok(ns.Do(w.node, func() (err error) { v, err = readSysctl(name); return err }))
		return v
	}
	if get(forwardIPv4) != "0" || get(forwardIPv6) != "0" || get("net/ipv6/conf/up0/accept_ra") != "1" {
		t.Fatal("a new namespace is not as expected")
	}
	only4 := w.config()
	only4.PodCIDRs = only4.PodCIDRs[:1]
	stop := w.run(w.network(only4))
	stop()
	if get(forwardIPv4) != "1" || get(forwardIPv6) != "0" {
		t.Error("IPv4 alone: forwarding is not as needed")
	}
	host, err := os.ReadFile("/proc/sys/" + forwardIPv6)
	w.ok(err)
	stop = w.run(w.network(w.config()))
	eventually(t, "IPv6 is forwarded", func() bool { return get(forwardIPv6) == "1" })
	if got := get("net/ipv6/conf/up0/accept_ra"); got != "2" {
		t.Errorf("accept_ra = %s, want 2", got)
	}
	stop()
	if now, _ := os.ReadFile("/proc/sys/" + forwardIPv6); string(now) != string(host) {
		t.Error("the machine's own forwarding was changed")
	}
	if out := w.command(w.node, "nft", "list", "ruleset"); !strings.Contains(out, "table inet davit-net") {
		t.Errorf("the table did not stay:\n%s", out)
	}
}

func TestTableReturns(t *testing.T) {
	w := newWorld(t)
	n := w.network(w.config())
	w.run(n)
	want := w.command(w.node, "nft", "list", "ruleset")
	start := time.Now()
	w.command(w.node, "nft", "flush", "ruleset")
	eventually(t, "the table is back", func() bool { return w.command(w.node, "nft", "list", "ruleset") == want })
	t.Logf("back after %v", time.Since(start))
}

// TestTableSavesAndLoads: what nft prints, it loads, and prints again the same.
func TestTableSavesAndLoads(t *testing.T) {
	w := newWorld(t)
	n := w.network(w.config())
	w.ok(n.assert())
	want := w.command(w.node, "nft", "list", "table", "inet", "davit-net")
	t.Logf("\n%s", want)
	other := w.netns("other")
	cmd := exec.Command("nsenter", "--net="+other, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(want)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("loading: %v: %s", err, out)
	}
	if got := w.command(other, "nft", "list", "table", "inet", "davit-net"); got != want {
		t.Errorf("loaded:\n%s", got)
	}
	if strings.Contains(want, "owner") || strings.Count(want, "masquerade fully-random") != 1 {
		t.Error("not the expected table")
	}
	// The next process finds it as it should be.
	if changed, err := w.network(w.config()).tables.Set(masquerade(n.cfg)); changed || err != nil {
		t.Errorf("the next process: changed %v, %v", changed, err)
	}
}

// state is all that a pod can see of its connection.
func (w *world) state(ep Endpoint) string {
	var b strings.Builder
	for _, path := range []string{ep.NetNS, w.node} {
		b.WriteString(w.command(path, "ip", "-o", "link"))
		for _, f := range []string{"-4", "-6"} {
			b.WriteString(w.command(path, "ip", f, "route"))
		}
		b.WriteString(w.command(path, "ip", "neigh", "show", "nud", "permanent"))
	}
	b.WriteString(w.command(ep.NetNS, "ip", "-o", "addr", "show", "scope", "global"))
	return b.String()
}

func TestAttachAgain(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	n := w.network(w.config())
	ep := w.pod("pod-a", 5, "4", "6")
	w.ok(n.Attach(ctx, ep))
	settle := func() { // the link-local addresses' routes come by themselves
		eventually(t, "link-local addresses are there", func() bool {
			return strings.Contains(w.command(ep.NetNS, "ip", "-6", "route"), "fe80::/64") &&
				strings.Contains(w.command(w.node, "ip", "-6", "route"), "fe80::/64 dev "+LinkName(ep.UID))
		})
	}
	settle()
	w.command(ep.NetNS, "ip", "addr", "add", "192.168.7.7/32", "dev", "eth0") // the pod's own doing
	was := w.state(ep)
	for range 2 {
		w.ok(w.network(w.config()).Attach(ctx, ep))
	}
	if now := w.state(ep); now != was {
		t.Errorf("Attach changed\n%s\nto\n%s", was, now)
	}
	if ok, err := n.Check(ctx, ep); err != nil || !ok {
		t.Errorf("Check = %v, %v", ok, err)
	}
	if uids, err := n.Attached(ctx); err != nil || !slices.Equal(uids, []string{"pod-a"}) {
		t.Errorf("Attached = %v, %v", uids, err)
	}
	for _, bad := range []Endpoint{
		{UID: "", NetNS: ep.NetNS, Addrs: ep.Addrs},
		{UID: "x", NetNS: ep.NetNS},
		{UID: "x", NetNS: ep.NetNS, Addrs: []netip.Addr{netip.MustParseAddr("10.86.0.1")}},
		{UID: "x", NetNS: ep.NetNS, Addrs: []netip.Addr{ep.Addrs[0], ep.Addrs[0]}},
		{UID: "x", NetNS: "/nowhere", Addrs: ep.Addrs},
		{UID: "x", NetNS: ep.NetNS, Addrs: ep.Addrs}, // eth0 is there and is not its own
	} {
		if err := n.Attach(ctx, bad); err == nil {
			t.Errorf("Attach(%+v) succeeded", bad)
		}
	}
}

// TestAttachCompletes destroys each part that Attach makes, which is also what
// a kill before that part leaves, and attaches again.
func TestAttachCompletes(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	n := w.network(w.config())
	w.run(n)
	ep, peer := w.pod("pod-a", 5, "4", "6"), w.pod("pod-b", 6, "4", "6")
	w.ok(n.Attach(ctx, ep))
	w.ok(n.Attach(ctx, peer))
	link := LinkName(ep.UID)
	mac := strings.Fields(w.command(ep.NetNS, "ip", "-o", "link", "show", "eth0"))
	for _, c := range []struct{ path, cmd string }{
		{w.node, "ip link del " + link},
		{w.node, "ip link set " + link + " down"},
		{w.node, "ip link set " + link + " alias "},
		{w.node, "ip route del 10.85.0.5"},
		{w.node, "ip -6 route del fd00:85::5"},
		{w.node, "ip route replace 10.85.0.5 via 192.0.2.1"},
		{w.node, "ip route replace 10.85.0.5 dev " + link + " src 192.0.2.10 table 7"}, // harmless
		{w.node, "ip neigh flush dev " + link + " nud permanent"},
		{ep.NetNS, "ip link set eth0 down"},
		{ep.NetNS, "ip addr flush dev eth0"},
		{ep.NetNS, "ip addr del 10.85.0.5/32 dev eth0"},
		{ep.NetNS, "ip -6 addr del fd00:85::5/128 dev eth0"},
		{ep.NetNS, "ip route del default"},
		{ep.NetNS, "ip -6 route del default"},
		{ep.NetNS, "ip neigh del 169.254.1.1 dev eth0"},
		{ep.NetNS, "ip neigh del fe80::1 dev eth0"},
	} {
		t.Run(c.cmd, func(t *testing.T) {
			args := strings.Split(c.cmd, " ")
			w.command(c.path, args[0], args[1:]...)
			ok, err := n.Check(ctx, ep)
			if harmless := strings.Contains(c.cmd, "table 7"); err != nil || ok != harmless {
				t.Errorf("Check before = %v, %v", ok, err)
			}
			w.ok(n.Attach(ctx, ep))
			if ok, err := n.Check(ctx, ep); err != nil || !ok {
				t.Fatalf("Check after = %v, %v", ok, err)
			}
			for i, addr := range ep.Addrs {
				w.mustSee(peer.NetNS, ep.NetNS, addr, peer.Addrs[i])
				w.mustSee(ep.NetNS, w.node, nodeIPs[i], addr)
			}
			now := strings.Fields(w.command(ep.NetNS, "ip", "-o", "link", "show", "eth0"))
			if i := slices.Index(mac, "link/ether"); i < 0 || slices.Index(now, "link/ether") < 0 || mac[i+1] != now[slices.Index(now, "link/ether")+1] {
				t.Errorf("hardware address changed: %v, %v", mac, now)
			}
		})
	}
}

// TestAttachFirstStepOnly is a kill right after the first kernel object: a bare
// pair without alias; and one whose other end is in a namespace of the past.
func TestAttachFirstStepOnly(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	n := w.network(w.config())
	ep := w.pod("pod-a", 5, "4")
	pod, err := openPod(ep.NetNS)
	w.ok(err)
	if _, _, err := n.pair(ep.UID, pod); err != nil {
		t.Fatal(err)
	}
	pod.close()
	if uids, err := n.Attached(ctx); err != nil || len(uids) != 0 {
		t.Errorf("Attached = %v, %v", uids, err)
	}
	w.ok(n.Attach(ctx, ep))
	if ok, err := n.Check(ctx, ep); err != nil || !ok {
		t.Errorf("Check = %v, %v", ok, err)
	}

	// The same pod with a new namespace, while the old one still lives.
	next := Endpoint{UID: ep.UID, NetNS: w.netns("pod-a-again"), Addrs: ep.Addrs}
	if ok, err := n.Check(ctx, next); err != nil || ok {
		t.Errorf("Check of the new namespace = %v, %v", ok, err)
	}
	w.ok(n.Attach(ctx, next))
	if ok, err := n.Check(ctx, next); err != nil || !ok {
		t.Errorf("Check of the new namespace = %v, %v", ok, err)
	}
	if ok, err := n.Check(ctx, ep); err != nil || ok {
		t.Errorf("Check of the old namespace = %v, %v", ok, err)
	}
	w.mustSee(w.node, next.NetNS, ep.Addrs[0], nodeIPs[0])

	// A bare pair is found by its pod's UID, and by Cleanup.
	other := w.pod("pod-b", 6, "4")
	pod, err = openPod(other.NetNS)
	w.ok(err)
	if _, _, err := n.pair(other.UID, pod); err != nil {
		t.Fatal(err)
	}
	pod.close()
	w.ok(n.Detach(ctx, other.UID))
	w.ok(n.Cleanup(ctx))
	w.clean()
}

// TestForeignNodeIP: a node address that the node has not is named.
func TestForeignNodeIP(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ family, addr string }{{"4", "192.0.2.77"}, {"6", "2001:db8::77"}} {
		cfg := w.config()
		cfg.NodeIPs = append([]netip.Addr{netip.MustParseAddr(c.addr)}, nodeIPs...)
		n := w.network(cfg)
		if err := n.Attach(t.Context(), w.pod("pod-"+c.family, 5, c.family)); err == nil || !strings.Contains(err.Error(), "is "+c.addr+" an address") {
			t.Errorf("%s: %v", c.addr, err)
		}
		w.ok(n.Cleanup(t.Context()))
	}
	w.clean()
}

// TestOwnNamespace runs a Network without NetNS, as davit does, in a process
// that is in the node's namespace; and leaves everything when that ends.
func TestOwnNamespace(t *testing.T) {
	if path := os.Getenv("DAVIT_TEST_POD"); path != "" {
		inNode(t, Endpoint{UID: "pod-a", NetNS: path, Addrs: addrs("10.85.0.5 fd00:85::5")})
		return
	}
	w := newWorld(t)
	ep := w.pod("pod-a", 5, "4", "6")
	self, err := os.Executable()
	w.ok(err)
	for range 2 { // the second finds what the first has left
		cmd := exec.Command("nsenter", "--net="+w.node, self, "-test.run=^TestOwnNamespace$", "-test.v")
		cmd.Env = append(os.Environ(), "DAVIT_TEST_POD="+ep.NetNS)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		w.mustSee(ep.NetNS, w.far, netip.MustParseAddr("198.51.100.1"), nodeIPs[0])
		w.mustSee(ep.NetNS, w.far, netip.MustParseAddr("fd00:96::7"), ep.Addrs[1])
	}
	w.ok(w.network(w.config()).Cleanup(t.Context()))
	w.clean()
}

// inNode is the part of TestOwnNamespace inside the node.
func inNode(t *testing.T, ep Endpoint) {
	w := &world{t: t}
	n := w.network(w.config()) // w.node is "": its own
	stop := w.run(n)
	w.ok(n.Attach(t.Context(), ep))
	if ok, err := n.Check(t.Context(), ep); err != nil || !ok {
		t.Errorf("Check = %v, %v", ok, err)
	}
	if out, err := exec.Command("nft", "flush", "ruleset").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, "the table is back", func() bool {
		ok, err := n.tables.Intact(masquerade(n.cfg))
		return err == nil && ok
	})
	stop()
}

func TestDetachAndCleanup(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	n := w.network(w.config())
	stop := w.run(n)
	// Links of others, one of them with a name like ours.
	host := handle(t, w.node)
	for _, name := range []string{"dv00000000000", "dvother"} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.Alias = name, "somebody"
		v := netlink.NewVeth(attrs)
		v.PeerName = "p" + name[2:]
		w.ok(host.LinkAdd(v))
		w.ok(host.LinkSetAlias(v, "somebody"))
	}
	var eps []Endpoint
	for i := range 4 {
		ep := w.pod(fmt.Sprintf("pod-%d", i), 5+i, "4", "6")
		w.ok(n.Attach(ctx, ep))
		eps = append(eps, ep)
	}
	for range 2 {
		w.ok(n.Detach(ctx, "pod-0"))
		w.ok(n.Detach(ctx, "never-was"))
	}
	// Namespace first: the kernel takes the link away, some time.
	w.ok(ns.Remove(strings.TrimSuffix(eps[1].NetNS, "/net")))
	w.ok(n.Detach(ctx, "pod-1"))
	if uids, err := n.Attached(ctx); err != nil || !slices.Equal(uids, []string{"pod-2", "pod-3"}) {
		t.Errorf("Attached = %v, %v", uids, err)
	}
	stop()
	for range 2 {
		w.ok(n.Cleanup(ctx))
	}
	for _, name := range []string{"dv00000000000", "dvother"} {
		l, err := host.LinkByName(name)
		if err != nil {
			t.Fatalf("somebody else's link: %v", err)
		}
		w.ok(host.LinkDel(l))
	}
	w.clean()
}

func TestCancelled(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	n := w.network(w.config())
	ep := w.pod("pod-a", 5, "4")
	_, checkErr := n.Check(ctx, ep)
	_, attachedErr := n.Attached(ctx)
	for _, err := range []error{n.Attach(ctx, ep), n.Detach(ctx, ep.UID), checkErr, attachedErr} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	w.clean()
}

// TestConcurrent attaches 50 pods at once, checks them, and detaches them.
func TestConcurrent(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	n := w.network(w.config())
	eps := make([]Endpoint, 50)
	for i := range eps {
		eps[i] = w.pod(fmt.Sprintf("pod-%d", i), 5+i, "4", "6")
	}
	each := func(fn func(Endpoint) error) {
		t.Helper()
		errs := make([]error, len(eps))
		var wg sync.WaitGroup
		for i, ep := range eps {
			wg.Go(func() { errs[i] = fn(ep) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	each(func(ep Endpoint) error { return n.Attach(ctx, ep) })
	t.Logf("attached in %v", time.Since(start))
	each(func(ep Endpoint) error {
		ok, err := n.Check(ctx, ep)
		if err == nil && !ok {
			err = fmt.Errorf("%s is not intact", ep.UID)
		}
		return err
	})
	w.mustSee(eps[0].NetNS, w.node, nodeIPs[0], eps[0].Addrs[0])
	each(func(ep Endpoint) error { return n.Detach(ctx, ep.UID) })
	w.clean()
}

func BenchmarkAttach(b *testing.B) {
	w := newWorld(b)
	n := w.network(w.config())
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		ep := w.pod(fmt.Sprintf("pod-%d", i), 5, "4", "6")
		b.StartTimer()
		w.ok(n.Attach(b.Context(), ep))
		b.StopTimer()
		w.ok(n.Detach(b.Context(), ep.UID))
		w.ok(ns.Remove(strings.TrimSuffix(ep.NetNS, "/net")))
		b.StartTimer()
	}
}
