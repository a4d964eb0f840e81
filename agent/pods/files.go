package pods

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/pods/etc"
	"github.com/davit-agent/davit/runtime/oci"
)

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
func writeFiles(pod *v1.Pod, dir string, dns etc.DNS, ips []netip.Addr) error {
	name, err := oci.Nodename(pod, dns.Domain)
	if err != nil {
		return err
	}
	var node []byte
	if pod.Spec.HostNetwork {
		if node, err = os.ReadFile("/etc/hosts"); err != nil {
			node = []byte(etc.HostsOfItself)
		}
		if name, err = os.Hostname(); err != nil {
			return fmt.Errorf("reading the host name: %w", err)
		}
	}
	host, err := os.ReadFile(dns.ResolvConf)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("reading the node's resolv.conf: %w", err)
	}
	f := filesIn(dir)
	for path, data := range map[string][]byte{
		f.hosts:      etc.Hosts(pod, dns.Domain, ips, node),
		f.hostname:   []byte(name + "\n"),
		f.resolvConf: etc.ResolvConf(pod, dns, host),
	} {
		if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, data) {
			continue
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
		}
		if err := os.Chmod(path, 0o644); err != nil { // whatever the umask; every user reads it
			return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
		}
	}
	return nil
}
