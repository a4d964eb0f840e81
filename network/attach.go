package network

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// Endpoint is a pod's place in the network.
type Endpoint struct {
	UID   string       // of the pod, at most 255 bytes
	NetNS string       // path of its network namespace
	Addrs []netip.Addr // at most one of each family, from the node's pod CIDRs
}

func (n *Network) validate(ep Endpoint) error {
	if ep.UID == "" || len(ep.UID) > 255 {
		return fmt.Errorf("pod UID %q is not valid", ep.UID)
	}
	if len(ep.Addrs) == 0 {
		return fmt.Errorf("pod %s has no address", ep.UID)
	}
	for i, a := range ep.Addrs {
		if !slices.ContainsFunc(n.cfg.PodCIDRs, func(p netip.Prefix) bool { return p.Contains(a) }) {
			return fmt.Errorf("address %s of pod %s is in none of the pod CIDRs", a, ep.UID)
		}
		if slices.ContainsFunc(ep.Addrs[:i], func(b netip.Addr) bool { return a.Is4() == b.Is4() }) {
			return fmt.Errorf("pod %s has two addresses of one family", ep.UID)
		}
	}
	return nil
}

// Attach connects a pod, or completes or repairs its connection. What is
// in place stays: link, hardware and IP addresses, and what the pod added.
func (n *Network) Attach(ctx context.Context, ep Endpoint) error {
	if err := n.validate(ep); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	pod, err := openPod(ep.NetNS)
	if err != nil {
		return err
	}
	defer pod.close()
	if err := n.attach(ep, pod); err != nil {
		return fmt.Errorf("attaching pod %s: %w", ep.UID, err)
	}
	return nil
}

func (n *Network) attach(ep Endpoint, pod *podNS) error {
	host, inner, err := n.pair(ep.UID, pod)
	if err != nil {
		return err
	}
	// The alias first: from then on the link tells whose it is.
	if host.Attrs().Alias != ep.UID {
		if err := n.node.LinkSetAlias(host, ep.UID); err != nil {
			return fmt.Errorf("setting alias of %s: %w", host.Attrs().Name, err)
		}
	}
	if err := n.node.LinkSetUp(host); err != nil {
		return fmt.Errorf("setting %s up: %w", host.Attrs().Name, err)
	}
	if err := pod.nl.LinkSetUp(inner); err != nil {
		return fmt.Errorf("setting %s up: %w", podLink, err)
	}
	atHost, atPod := n.wants(ep, host.Attrs().Index, inner.Attrs().Index)
	if err := atPod.write(pod.nl, inner); err != nil {
		return fmt.Errorf("in the pod: %w", err)
	}
	return atHost.write(n.node, host)
}

// pair returns both ends of the pod's link; if they are not there, or the
// host's end leads elsewhere, they are made.
func (n *Network) pair(uid string, pod *podNS) (host, inner netlink.Link, err error) {
	name := LinkName(uid)
	if host, inner, err = n.findPair(uid, pod); err != nil || host != nil && inner != nil {
		return host, inner, err
	}
	if host != nil {
		if err := n.node.LinkDel(host); err != nil && !isGone(err) {
			return nil, nil, fmt.Errorf("removing link %s of an earlier namespace: %w", name, err)
		}
	}
	mtu := n.cfg.MTU
	if mtu == 0 {
		if mtu, err = n.uplinkMTU(); err != nil {
			return nil, nil, err
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	veth := netlink.NewVeth(attrs)
	veth.HardwareAddr, veth.PeerHardwareAddr = macs(uid)
	veth.PeerName, veth.PeerNamespace = podLink, netlink.NsFd(pod.file.Fd())
	if err := n.node.LinkAdd(veth); err != nil {
		return nil, nil, fmt.Errorf("making link %s with %s in %s: %w", name, podLink, pod.file.Name(), err)
	}
	if host, inner, err = n.findPair(uid, pod); err == nil && (host == nil || inner == nil) {
		err = fmt.Errorf("link %s vanished", name)
	}
	return host, inner, err
}

// findPair returns both ends, or the host's alone if it leads elsewhere.
func (n *Network) findPair(uid string, pod *podNS) (host, inner netlink.Link, err error) {
	if host, err = link(n.node, LinkName(uid)); err != nil || host == nil {
		return nil, nil, err
	}
	if alias := host.Attrs().Alias; alias != "" && alias != uid {
		return nil, nil, fmt.Errorf("link %s belongs to pod %s", host.Attrs().Name, alias)
	}
	if inner, err = link(pod.nl, podLink); err != nil {
		return nil, nil, err
	}
	ok, err := n.paired(host, inner, pod)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return host, nil, nil
	}
	return host, inner, nil
}

// Check says whether all that Attach makes for ep is in place.
func (n *Network) Check(ctx context.Context, ep Endpoint) (bool, error) {
	if err := n.validate(ep); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	pod, err := openPod(ep.NetNS)
	if err != nil {
		return false, err
	}
	defer pod.close()
	host, inner, err := n.findPair(ep.UID, pod)
	if err != nil || host == nil || inner == nil || host.Attrs().Alias != ep.UID {
		return false, err
	}
	atHost, atPod := n.wants(ep, host.Attrs().Index, inner.Attrs().Index)
	if ok, err := atPod.there(pod.nl, inner); err != nil || !ok {
		return false, err
	}
	return atHost.there(n.node, host)
}

// Detach removes a pod's link and with it its routes; the pod's namespace may be
// gone by then. A pod that is not attached is no error.
func (n *Network) Detach(ctx context.Context, uid string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l, err := link(n.node, LinkName(uid))
	if err != nil || l == nil {
		return err
	}
	if alias := l.Attrs().Alias; alias != "" && alias != uid {
		return nil // another pod's, whose UID has the same hash
	}
	if err := n.node.LinkDel(l); err != nil && !isGone(err) {
		return fmt.Errorf("detaching pod %s: %w", uid, err)
	}
	return nil
}

// Attached returns the UIDs of the pods that have a link, in ascending order. A
// link that was made in the very moment of a kill has no UID yet; its pod's
// record names it, and Attach or Detach of that UID finds it.
func (n *Network) Attached(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	links, err := n.links()
	if err != nil {
		return nil, err
	}
	var uids []string
	for _, l := range links {
		if uid := l.Attrs().Alias; uid != "" {
			uids = append(uids, uid)
		}
	}
	slices.Sort(uids)
	return uids, nil
}

// links returns the host's ends that davit made: veths whose name has the form
// and, where there is an alias, is that UID's.
func (n *Network) links() (ours []netlink.Link, err error) {
	all, err := dump(n.node.LinkList)
	if err != nil {
		return nil, fmt.Errorf("listing links: %w", err)
	}
	for _, l := range all {
		a := l.Attrs()
		if l.Type() == "veth" && hostLink.MatchString(a.Name) && (a.Alias == "" || LinkName(a.Alias) == a.Name) {
			ours = append(ours, l)
		}
	}
	return ours, nil
}
