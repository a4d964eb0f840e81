package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	ctrd "github.com/containerd/containerd/v2/client"

	"github.com/davit-agent/davit/test/testbed"
)

// criNamespace is the containerd namespace that its CRI plugin works in.
const criNamespace = "k8s.io"

// sandboxImage is what holds a pod's namespaces: a shell that reaps what a
// shared PID namespace leaves to it.
var sandboxImage = testbed.ImageSpec{
	Name: "localhost/pause:1",
	Cmd:  []string{"/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 1000000 & wait $!; done"},
}

// containerdConfig's directories are where testbed expects them.
const containerdConfig = `version = 3
root = "%[1]s/ctrd/root"
state = "%[1]s/ctrd/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.erofs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "%[2]s"
[ttrpc]
  address = "%[2]s.ttrpc"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "%[3]s"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  cdi_spec_dirs = []
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  Root = "%[1]s/runc"
  SystemdCgroup = false
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "%[1]s/oracle/cni"
`

// networkConfig gives a pod a veth pair and an address of each family. The
// plugins are those of Debian's containernetworking-plugins.
const networkConfig = `{"cniVersion": "1.0.0", "name": "oracle", "plugins": [{
  "type": "ptp", "mtu": 1500,
  "ipam": {"type": "host-local", "dataDir": %q,
    "ranges": [[{"subnet": "10.85.0.0/24"}], [{"subnet": "fd85::/64"}]],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}]}
`

// startContainerd starts containerd and gives it the images.
func (c *Cluster) startContainerd(bin string) error {
	if _, err := os.Stat("/usr/lib/cni/ptp"); err != nil {
		return fmt.Errorf("looking for CNI plugins (Debian's package containernetworking-plugins): %w", err)
	}
	config := fmt.Sprintf(containerdConfig, c.Bed.Dir, c.Bed.Address, sandboxImage.Name)
	file := c.Bed.Path("ctrd", "config.toml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return err
	}
	network := fmt.Sprintf(networkConfig, c.path("addresses"))
	if err := os.WriteFile(c.path("cni", "oracle.conflist"), []byte(network), 0o644); err != nil {
		return err
	}
	cmd := c.enter(filepath.Join(bin, "containerd"), "-c", file)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	if err := c.containerd.start(cmd); err != nil {
		return err
	}
	if err := c.await("containerd", &c.containerd, c.containerdAnswers); err != nil {
		return err
	}
	images := append([]string{testbed.Archive(c.t, c.path(), sandboxImage)}, c.options.Images...)
	for _, archive := range images {
		if err := c.Import(archive); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) containerdAnswers(ctx context.Context) error {
	if _, err := os.Stat(c.Bed.Address); err != nil {
		return err
	}
	client, err := ctrd.New(c.Bed.Address)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Version(ctx)
	return err
}

// Import gives the node the images of an archive.
func (c *Cluster) Import(archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("opening an image archive: %w", err)
	}
	defer f.Close()
	client, err := ctrd.New(c.Bed.Address, ctrd.WithDefaultNamespace(criNamespace))
	if err != nil {
		return fmt.Errorf("connecting to containerd: %w", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err := client.Import(ctx, f); err != nil {
		return fmt.Errorf("importing %s: %w", filepath.Base(archive), err)
	}
	return nil
}
