package pods

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/oci"
)

// Limits of glibc's resolver before 2.26 for the search list, which kubelet
// still warns about, and MAXNS of resolv.h.
const (
	maxNameservers = 3
	maxSearch      = 32
	maxSearchBytes = 2048
)

// etcHosts returns /etc/hosts of a pod with a network of its own.
func etcHosts(name string, ips []netip.Addr) []byte {
	var b bytes.Buffer
	b.WriteString("# Written by davit; changes are lost when the pod is set up anew.\n" +
		"127.0.0.1\tlocalhost\n" +
		"::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::\tip6-localnet\n" +
		"fe00::\tip6-mcastprefix\n" +
		"fe00::1\tip6-allnodes\n" +
		"fe00::2\tip6-allrouters\n")
	for _, ip := range ips {
		fmt.Fprintf(&b, "%s\t%s\n", ip, name)
	}
	return b.Bytes()
}

// resolver is what a resolv.conf says (resolv.conf(5)).
type resolver struct {
	Nameservers, Search, Options []string
}

func parseResolvConf(data []byte) resolver {
	var r resolver
	for line := range strings.Lines(string(data)) {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			r.Nameservers = append(r.Nameservers, f[1])
		case "search":
			r.Search = f[1:]
		case "domain":
			r.Search = f[1:2]
		case "options":
			r.Options = append(r.Options, f[1:]...)
		}
	}
	return r
}

// podResolver returns what a pod's resolv.conf says. ClusterFirst without
// cluster servers, and on the host's network, is Default, as kubelet has it.
func podResolver(pod *v1.Pod, dns DNS, host resolver) resolver {
	policy := pod.Spec.DNSPolicy
	if policy == v1.DNSClusterFirst && pod.Spec.HostNetwork || len(dns.Servers) == 0 && policy != v1.DNSNone {
		policy = v1.DNSDefault
	}
	if policy == v1.DNSDefault {
		return host
	}
	r := resolver{Options: []string{"ndots:5"}}
	for _, s := range dns.Servers {
		r.Nameservers = append(r.Nameservers, s.String())
	}
	r.Search = append([]string{pod.Namespace + ".svc." + dns.Domain, "svc." + dns.Domain, dns.Domain}, host.Search...)
	return r
}

func (r resolver) format() []byte {
	var b bytes.Buffer
	search := slices.Compact(slices.Clone(r.Search))
	for len(search) > maxSearch || len(strings.Join(search, " ")) > maxSearchBytes {
		search = search[:len(search)-1]
	}
	if len(search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(search, " "))
	}
	for _, n := range r.Nameservers[:min(len(r.Nameservers), maxNameservers)] {
		fmt.Fprintf(&b, "nameserver %s\n", n)
	}
	if len(r.Options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(r.Options, " "))
	}
	return b.Bytes()
}

// podFiles are host paths of the files that every container of a pod sees.
type podFiles struct{ hosts, hostname, resolvConf string }

func filesIn(dir string) podFiles {
	return podFiles{
		hosts:      filepath.Join(dir, "etc-hosts"),
		hostname:   filepath.Join(dir, "hostname"),
		resolvConf: filepath.Join(dir, "resolv.conf"),
	}
}

// writeFiles writes the pod's files in place: containers that run have them
// bind-mounted, so the inode must stay.
func writeFiles(pod *v1.Pod, dir string, dns DNS, ips []netip.Addr) error {
	name := oci.Hostname(pod)
	var hosts []byte
	if pod.Spec.HostNetwork {
		var err error
		if hosts, err = os.ReadFile("/etc/hosts"); err != nil {
			hosts = etcHosts(name, nil)
		}
		if name, err = os.Hostname(); err != nil {
			return fmt.Errorf("reading the host name: %w", err)
		}
	} else {
		hosts = etcHosts(name, ips)
	}
	host, err := os.ReadFile(dns.ResolvConf)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("reading the node's resolv.conf: %w", err)
	}
	f := filesIn(dir)
	for path, data := range map[string][]byte{
		f.hosts:      hosts,
		f.hostname:   []byte(name + "\n"),
		f.resolvConf: podResolver(pod, dns, parseResolvConf(host)).format(),
	} {
		if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, data) {
			continue
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
		}
	}
	return nil
}

// terminationLog makes the file behind terminationMessagePath of one attempt.
func terminationLog(dir, container string, attempt uint32) (string, error) {
	d := filepath.Join(dir, "containers", container)
	if err := os.MkdirAll(d, 0o755); err != nil {
		return "", fmt.Errorf("making the termination log of container %q: %w", container, err)
	}
	path := filepath.Join(d, fmt.Sprintf("termination-log.%d", attempt))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return "", fmt.Errorf("making the termination log of container %q: %w", container, err)
	}
	defer f.Close()
	return path, f.Chmod(0o666) // whatever the umask; the container's user writes it
}

// maxTerminationMessage is Kubernetes' limit for one container's message, in
// bytes (core/v1 MaxContainerTerminationMessageLength).
const maxTerminationMessage = 4096

// readTerminationLog returns what the attempt left as its message.
func readTerminationLog(dir, container string, attempt uint32) string {
	f, err := os.Open(filepath.Join(dir, "containers", container, fmt.Sprintf("termination-log.%d", attempt)))
	if err != nil {
		return ""
	}
	defer f.Close()
	buf := make([]byte, maxTerminationMessage)
	n, _ := f.Read(buf)
	return string(bytes.ToValidUTF8(buf[:n], []byte("\uFFFD")))
}
