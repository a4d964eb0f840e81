package agent

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

func TestNodeInfo(t *testing.T) {
	cfg := DefaultConfig()
	cfg.NodeName, cfg.NodeIPs, cfg.StateDir = "n1", []netip.Addr{netip.MustParseAddr("192.0.2.1")}, t.TempDir()
	if err := os.Mkdir(filepath.Join(cfg.StateDir, "pods"), 0o755); err != nil {
		t.Fatal(err)
	}
	var sick error
	versions := func(context.Context) (string, error) {
		if sick != nil {
			return "", sick
		}
		return "v2.2.3", nil
	}
	res, err := readResources(*cfg)
	if err != nil {
		t.Fatal(err)
	}
	info, err := newNodeInfo(*cfg, res, "v9", func() error { return sick }, versions)
	if err != nil {
		t.Fatal(err)
	}
	n, err := info.Node(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := n.Status
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil || s.NodeInfo.KernelVersion+"\n" != string(kernel) || s.NodeInfo.KubeletVersion != "v9" || s.NodeInfo.ContainerRuntimeVersion != "containerd://2.2.3" ||
		s.NodeInfo.OperatingSystem != "linux" || s.NodeInfo.BootID == "" || s.NodeInfo.Architecture == "" {
		t.Errorf("%+v, %v", s.NodeInfo, err)
	}
	for _, name := range []v1.ResourceName{"cpu", "memory", "ephemeral-storage", "pods"} {
		if q := s.Capacity[name]; q.Sign() <= 0 {
			t.Errorf("%s is %s", name, q.String())
		}
	}
	if born := n.CreationTimestamp.Time; !born.IsZero() && time.Since(born) > time.Hour {
		t.Errorf("created %v", born)
	}
	if c := s.Conditions[0]; c.Status != v1.ConditionTrue {
		t.Errorf("%+v", c)
	}
	was := s.Conditions[0].LastTransitionTime
	sick = errors.New("containerd is away")
	n, err = info.Node(t.Context())
	if c := n.Status.Conditions[0]; err != nil || c.Status != v1.ConditionFalse || c.Message != "containerd is away" || c.LastTransitionTime.Before(&was) ||
		n.Status.NodeInfo.ContainerRuntimeVersion != "containerd://2.2.3" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestOSImage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "os-release")
	if err := os.WriteFile(file, []byte("ID=some\nPRETTY_NAME=\"Some OS 1 (x)\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := osImage(filepath.Join(t.TempDir(), "none"), file); got != "Some OS 1 (x)" {
		t.Errorf("%q", got)
	}
}
