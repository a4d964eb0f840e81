package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/network/ns"
)

const (
	forwardIPv4 = "net/ipv4/ip_forward"
	forwardIPv6 = "net/ipv6/conf/all/forwarding"
)

// assertForwarding switches forwarding of a family on where it is off. (The
// kernel resets other settings on every write, so it is not written needlessly.)
func (n *Network) assertForwarding(is4 bool) error {
	name := forwardIPv6
	if is4 {
		name = forwardIPv4
	}
	on := false
	err := n.inNode(func() (err error) {
		v, err := readSysctl(name)
		on = v == "1"
		return err
	})
	if err != nil || on {
		return err
	}
	var fromRA []string
	if !is4 {
		if fromRA, err = n.routedByRA(); err != nil {
			return err
		}
	}
	if err := n.inNode(func() error {
		for _, link := range fromRA {
			accept := filepath.Join("net/ipv6/conf", link, "accept_ra")
			if v, err := readSysctl(accept); err != nil || v != "1" {
				continue // gone, or an admin's choice
			}
			if err := writeSysctl(accept, "2"); err != nil {
				return err
			}
		}
		return writeSysctl(name, "1")
	}); err != nil {
		return err
	}
	n.log.Info("forwarding switched on", "sysctl", strings.ReplaceAll(name, "/", "."), "accept_ra", fromRA)
	return nil
}

// routedByRA returns the names of the links with an IPv6 default route that
// came from a router advertisement.
func (n *Network) routedByRA() (names []string, err error) {
	routes, err := dump(func() ([]netlink.Route, error) {
		return n.node.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Protocol: unix.RTPROT_RA}, netlink.RT_FILTER_PROTOCOL)
	})
	if err != nil {
		return nil, fmt.Errorf("reading IPv6 routes: %w", err)
	}
	for _, r := range routes {
		if !isDefault(r) {
			continue
		}
		link, err := n.node.LinkByIndex(r.LinkIndex)
		if err != nil {
			continue // gone in between
		}
		names = append(names, link.Attrs().Name)
	}
	return names, nil
}

// uplinkMTU returns the smallest MTU of the links that carry a default route.
func (n *Network) uplinkMTU() (int, error) {
	mtu := 0
	for _, is4 := range families(n.cfg.PodCIDRs) {
		family := netlink.FAMILY_V6
		if is4 {
			family = netlink.FAMILY_V4
		}
		routes, err := dump(func() ([]netlink.Route, error) {
			return n.node.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_DST)
		})
		if err != nil {
			return 0, fmt.Errorf("reading default routes: %w", err)
		}
		for _, r := range routes {
			indices := []int{r.LinkIndex}
			for _, hop := range r.MultiPath {
				indices = append(indices, hop.LinkIndex)
			}
			for _, i := range indices {
				link, err := n.node.LinkByIndex(i)
				if err != nil {
					continue // a multipath route has none of its own
				}
				if link.Attrs().Flags&net.FlagLoopback != 0 {
					continue // "unreachable default" and the like
				}
				if m := link.Attrs().MTU; mtu == 0 || m < mtu {
					mtu = m
				}
			}
		}
	}
	if mtu == 0 {
		mtu = defaultMTU
	}
	return mtu, nil
}

// inNode runs fn in the node's network namespace.
func (n *Network) inNode(fn func() error) error {
	if n.cfg.NetNS == "" {
		return fn()
	}
	return ns.Do(n.cfg.NetNS, fn)
}

func readSysctl(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join("/proc/sys", name))
	if err != nil {
		return "", fmt.Errorf("reading sysctl: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func writeSysctl(name, value string) error {
	if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644); err != nil {
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
			return fmt.Errorf("setting sysctl to %s (set it before davit starts): %w", value, err)
		}
		return fmt.Errorf("setting sysctl to %s: %w", value, err)
	}
	return nil
}
