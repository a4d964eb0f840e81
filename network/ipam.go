package network

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ErrExhausted says that no address is left; the error that wraps it names the
// CIDR and how many addresses of it are in use.
var ErrExhausted = errors.New("no address is left")

// maxProbes bounds the search in one CIDR. It is above any number of addresses
// that can be in use (a /12 of IPv4), so it is only reached by a used that
// claims a large CIDR to be full.
const maxProbes = 1 << 20

// Allocate chooses one address of each family that cidrs has, in the order in
// which the families first appear there. It takes the first address after the
// family's one in last that is not used, round and round, so that an
// address is reused as late as possible; several CIDRs of a family are gone
// through in their order. The result is meant to be the next call's last.
//
// Never chosen are a CIDR's network address, its broadcast address (IPv4), and
// the first address after the network's, which people and tools take for a
// gateway's; for IPv6 the first two (RFC 4291 2.6.1: the subnet-router anycast).
// A CIDR of one or two addresses has no such roles (RFC 3021, RFC 6164).
func Allocate(cidrs []netip.Prefix, used func(netip.Addr) bool, last []netip.Addr) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, is4 := range families(cidrs) {
		var of []netip.Prefix
		for _, c := range cidrs {
			if c.Addr().Is4() == is4 {
				of = append(of, c.Masked())
			}
		}
		var before netip.Addr
		for _, l := range last {
			if l.Is4() == is4 {
				before = l
			}
		}
		a, err := allocate(of, used, before)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// families returns the families of cidrs in order of first appearance; true is
// IPv4.
func families(cidrs []netip.Prefix) (is4 []bool) {
	for _, c := range cidrs {
		if f := c.Addr().Is4(); len(is4) == 0 || len(is4) == 1 && is4[0] != f {
			is4 = append(is4, f)
		}
	}
	return is4
}

// allocate chooses an address of one family.
func allocate(cidrs []netip.Prefix, used func(netip.Addr) bool, last netip.Addr) (netip.Addr, error) {
	type span struct {
		cidr netip.Prefix
		from netip.Addr
	}
	var spans []span
	start := 0
	for i, c := range cidrs {
		if c.Contains(last) && last.Compare(first(c)) >= 0 {
			spans = []span{{c, last.Next()}} // and again at the end, from its beginning
			start = i + 1
		}
	}
	for i := range cidrs {
		c := cidrs[(start+i)%len(cidrs)]
		spans = append(spans, span{c, first(c)})
	}
	var full []string
	for _, s := range spans {
		a, taken := scan(s.cidr, s.from, used)
		if a.IsValid() {
			return a, nil
		}
		if s.from == first(s.cidr) {
			full = append(full, fmt.Sprintf("%s (%d in use)", s.cidr, taken))
		}
	}
	return netip.Addr{}, fmt.Errorf("%w in %s", ErrExhausted, strings.Join(full, ", "))
}

// scan returns the first address of c from from on that is not used, or how
// many it looked at.
func scan(c netip.Prefix, from netip.Addr, used func(netip.Addr) bool) (found netip.Addr, taken int) {
	for a := from; a.IsValid() && c.Contains(a) && taken < maxProbes; a = a.Next() {
		if isBroadcast(c, a) {
			break
		}
		if !used(a) {
			return a, taken
		}
		taken++
	}
	return netip.Addr{}, taken
}

// small says that c has no addresses with a special role.
func small(c netip.Prefix) bool { return c.Addr().BitLen()-c.Bits() <= 1 }

// first returns the first address of c that may be a pod's.
func first(c netip.Prefix) netip.Addr {
	a := c.Addr()
	if !small(c) {
		a = a.Next().Next()
	}
	return a
}

func isBroadcast(c netip.Prefix, a netip.Addr) bool {
	return a.Is4() && !small(c) && !c.Contains(a.Next())
}
