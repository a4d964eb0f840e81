package network

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func prefixes(s string) (out []netip.Prefix) {
	for _, f := range strings.Fields(s) {
		out = append(out, netip.MustParsePrefix(f))
	}
	return out
}

func addrs(s string) (out []netip.Addr) {
	for _, f := range strings.Fields(s) {
		out = append(out, netip.MustParseAddr(f))
	}
	return out
}

func TestAllocate(t *testing.T) {
	for _, c := range []struct{ name, cidrs, used, last, want string }{
		{"first", "10.85.0.0/24", "", "", "10.85.0.2"},
		{"dual", "10.85.0.0/24 fd00::/64", "", "", "10.85.0.2 fd00::2"},
		{"family order is the CIDRs'", "fd00::/64 10.85.0.0/24", "", "", "fd00::2 10.85.0.2"},
		{"round robin", "10.85.0.0/24", "", "10.85.0.7", "10.85.0.8"},
		{"used are skipped", "10.85.0.0/24", "10.85.0.8 10.85.0.9", "10.85.0.7", "10.85.0.10"},
		{"wraps before the broadcast", "10.85.0.0/24", "10.85.0.2", "10.85.0.254", "10.85.0.3"},
		{"the last again, if alone", "10.85.0.0/30", "", "10.85.0.2", "10.85.0.2"},
		{"last of another family", "10.85.0.0/24", "", "fd00::7", "10.85.0.2"},
		{"last of another CIDR", "10.85.0.0/24", "", "10.1.0.7", "10.85.0.2"},
		{"last before the first", "10.85.0.0/24", "", "10.85.0.0", "10.85.0.2"},
		{"two of a family", "10.1.0.0/30 10.2.0.0/30", "10.1.0.2", "", "10.2.0.2"},
		{"on to the next of a family", "10.1.0.0/30 10.2.0.0/30", "", "10.1.0.2", "10.2.0.2"},
		{"around to the first of a family", "10.1.0.0/30 10.2.0.0/30", "", "10.2.0.2", "10.1.0.2"},
		{"/31 has two", "10.1.0.0/31", "10.1.0.0", "", "10.1.0.1"},
		{"/32 has one", "10.1.0.5/32", "", "", "10.1.0.5"},
		{"/127 has two", "fd00::2/127", "", "", "fd00::2"},
		{"/128 has one", "fd00::9/128", "", "fd00::9", "fd00::9"},
		{"end of all addresses", "255.255.255.252/30", "", "255.255.255.254", "255.255.255.254"},
		{"end of all IPv6", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126", "", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"},
	} {
		used := addrs(c.used)
		got, err := Allocate(prefixes(c.cidrs), func(a netip.Addr) bool { return slices.Contains(used, a) }, addrs(c.last))
		if err != nil || !slices.Equal(got, addrs(c.want)) {
			t.Errorf("%s: %v, %v; want %s", c.name, got, err, c.want)
		}
	}
}

func TestAllocateExhausted(t *testing.T) {
	all := func(netip.Addr) bool { return true }
	for cidrs, want := range map[string]string{
		"10.85.0.0/24":            "no address is left in 10.85.0.0/24 (253 in use)",
		"10.1.0.0/31":             "no address is left in 10.1.0.0/31 (2 in use)",
		"10.1.0.0/29 10.2.0.0/30": "no address is left in 10.1.0.0/29 (5 in use), 10.2.0.0/30 (1 in use)",
		"fd00::/126":              "no address is left in fd00::/126 (2 in use)",
		"fd00::/64":               "no address is left in fd00::/64 (1048576 in use)",
	} {
		for _, last := range []string{"", "10.85.0.200 fd00::1"} {
			if _, err := Allocate(prefixes(cidrs), all, addrs(last)); !errors.Is(err, ErrExhausted) || err.Error() != want {
				t.Errorf("%s: %v", cidrs, err)
			}
		}
	}
}

// TestAllocateProperties: every address is in its CIDR and free, none is given
// out again before all others were, and exactly the usable ones are.
func TestAllocateProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(22, 32).Draw(t, "bits")
		base := rapid.Uint32().Draw(t, "base")
		cidr := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(base >> 24), byte(base >> 16), byte(base >> 8), byte(base)}), bits).Masked()
		usable := 1<<(32-bits) - 3
		if bits >= 31 {
			usable = 1 << (32 - bits)
		}
		taken := map[netip.Addr]bool{}
		var last []netip.Addr
		for range usable {
			got, err := Allocate([]netip.Prefix{cidr}, func(a netip.Addr) bool { return taken[a] }, last)
			if err != nil {
				t.Fatalf("%s after %d of %d: %v", cidr, len(taken), usable, err)
			}
			if !cidr.Contains(got[0]) || taken[got[0]] {
				t.Fatalf("%s gave %s", cidr, got[0])
			}
			taken[got[0]] = true
			last = got
		}
		if _, err := Allocate([]netip.Prefix{cidr}, func(a netip.Addr) bool { return taken[a] }, last); !errors.Is(err, ErrExhausted) {
			t.Fatalf("%s gave more than %d", cidr, usable)
		}
		// Free one: it is found wherever last points.
		for a := range taken {
			delete(taken, a)
			got, err := Allocate([]netip.Prefix{cidr}, func(a netip.Addr) bool { return taken[a] }, last)
			if err != nil || got[0] != a {
				t.Fatalf("the free %s was not found: %v %v", a, got, err)
			}
			break
		}
	})
}

// TestLinkName pins the form that other versions of davit rely on.
func TestLinkName(t *testing.T) {
	if got := LinkName("00000000-0000-0000-0000-000000000000"); got != "dv12b9377cbe7" || !hostLink.MatchString(got) {
		t.Errorf("LinkName = %q", got)
	}
}
