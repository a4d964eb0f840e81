package nft

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/network/ns"
)

// netns makes a network namespace that goes with the test.
func netns(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "n")
	t.Cleanup(func() {
		if err := ns.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	if err := ns.Create(dir, ns.Options{Kinds: []ns.Kind{ns.Net}}); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "net")
}

func keeper(t *testing.T, path string) *Keeper {
	t.Helper()
	k, err := New(path, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// nft runs the nft command in a namespace.
func nft(t *testing.T, path string, args ...string) string {
	t.Helper()
	out, err := exec.Command("nsenter", append([]string{"--net=" + path, "nft"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %v: %v: %s", args, err, out)
	}
	return string(out)
}

// run runs the keeper until the test ends.
func run(t *testing.T, k *Keeper) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := k.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}

// sample counts and drops TCP to a port, by way of a second chain.
func sample(port byte) Table {
	return Table{Family: nftables.TableFamilyINet, Name: "davit-test", Chains: []Chain{
		{
			Name: "in",
			Hook: &Hook{Type: nftables.ChainTypeFilter, Num: *nftables.ChainHookInput, Priority: *nftables.ChainPriorityFilter},
			Rules: []Rule{{Comment: "to the second chain", Exprs: []expr.Any{
				&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
				&expr.Verdict{Kind: expr.VerdictGoto, Chain: "second"},
			}}},
		},
		{Name: "second", Rules: []Rule{{Exprs: []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, port}},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}}}},
	}}
}

func mustSet(t *testing.T, k *Keeper, tab Table, want bool) {
	t.Helper()
	changed, err := k.Set(tab)
	if err != nil {
		t.Fatal(err)
	}
	if changed != want {
		t.Errorf("Set changed the table: %v, want %v", changed, want)
	}
}

func TestSet(t *testing.T) {
	path := netns(t)
	k := keeper(t, path)
	if ok, err := k.Intact(sample(7)); ok || err != nil {
		t.Errorf("Intact before = %v, %v", ok, err)
	}
	mustSet(t, k, sample(7), true)
	mustSet(t, k, sample(7), false)
	want := `table inet davit-test {
	chain in {
		type filter hook input priority filter; policy accept;
		meta l4proto 6 goto second comment "to the second chain"
	}

	chain second {
		tcp dport 7 drop
	}
}
`
	// Protocols by number: /etc/protocols, which names them, is not on every machine.
	if got := nft(t, path, "-p", "list", "ruleset"); strings.TrimSpace(got) != strings.TrimSpace(want) &&
		strings.TrimSpace(strings.ReplaceAll(got, "th dport", "tcp dport")) != strings.TrimSpace(want) {
		t.Errorf("listed:\n%s", got)
	}
	// Another process adopts the table without writing.
	other := keeper(t, path)
	mustSet(t, other, sample(7), false)
	mustSet(t, other, sample(8), true)
	if ok, err := k.Intact(sample(7)); ok || err != nil {
		t.Errorf("Intact of the old value = %v, %v", ok, err)
	}
	mustSet(t, k, sample(7), true)
	for range 2 {
		if err := k.Drop(sample(7)); err != nil {
			t.Fatal(err)
		}
	}
	if got := nft(t, path, "list", "ruleset"); got != "" {
		t.Errorf("left behind:\n%s", got)
	}
}

// TestSetReplacesForeign changes the table in every way that nft knows.
func TestSetReplacesForeign(t *testing.T) {
	path := netns(t)
	k := keeper(t, path)
	mustSet(t, k, sample(7), true)
	want := nft(t, path, "list", "ruleset")
	for _, cmd := range []string{
		"flush ruleset",
		"delete table inet davit-test",
		"flush table inet davit-test",
		"flush chain inet davit-test second",
		"add rule inet davit-test second counter",
		"insert rule inet davit-test second udp dport 1 accept",
		"add chain inet davit-test third",
		"add chain inet davit-test in { policy drop; }",
		"add set inet davit-test s { type ipv4_addr; }",
		"add table inet davit-test { flags dormant; }",
	} {
		nft(t, path, cmd)
		mustSet(t, k, sample(7), true)
		if got := nft(t, path, "list", "ruleset"); got != want {
			t.Errorf("after %q:\n%s", cmd, got)
		}
	}
	// Tables of others are not touched.
	nft(t, path, "add table inet other")
	nft(t, path, "add table ip davit-test")
	mustSet(t, k, sample(8), true)
	if got := nft(t, path, "list", "tables"); strings.Count(got, "table") != 3 {
		t.Errorf("tables:\n%s", got)
	}
}

func TestAtomic(t *testing.T) {
	path := netns(t)
	k := keeper(t, path)
	mustSet(t, k, sample(7), true)
	want := nft(t, path, "list", "ruleset")
	bad := sample(8)
	bad.Chains[1].Rules = append(bad.Chains[1].Rules, Rule{Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: "no-such-chain"}}})
	if _, err := k.Set(bad); err == nil {
		t.Fatal("a jump to nowhere was accepted")
	}
	if got := nft(t, path, "list", "ruleset"); got != want {
		t.Errorf("after a refused batch:\n%s", got)
	}
	mustSet(t, k, sample(8), true) // the connection is usable again

	for name, tab := range map[string]Table{
		"no name":   {Family: nftables.TableFamilyINet},
		"no family": {Name: "x"},
		"twice":     {Family: nftables.TableFamilyINet, Name: "x", Chains: []Chain{{Name: "a"}, {Name: "a"}}},
		"comment":   {Family: nftables.TableFamilyINet, Name: "x", Chains: []Chain{{Name: "a", Rules: []Rule{{Comment: strings.Repeat("x", 128)}}}}},
	} {
		if _, err := k.Set(tab); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestShownDifferently sets expressions that the kernel reports in another form
// than it was given: a log statement without a level comes back with one.
func TestShownDifferently(t *testing.T) {
	path := netns(t)
	k := keeper(t, path)
	tab := Table{Family: INet, Name: "davit-test", Chains: []Chain{{Name: "c", Rules: []Rule{
		{Exprs: []expr.Any{&expr.Counter{Packets: 5, Bytes: 500}}},
		{Exprs: []expr.Any{&expr.Log{Key: 1 << unix.NFTA_LOG_PREFIX, Data: []byte("x")}}},
	}}}}
	mustSet(t, k, tab, true)
	mustSet(t, k, tab, false)
	mustSet(t, keeper(t, path), tab, true) // a new process replaces it once
	mustSet(t, k, tab, false)
	nft(t, path, "add rule inet davit-test c counter")
	mustSet(t, k, tab, true)
}

// TestAddressMatches prints matches of prefixes of every shape.
func TestAddressMatches(t *testing.T) {
	path := netns(t)
	k := keeper(t, path)
	tab := Table{Family: INet, Name: "davit-test", Chains: []Chain{{Name: "c"}}}
	var want []string
	for _, s := range []string{"10.0.0.0/8", "10.85.0.0/24", "10.85.16.0/20", "192.0.2.1/32", "fd00:85::/64", "2001:db8::/35", "2001:db8::1/128"} {
		p := netip.MustParsePrefix(s)
		tab.Chains[0].Rules = append(tab.Chains[0].Rules, NewRule("", Source(p), Return()), NewRule("", Destination(p), Return()))
		proto := "ip"
		if p.Addr().Is6() {
			proto = "ip6"
		}
		if p.IsSingleIP() {
			s = p.Addr().String()
		}
		want = append(want, proto+" saddr "+s+" return", proto+" daddr "+s+" return")
	}
	tab.Chains[0].Rules = append(tab.Chains[0].Rules,
		NewRule("", Source(netip.MustParsePrefix("0.0.0.0/0")), Return()), NewRule("", Source(netip.MustParsePrefix("::/0")), Return()))
	want = append(want, "meta nfproto ipv4 return", "meta nfproto ipv6 return")
	mustSet(t, k, tab, true)
	mustSet(t, keeper(t, path), tab, false)
	listed := nft(t, path, "list", "chain", "inet", "davit-test", "c")
	var got []string
	for line := range strings.Lines(listed) {
		if line = strings.TrimSpace(line); strings.HasSuffix(line, "return") {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed:\n%s\nwant %q", listed, want)
	}
}

func TestRunRepairs(t *testing.T) {
	path := netns(t)
	k := keeper(t, path)
	mustSet(t, k, sample(7), true)
	want := nft(t, path, "list", "ruleset")
	run(t, k)
	for _, cmd := range []string{"flush ruleset", "flush chain inet davit-test second", "add rule inet davit-test second counter"} {
		start := time.Now()
		nft(t, path, cmd)
		eventually(t, "repaired after "+cmd, func() bool { return nft(t, path, "list", "ruleset") == want })
		t.Logf("%s: back after %v", cmd, time.Since(start))
	}
	// A table that is dropped stays away.
	if err := k.Drop(sample(7)); err != nil {
		t.Fatal(err)
	}
	nft(t, path, "add table inet davit-test")
	nft(t, path, "delete table inet davit-test")
	time.Sleep(50 * time.Millisecond)
	if got := nft(t, path, "list", "ruleset"); got != "" {
		t.Errorf("back after Drop:\n%s", got)
	}
}

// TestWatch holds the watcher to whom it tells of: others, by table, and
// everything after an overrun, but never itself.
func TestWatch(t *testing.T) {
	path := netns(t)
	k := keeper(t, path)
	ctx, cancel := context.WithCancel(context.Background())
	changes := make(chan change)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := k.sock.watch(ctx, changes); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	if c := <-changes; c != (change{}) {
		t.Fatalf("first: %v", c)
	}
	for i := range 20 {
		mustSet(t, k, sample(byte(i+1)), true)
	}
	nft(t, path, "add table ip other")
	if c, want := <-changes, (change{nftables.TableFamilyIPv4, "other"}); c != want {
		t.Fatalf("own commits were reported: %v", c)
	}
	// Fill the socket while nobody reads.
	var b strings.Builder
	b.WriteString("add chain ip other c\n")
	for i := range 20000 {
		fmt.Fprintf(&b, "add rule ip other c counter comment \"%0100d\"\n", i)
	}
	cmd := exec.Command("nsenter", "--net="+path, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(b.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for c := range changes {
		if c == (change{}) {
			break
		}
	}
}

func TestChangeOf(t *testing.T) {
	name := func(s string) []byte {
		b, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: 1, Data: []byte(s + "\x00")}})
		if err != nil {
			t.Fatal(err)
		}
		return append([]byte{unix.NFPROTO_INET, 0, 0, 0}, b...)
	}
	msg := func(typ, pid int, data []byte) netlink.Message {
		return netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | typ), PID: uint32(pid)}, Data: data}
	}
	for what, c := range map[string]struct {
		m    netlink.Message
		want change
		ok   bool
	}{
		"rule":       {msg(unix.NFT_MSG_DELRULE, 5, name("a")), change{nftables.TableFamilyINet, "a"}, true},
		"element":    {msg(unix.NFT_MSG_NEWSETELEM, 5, name("b")), change{nftables.TableFamilyINet, "b"}, true},
		"own":        {msg(unix.NFT_MSG_DELRULE, 9, name("a")), change{}, false},
		"generation": {msg(unix.NFT_MSG_NEWGEN, 5, name("a")), change{}, false},
		"truncated":  {msg(unix.NFT_MSG_NEWRULE, 5, []byte{1, 0, 0, 0, 200, 0, 1, 0}), change{}, true},
		"short":      {msg(unix.NFT_MSG_NEWRULE, 5, []byte{1}), change{}, false},
	} {
		if got, ok := changeOf(c.m, 9); got != c.want || ok != c.ok {
			t.Errorf("%s: %v, %v", what, got, ok)
		}
	}
}
