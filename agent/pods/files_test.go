package pods

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestResolvConf(t *testing.T) {
	const host = "# comment\nnameserver 192.0.2.1 ; trailing\nnameserver 192.0.2.2\nsearch a.test b.test\noptions edns0 trust-ad\n"
	cluster := DNS{Servers: []netip.Addr{netip.MustParseAddr("10.96.0.10")}, Domain: "cluster.local"}
	for _, c := range []struct {
		name        string
		policy      v1.DNSPolicy
		hostNetwork bool
		dns         DNS
		want        string
	}{
		{"default", v1.DNSDefault, false, cluster, "search a.test b.test\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions edns0 trust-ad\n"},
		{"cluster first", v1.DNSClusterFirst, false, cluster, "search default.svc.cluster.local svc.cluster.local cluster.local a.test b.test\nnameserver 10.96.0.10\noptions ndots:5\n"},
		{"cluster first without servers", v1.DNSClusterFirst, false, DNS{}, "search a.test b.test\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions edns0 trust-ad\n"},
		{"cluster first on the host's network", v1.DNSClusterFirst, true, cluster, "search a.test b.test\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions edns0 trust-ad\n"},
	} {
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default"}, Spec: v1.PodSpec{DNSPolicy: c.policy, HostNetwork: c.hostNetwork}}
		if got := string(podResolver(pod, c.dns, parseResolvConf([]byte(host))).format()); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestResolvConfLimits(t *testing.T) {
	r := resolver{Nameservers: []string{"1", "2", "3", "4"}}
	for range 100 {
		r.Search = append(r.Search, strings.Repeat("s", 100+len(r.Search)))
	}
	got := string(r.format())
	if n := strings.Count(got, "nameserver"); n != maxNameservers {
		t.Errorf("%d name servers", n)
	}
	line, _, _ := strings.Cut(got, "\n")
	if n := len(strings.Fields(line)) - 1; n > maxSearch || len(line) > maxSearchBytes+len("search ") {
		t.Errorf("%d search domains in %d bytes", n, len(line))
	}
}

// Containers have the files bind-mounted: a second setup must write the same
// inode.
func TestWriteFilesKeepsInodes(t *testing.T) {
	dir := t.TempDir()
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-n1", Namespace: "default"}}
	dns := DNS{ResolvConf: filepath.Join(dir, "no-such-file")}
	inode := func() uint64 {
		var st syscall.Stat_t
		if err := syscall.Stat(filesIn(dir).hosts, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	if err := writeFiles(pod, dir, dns, []netip.Addr{netip.MustParseAddr("10.85.0.2")}); err != nil {
		t.Fatal(err)
	}
	first := inode()
	if err := writeFiles(pod, dir, dns, []netip.Addr{netip.MustParseAddr("10.85.0.3")}); err != nil {
		t.Fatal(err)
	}
	if inode() != first {
		t.Error("etc-hosts is another inode now")
	}
	data, _ := os.ReadFile(filesIn(dir).hosts)
	if !strings.Contains(string(data), "10.85.0.3\tweb-n1\n") || strings.Contains(string(data), "10.85.0.2") {
		t.Errorf("etc-hosts:\n%s", data)
	}
}

func TestTerminationLog(t *testing.T) {
	dir := t.TempDir()
	path, err := terminationLog(dir, "a", 2)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o666 {
		t.Errorf("mode %v: the container's user could not write", info.Mode())
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("ä", 4000)), 0o666); err != nil {
		t.Fatal(err)
	}
	if again, err := terminationLog(dir, "a", 2); err != nil || again != path {
		t.Errorf("second call: %v, %v", again, err)
	}
	if got := readTerminationLog(dir, "a", 2); len(got) != maxTerminationMessage || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("message of %d bytes", len(got))
	}
	if got := readTerminationLog(dir, "a", 3); got != "" {
		t.Errorf("message of an attempt without one: %q", got)
	}
}

func TestParseSignal(t *testing.T) {
	for in, want := range map[string]int{
		"": 15, "SIGTERM": 15, "TERM": 15, "sigint": 2, "9": 9, "SIGRTMIN": 34, "SIGRTMIN+3": 37, "RTMAX-1": 63, "SIGQUIT": 3,
	} {
		if got, err := parseSignal(in); err != nil || int(got) != want {
			t.Errorf("parseSignal(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"SIGWHAT", "0", "65", "-1", "SIGRTMIN+99", "SIGRTMIN+x"} {
		if got, err := parseSignal(in); err == nil || got != 15 {
			t.Errorf("parseSignal(%q) = %d, %v, want SIGTERM and an error", in, got, err)
		}
	}
}

func TestAddressesNeverServeTwoPods(t *testing.T) {
	a := newAddresses()
	next := byte(1)
	allocate := func(used func(netip.Addr) bool) ([]netip.Addr, error) {
		for {
			ip := netip.AddrFrom4([4]byte{10, 0, 0, next})
			if !used(ip) {
				return []netip.Addr{ip}, nil
			}
			next++
		}
	}
	if other := a.hold("a", []netip.Addr{netip.MustParseAddr("10.0.0.1")}); other != "" {
		t.Fatal(other)
	}
	b, _ := a.assign("b", allocate)
	if again, _ := a.assign("b", allocate); again[0] != b[0] {
		t.Errorf("b had %v and now has %v", b, again)
	}
	if b[0] == netip.MustParseAddr("10.0.0.1") {
		t.Error("a's address was given to b")
	}
	if other := a.hold("c", b); other != "b" {
		t.Errorf("holding b's address for c: %q", other)
	}
	a.release("a")
	next = 1
	if d, _ := a.assign("d", allocate); d[0] != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("a's address was not free again: %v", d)
	}
}
