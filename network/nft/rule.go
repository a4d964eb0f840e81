package nft

import (
	"net"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Part is a match or a statement of a rule.
type Part []expr.Any

// NewRule puts a rule together; a packet that meets all matches gets the
// statement at the end.
func NewRule(comment string, parts ...Part) Rule {
	r := Rule{Comment: comment}
	for _, p := range parts {
		r.Exprs = append(r.Exprs, p...)
	}
	return r
}

// Source matches the packet's source address (ip saddr, ip6 saddr).
func Source(p netip.Prefix) Part {
	return matchAddr(p, 12, 8) // offsets of the field in struct iphdr, struct ipv6hdr
}

// Destination matches the packet's destination address (ip daddr, ip6 daddr).
func Destination(p netip.Prefix) Part {
	return matchAddr(p, 16, 24)
}

func matchAddr(p netip.Prefix, offset4, offset6 uint32) Part {
	addr := p.Masked().Addr()
	proto, offset := byte(unix.NFPROTO_IPV4), offset4
	if addr.Is6() {
		proto, offset = unix.NFPROTO_IPV6, offset6
	}
	size := addr.BitLen() / 8
	part := Part{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
	}
	if p.Bits() == 0 {
		return part
	}
	part = append(part, &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(size)})
	if !p.IsSingleIP() {
		part = append(part, &expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: uint32(size),
			Mask: net.CIDRMask(p.Bits(), addr.BitLen()), Xor: make([]byte, size),
		})
	}
	return append(part, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: addr.AsSlice()})
}

// Return ends the chain.
func Return() Part { return Part{&expr.Verdict{Kind: expr.VerdictReturn}} }

// Goto goes on in another chain of the table and does not come back.
func Goto(chain string) Part { return Part{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}} }

// Masquerade gives the packet the address of the link that it leaves by as its
// source. Ports are chosen at random, so that connections that are made at the
// same time do not fight for one.
func Masquerade() Part { return Part{&expr.Masq{FullyRandom: true}} }
