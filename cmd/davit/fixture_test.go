package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/report"
	"github.com/davit-agent/davit/agent/server"
	"github.com/davit-agent/davit/agent/server/wire"
)

// node is a whole davit but for what runs pods.
type node struct {
	socket string
	dir    string // of manifests
	table  *report.Table
	late   atomic.Bool // there is one more ConfigMap
	lost   atomic.Bool // nothing is known of the node

	mu       sync.Mutex
	explains map[string]wire.Explanation
	problems []wire.Problem
}

// explain sets how a pod is explained, by UID or the name of one that is not there.
func (n *node) explain(key string, e wire.Explanation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.explains[key] = e
}

// complain sets what is wrong with the manifests.
func (n *node) complain(problems ...wire.Problem) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.problems = problems
}

func (n *node) Explain(key string) (wire.Explanation, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e, ok := n.explains[key]
	return e, ok
}

func (n *node) Unstarted(_, name string) (wire.Explanation, bool) { return n.Explain(name) }

func (n *node) Problems() []wire.Problem {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.problems
}

func (n *node) Services() []*v1.Service {
	meta := metav1.ObjectMeta{Namespace: "default", Name: "front", Labels: map[string]string{"app": "web"}}
	return []*v1.Service{{ObjectMeta: meta, Spec: v1.ServiceSpec{
		Type: v1.ServiceTypeNodePort, ClusterIP: "10.96.0.10", ClusterIPs: []string{"10.96.0.10"}, Selector: map[string]string{"app": "web"},
		Ports: []v1.ServicePort{{Port: 80, NodePort: 30080}, {Port: 53, Protocol: v1.ProtocolUDP}}}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "out"}, Spec: v1.ServiceSpec{Type: v1.ServiceTypeExternalName, ExternalName: "x.example"}}}
}

func (n *node) ConfigMaps() []*v1.ConfigMap {
	list := []*v1.ConfigMap{{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "conf"},
		Data: map[string]string{"a": "1"}, BinaryData: map[string][]byte{"b": {0}}}}
	if n.late.Load() {
		list = append(list, &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "late"}})
	}
	return list
}

func (n *node) Secrets() []*v1.Secret {
	return []*v1.Secret{{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "key",
		Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": `{"data":{"password":"aGlkZGVu"}}`}},
		Data: map[string][]byte{"password": []byte("hidden")}, StringData: map[string]string{"user": "bo"}}}
}

func (n *node) Node(context.Context) (*v1.Node, error) {
	if n.lost.Load() {
		return nil, errors.New("nothing is known")
	}
	return report.Node(report.NodeFacts{Name: "n1", CPUs: 2, Created: time.Now().Add(-150 * time.Minute),
		System: v1.NodeSystemInfo{KubeletVersion: "v9", OSImage: "Some OS 1", KernelVersion: "6.1", ContainerRuntimeVersion: "containerd://2"}}, time.Now()), nil
}

// serveNode runs a server with one pod that runs and one that is about to.
func serveNode(t *testing.T) *node {
	t.Helper()
	n := &node{socket: filepath.Join(t.TempDir(), "d.sock"), dir: t.TempDir(), table: report.NewTable(), explains: map[string]wire.Explanation{}}
	web := pod("default", "web-n1", "1")
	web.Labels = map[string]string{"app": "web"}
	web.Spec.Containers[0].Resources.Limits = v1.ResourceList{"cpu": resource.MustParse("1")}
	n.table.Set(web)
	n.table.Set(pod("other", "db-n1", "2"))
	srv, err := server.New(server.Options{Socket: n.socket, LogDir: "/logs", Pods: n.table, Execer: hostExec{}, Logs: hostLogs{},
		Version: wire.Version{Version: "v9", Go: "go9", Node: "n1"}, Problems: n, Manifests: n.dir, Explainer: n, Objects: n, Node: n,
		Metrics: prometheus.NewRegistry(), Health: func() error { return nil }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return n
}
