package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/network/nft"
	"github.com/davit-agent/davit/network/ns"
)

// DefaultTable is the name of the masquerade table.
const DefaultTable = "davit-net"

const (
	// assertEvery is how often Run looks at what it cannot watch.
	assertEvery = 30 * time.Second
	// retryAfter is the pause after an error in that.
	retryAfter = 2 * time.Second
	// defaultMTU is used without a default route.
	defaultMTU = 1500
)

// Config is what a Network needs.
type Config struct {
	PodCIDRs     []netip.Prefix // the pods' of this node
	ClusterCIDRs []netip.Prefix // reached without masquerade, PodCIDRs besides
	NodeIPs      []netip.Addr   // at least one of each family of PodCIDRs; the first counts
	MTU          int            // bytes, of pods' links; 0: of the default routes' links
	Table        string         // of nftables; "" is DefaultTable
	NetNS        string         // path of the node's network namespace; "" is the caller's
}

// Network wires the pods of one node. Methods are safe for concurrent use, but
// for two calls about one pod.
type Network struct {
	cfg    Config
	log    *slog.Logger
	node   *netlink.Handle
	tables *nft.Keeper
}

// New checks the configuration and opens the sockets; it changes nothing.
// Close the Network after use.
func New(cfg Config, log *slog.Logger) (*Network, error) {
	if cfg.Table == "" {
		cfg.Table = DefaultTable
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n := &Network{cfg: cfg, log: log}
	var err error
	if cfg.NetNS == "" {
		n.node, err = netlink.NewHandle(unix.NETLINK_ROUTE)
	} else {
		var f *os.File
		if f, err = ns.Open(cfg.NetNS); err != nil {
			return nil, err
		}
		n.node, err = netlink.NewHandleAt(netns.NsHandle(f.Fd()), unix.NETLINK_ROUTE)
		f.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("opening netlink socket: %w", err)
	}
	if n.tables, err = nft.New(cfg.NetNS, log); err != nil {
		n.node.Close()
		return nil, err
	}
	return n, nil
}

// Close closes the sockets and leaves everything in the kernel. It must not be
// called before Run has returned.
func (n *Network) Close() {
	n.node.Close()
	n.tables.Close()
}

func (c Config) validate() error {
	if len(c.PodCIDRs) == 0 {
		return errors.New("network needs a pod CIDR")
	}
	lists := []struct {
		what  string
		cidrs []netip.Prefix
	}{{"pod", c.PodCIDRs}, {"cluster", c.ClusterCIDRs}}
	for _, l := range lists {
		for i, p := range l.cidrs {
			if !p.IsValid() || p.Addr().Is4In6() {
				return fmt.Errorf("%s CIDR %d is not valid", l.what, i)
			}
			if p != p.Masked() {
				return fmt.Errorf("%s CIDR %s has bits set beyond its length; is %s meant?", l.what, p, p.Masked())
			}
			for _, q := range l.cidrs[:i] {
				if l.what == "pod" && p.Overlaps(q) {
					return fmt.Errorf("pod CIDRs %s and %s overlap", q, p)
				}
			}
		}
	}
	for _, a := range c.NodeIPs {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() {
			return fmt.Errorf("node address %s is not one that pods can be reached from", a)
		}
		for _, p := range c.PodCIDRs {
			if p.Contains(a) {
				return fmt.Errorf("node address %s lies in pod CIDR %s", a, p)
			}
		}
	}
	for _, p := range c.PodCIDRs {
		if !c.nodeIP(p.Addr()).IsValid() {
			return fmt.Errorf("pod CIDR %s needs a node address of its family", p)
		}
		if least := 1280; p.Addr().Is6() && c.MTU != 0 && c.MTU < least {
			return fmt.Errorf("MTU %d is below %d, which IPv6 needs", c.MTU, least)
		}
	}
	if c.MTU != 0 && (c.MTU < 576 || c.MTU > 65535) {
		return fmt.Errorf("MTU %d is not between 576 and 65535", c.MTU)
	}
	return nil
}

// nodeIP returns the node's first address of the family of a.
func (c Config) nodeIP(a netip.Addr) netip.Addr {
	for _, n := range c.NodeIPs {
		if n.Is4() == a.Is4() {
			return n
		}
	}
	return netip.Addr{}
}

// Run switches forwarding on, puts the masquerade table in place, and keeps
// both so until ctx ends. It returns nil; everything stays as it is then.
func (n *Network) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { _ = n.tables.Run(ctx) }) // returns nil only
	defer wg.Wait()
	for {
		next := assertEvery
		if err := n.assert(); err != nil {
			n.log.Error("setting up the node's network failed", "err", err)
			next = retryAfter
		}
		t := time.NewTimer(next)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// assert puts the node's part in place; it does all it can.
func (n *Network) assert() error {
	var errs []error
	for _, is4 := range families(n.cfg.PodCIDRs) {
		errs = append(errs, n.assertForwarding(is4))
	}
	changed, err := n.tables.Set(masquerade(n.cfg))
	if changed {
		n.log.Info("masquerade table written", "table", n.cfg.Table)
	}
	return errors.Join(append(errs, err)...)
}

// Cleanup removes every link and the table that any Network of this name made,
// and with the links their routes. Forwarding stays on: somebody else may need
// it by now.
func (n *Network) Cleanup(ctx context.Context) error {
	links, err := n.links()
	errs := []error{err}
	for _, l := range links {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := n.node.LinkDel(l); err != nil && !isGone(err) {
			errs = append(errs, fmt.Errorf("removing link %s: %w", l.Attrs().Name, err))
		}
	}
	errs = append(errs, n.tables.Drop(masquerade(n.cfg)))
	return errors.Join(errs...)
}

// masquerade is the table. (No chain may have a name that nft takes for a
// keyword, such as "masquerade": it prints but does not load.)
func masquerade(c Config) nft.Table {
	const chain = "from-pods"
	hook := nft.SourceNAT
	out := nft.Chain{Name: "postrouting", Hook: &hook}
	m := nft.Chain{Name: chain}
	for _, p := range c.PodCIDRs {
		out.Rules = append(out.Rules, nft.NewRule("from a pod", nft.Source(p), nft.Goto(chain)))
		m.Rules = append(m.Rules, nft.NewRule("to a pod", nft.Destination(p), nft.Return()))
	}
	for _, p := range c.ClusterCIDRs {
		m.Rules = append(m.Rules, nft.NewRule("inside the cluster", nft.Destination(p), nft.Return()))
	}
	for _, is4 := range families(c.PodCIDRs) {
		for _, s := range local[is4] {
			m.Rules = append(m.Rules, nft.NewRule("on the link", nft.Destination(netip.MustParsePrefix(s)), nft.Return()))
		}
	}
	m.Rules = append(m.Rules, nft.NewRule("", nft.Masquerade()))
	return nft.Table{Family: nft.INet, Name: c.Table, Chains: []nft.Chain{out, m}}
}

// local holds, for IPv4 (true) and IPv6, the link-local, multicast and
// broadcast destinations.
var local = map[bool][]string{
	true:  {"169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"},
	false: {"fe80::/10", "ff00::/8"},
}
