package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// kubeletConfig is kubelet's configuration. Everything that is not about this
// machine or about staying in its own directories is left at its default, for
// what pods see of it is what is asked.
func (c *Cluster) kubeletConfig() map[string]any {
	config := map[string]any{
		"apiVersion":               "kubelet.config.k8s.io/v1beta1",
		"kind":                     "KubeletConfiguration",
		"containerRuntimeEndpoint": "unix://" + c.Bed.Address,
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": false},
			"x509":      map[string]any{"clientCAFile": c.ca.certFile("ca")},
		},
		"authorization":                 map[string]any{"mode": "AlwaysAllow"},
		"tlsCertFile":                   c.ca.certFile("kubelet"),
		"tlsPrivateKeyFile":             c.ca.keyFile("kubelet"),
		"cgroupDriver":                  "cgroupfs",
		"cgroupRoot":                    c.CgroupRoot(),
		"failCgroupV1":                  false,
		"failSwapOn":                    false,
		"podLogsDir":                    c.LogDir(),
		"volumePluginDir":               c.path("volumeplugins"),
		"resolvConf":                    c.path("resolv.conf"),
		"clusterDNS":                    []string{"10.96.0.10"},
		"clusterDomain":                 "cluster.local",
		"makeIPTablesUtilChains":        false,
		"serializeImagePulls":           false,
		"eventRecordQPS":                0, // no limit: eight pods at once must not lose events
		"imageGCHighThresholdPercent":   100,
		"imageGCLowThresholdPercent":    99,
		"localStorageCapacityIsolation": true,
		// A full disk of this machine is none of the pods' business.
		"evictionHard": map[string]string{"memory.available": "10Mi", "nodefs.available": "1Mi",
			"nodefs.inodesFree": "1", "imagefs.available": "1Mi", "imagefs.inodesFree": "1"},
	}
	maps.Copy(config, c.options.Kubelet)
	return config
}

// writeKubeletFiles writes what kubelet reads.
func (c *Cluster) writeKubeletFiles() error {
	data, err := yaml.Marshal(c.kubeletConfig())
	if err != nil {
		return fmt.Errorf("encoding kubelet's configuration: %w", err)
	}
	_, err = c.kubeconfig("kubelet")
	return errors.Join(err,
		os.WriteFile(c.path("kubelet.yaml"), data, 0o644),
		os.WriteFile(c.path("resolv.conf"), []byte("nameserver 192.0.2.1\n"), 0o644))
}

// StartKubelet starts kubelet and waits until its node is ready.
func (c *Cluster) StartKubelet() error {
	started := time.Now()
	err := c.kubelet.start(c.enter(c.program, "kubelet",
		"--config", c.path("kubelet.yaml"), "--kubeconfig", c.path("kubelet.kubeconfig"),
		"--root-dir", c.RootDir(), "--hostname-override", NodeName,
		"--node-ip", c.Bed.Addr4.String()+","+c.Bed.Addr6.String(), "-v", "2"))
	if err != nil {
		return err
	}
	return c.await("the node", &c.kubelet, func(ctx context.Context) error { return c.nodeReady(ctx, started) })
}

// KillKubelet ends kubelet as kill -9 does; pods go on.
func (c *Cluster) KillKubelet() { c.kubelet.kill() }

// nodeReady tells whether the node is ready since kubelet's last start: what an
// earlier one reported says nothing.
func (c *Cluster) nodeReady(ctx context.Context, started time.Time) error {
	var node v1.Node
	if err := c.API.Get(ctx, "/api/v1/nodes/"+NodeName, &node); err != nil {
		return err
	}
	for _, cond := range node.Status.Conditions {
		if cond.Type != v1.NodeReady {
			continue
		}
		// The API has whole seconds.
		if cond.Status == v1.ConditionTrue && !cond.LastHeartbeatTime.Time.Before(started.Truncate(time.Second)) {
			return nil
		}
		return fmt.Errorf("the node's Ready is %s since %s: %s", cond.Status, cond.LastTransitionTime, cond.Message)
	}
	return errors.New("the node has no condition Ready")
}
