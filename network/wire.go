package network

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/network/ns"
)

const (
	// podLink is the link's name inside the pod.
	podLink = "eth0"
	// protocol marks davit's routes (rtnetlink: 4-255 are free to use; 0xda).
	protocol = 218
)

var (
	gateway4 = netip.MustParseAddr("169.254.1.1")
	gateway6 = netip.MustParseAddr("fe80::1")
)

// gateway returns the gateway of a's family.
func gateway(a netip.Addr) netip.Addr {
	if a.Is4() {
		return gateway4
	}
	return gateway6
}

// hostLink is the form of the host ends' names.
var hostLink = regexp.MustCompile(`^dv[0-9a-f]{11}$`)

// LinkName returns the name of the host's end of a pod's link: "dv" and 11 hex
// digits of the UID's SHA-256 (a name has at most 15 bytes; two of 250 pods
// share one with a probability of 2^-29).
func LinkName(uid string) string {
	sum := sha256.Sum256([]byte(uid))
	return "dv" + hex.EncodeToString(sum[:])[:11]
}

// macs returns the locally administered hardware addresses of both ends.
func macs(uid string) (host, pod net.HardwareAddr) {
	h := sha256.Sum256([]byte("host\x00" + uid))
	p := sha256.Sum256([]byte("pod\x00" + uid))
	return append(net.HardwareAddr{2}, h[:5]...), append(net.HardwareAddr{2}, p[:5]...)
}

// podNS is a pod's network namespace, opened.
type podNS struct {
	file *os.File
	nl   *netlink.Handle
}

func openPod(path string) (*podNS, error) {
	f, err := ns.Open(path)
	if err != nil {
		return nil, err
	}
	h, err := netlink.NewHandleAt(netns.NsHandle(f.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening netlink socket in %s: %w", path, err)
	}
	return &podNS{f, h}, nil
}

func (p *podNS) close() {
	p.nl.Close()
	p.file.Close()
}

// link returns a link by name, or nil if there is none.
func link(h *netlink.Handle, name string) (netlink.Link, error) {
	l, err := h.LinkByName(name)
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading link %s: %w", name, err)
	}
	return l, nil
}

// paired says whether host (in the node) and inner (in the pod) are the two ends
// of one pair. Each carries the index of the other; indices are only unique in
// a namespace, so the host's end also has to point at the pod's namespace.
func (n *Network) paired(host, inner netlink.Link, pod *podNS) (bool, error) {
	if host == nil || inner == nil || host.Type() != "veth" || inner.Type() != "veth" ||
		host.Attrs().ParentIndex != inner.Attrs().Index || inner.Attrs().ParentIndex != host.Attrs().Index {
		return false, nil
	}
	id, err := n.node.GetNetNsIdByFd(int(pod.file.Fd()))
	if err != nil {
		return false, fmt.Errorf("reading id of namespace %s: %w", pod.file.Name(), err)
	}
	return id == host.Attrs().NetNsID, nil
}

// single returns the prefix of a alone.
func single(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

// end is what has to be at one end of a pair, as netlink's values.
type end struct {
	addrs  []netlink.Addr
	neighs []netlink.Neigh
	routes []netlink.Route
}

// wants returns what is wanted on the host's and the pod's end.
func (n *Network) wants(ep Endpoint, host, inner int) (h, p end) {
	hostMAC, podMAC := macs(ep.UID)
	for _, a := range ep.Addrs {
		gw, src, flags := gateway(a), n.cfg.nodeIP(a), 0
		family, scope := netlink.FAMILY_V4, netlink.SCOPE_LINK
		if a.Is6() {
			family, scope, flags = netlink.FAMILY_V6, netlink.SCOPE_UNIVERSE, unix.IFA_F_NODAD
		}
		p.addrs = append(p.addrs, netlink.Addr{IPNet: single(a), Flags: flags})
		p.neighs = append(p.neighs, neigh(inner, family, gw, hostMAC))
		p.routes = append(p.routes, netlink.Route{
			LinkIndex: inner, Family: family, Gw: gw.AsSlice(),
			Flags: int(netlink.FLAG_ONLINK), Protocol: protocol,
		})
		h.neighs = append(h.neighs, neigh(host, family, a, podMAC))
		h.routes = append(h.routes, netlink.Route{
			LinkIndex: host, Family: family, Dst: single(a), Src: src.AsSlice(),
			Scope: scope, Protocol: protocol,
		})
	}
	return h, p
}

func neigh(index, family int, a netip.Addr, mac net.HardwareAddr) netlink.Neigh {
	return netlink.Neigh{LinkIndex: index, Family: family, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: mac}
}

// write puts all of e in place.
func (e end) write(h *netlink.Handle, l netlink.Link) error {
	for _, a := range e.addrs {
		if err := h.AddrReplace(l, &a); err != nil {
			return fmt.Errorf("setting address %s: %w", a.IPNet, err)
		}
	}
	for _, g := range e.neighs {
		if err := h.NeighSet(&g); err != nil {
			return fmt.Errorf("setting neighbour %s: %w", g.IP, err)
		}
	}
	for _, r := range e.routes {
		err := h.RouteReplace(&r)
		if errors.Is(err, unix.EINVAL) && r.Src != nil {
			err = fmt.Errorf("%w (is %s an address of this node?)", err, r.Src)
		}
		if err != nil {
			return fmt.Errorf("setting route %s: %w", r, err)
		}
	}
	return nil
}

// there says whether all of e is in place on a link.
func (e end) there(h *netlink.Handle, l netlink.Link) (bool, error) {
	if l.Attrs().Flags&net.FlagUp == 0 {
		return false, nil
	}
	if len(e.addrs) > 0 {
		have, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_ALL) })
		if err != nil {
			return false, fmt.Errorf("reading addresses of %s: %w", l.Attrs().Name, err)
		}
		for _, want := range e.addrs {
			if !slices.ContainsFunc(have, func(a netlink.Addr) bool { return a.IPNet.String() == want.IPNet.String() }) {
				return false, nil
			}
		}
	}
	neighs, err := dump(func() ([]netlink.Neigh, error) { return h.NeighList(l.Attrs().Index, netlink.FAMILY_ALL) })
	if err != nil {
		return false, fmt.Errorf("reading neighbours of %s: %w", l.Attrs().Name, err)
	}
	for _, want := range e.neighs {
		if !slices.ContainsFunc(neighs, func(g netlink.Neigh) bool {
			return g.IP.Equal(want.IP) && g.State&netlink.NUD_PERMANENT != 0 && bytes.Equal(g.HardwareAddr, want.HardwareAddr)
		}) {
			return false, nil
		}
	}
	for _, want := range e.routes {
		if ok, err := routed(h, want); err != nil || !ok {
			return ok, err
		}
	}
	return true, nil
}

// routed says whether a route is in place. The one to a pod is looked up like a
// packet's, which needs no dump of a table with all pods in it.
func routed(h *netlink.Handle, want netlink.Route) (bool, error) {
	if want.Dst != nil {
		got, err := h.RouteGet(want.Dst.IP)
		if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("looking up route to %s: %w", want.Dst.IP, err)
		}
		return slices.ContainsFunc(got, func(r netlink.Route) bool { return r.LinkIndex == want.LinkIndex && r.Src.Equal(want.Src) }), nil
	}
	have, err := dump(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(want.Family, &netlink.Route{}, netlink.RT_FILTER_DST)
	})
	if err != nil {
		return false, fmt.Errorf("reading default route: %w", err)
	}
	return slices.ContainsFunc(have, func(r netlink.Route) bool { return r.LinkIndex == want.LinkIndex && r.Gw.Equal(want.Gw) }), nil
}

// isDefault says whether r is a default route.
func isDefault(r netlink.Route) bool {
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0 && r.Dst.IP.IsUnspecified()
}

// isGone says whether err means that there is no such link.
func isGone(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, unix.ENODEV)
}

// dump repeats a listing that was interrupted by a change.
func dump[T any](list func() ([]T, error)) (out []T, err error) {
	for range 20 {
		if out, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return out, err
}
