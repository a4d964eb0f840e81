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
	"k8s.io/utils/ptr"

	"github.com/davit-agent/davit/agent/pods/etc"
)

// Containers have the files bind-mounted: a second setup must write the same
// inode.
func TestWriteFilesKeepsInodes(t *testing.T) {
	dir := t.TempDir()
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-n1", Namespace: "default"}}
	dns := etc.DNS{ResolvConf: filepath.Join(dir, "no-such-file")}
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
	pod.Spec.SetHostnameAsFQDN, pod.Spec.Subdomain = ptr.To(true), "s"
	dns.Domain = "cluster.local"
	if err := writeFiles(pod, dir, dns, []netip.Addr{netip.MustParseAddr("10.85.0.3")}); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(filesIn(dir).hostname); string(data) != "web-n1.s.default.svc.cluster.local\n" {
		t.Errorf("hostname %q", data)
	}
	pod.Spec.Subdomain = strings.Repeat("s", 63)
	if err := writeFiles(pod, dir, dns, nil); err == nil || !strings.Contains(err.Error(), "64 characters is the max") {
		t.Errorf("a name that does not fit: %v", err)
	}
	data, _ := os.ReadFile(filesIn(dir).hosts)
	if !strings.Contains(string(data), "10.85.0.3\tweb-n1.s.default.svc.cluster.local\tweb-n1\n") || strings.Contains(string(data), "10.85.0.2") {
		t.Errorf("etc-hosts:\n%s", data)
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
