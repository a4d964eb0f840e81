package server_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/agent/report"
	"github.com/davit-agent/davit/agent/server"
	"github.com/davit-agent/davit/agent/server/client"
	"github.com/davit-agent/davit/agent/server/wire"
)

// things is what a node has beside pods.
type things struct{ sick bool }

func (things) Services() []*v1.Service {
	return []*v1.Service{{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "s"}}, {ObjectMeta: metav1.ObjectMeta{Namespace: "b", Name: "s"}}}
}

func (things) ConfigMaps() []*v1.ConfigMap {
	return []*v1.ConfigMap{{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "c"}, Data: map[string]string{"k": "v"}}}
}

func (things) Secrets() []*v1.Secret {
	return []*v1.Secret{{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "x", Annotations: map[string]string{"copy": "hidden"}},
		Data: map[string][]byte{"k": []byte("hidden")}, StringData: map[string]string{"k": "hidden too"}}}
}

func (x *things) Node(context.Context) (*v1.Node, error) {
	if x.sick {
		return nil, errors.New("cannot look")
	}
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, nil
}

func (things) Explain(uid string) (wire.Explanation, bool) {
	return wire.Explanation{Origin: "/m/a.yaml", Pod: &lifecycle.Explanation{Why: "of " + uid}}, uid == "u1"
}

func (things) Unstarted(namespace, name string) (wire.Explanation, bool) {
	return wire.Explanation{Name: name + "-n1", Pod: &lifecycle.Explanation{Why: "its record cannot be read"}}, name == "torn"
}

func serveThings(t *testing.T) (*client.Client, *things, *report.Table) {
	t.Helper()
	x, table, socket := &things{}, report.NewTable(), filepath.Join(t.TempDir(), "d.sock")
	srv, err := server.New(server.Options{
		Socket: socket, LogDir: "/logs", Version: wire.Version{Version: "v9"}, Pods: table, Manifests: "/m",
		Explainer: x, Objects: x, Node: x, Metrics: prometheus.NewRegistry(), Health: func() error { return nil }, Logger: slog.New(slog.DiscardHandler),
		Problems: problems{{File: "/m/a.yaml", Message: "of the file"}, {File: "/m/b.yaml", Object: "Pod/default/web", Message: "of the short name"},
			{File: "/m/c.yaml", Object: "Pod/default/web-n1", Message: "of the name"}, {File: "/m/d.yaml", Object: "Pod/default/other", Message: "of another"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return client.New(socket), x, table
}

func TestObjects(t *testing.T) {
	c, x, _ := serveThings(t)
	ctx := t.Context()
	for ns, want := range map[string]int{"": 2, "a": 1, "none": 0} {
		if list, err := c.Services(ctx, ns); err != nil || len(list.Items) != want || list.Kind != "ServiceList" || list.Items == nil {
			t.Errorf("Services of %q: %v, %v", ns, list, err)
		}
	}
	if list, err := c.ConfigMaps(ctx, "a"); err != nil || len(list.Items) != 1 || list.Items[0].Data["k"] != "v" || list.Items[0].Kind != "ConfigMap" {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := c.Secrets(ctx, ""); err != nil || len(list.Items) != 1 || list.Items[0].Sizes["k"] != len("hidden too") || len(list.Items[0].Annotations) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if n, err := c.Node(ctx); err != nil || n.Name != "n1" || n.Kind != "Node" {
		t.Errorf("%v, %v", n, err)
	}
	x.sick = true
	_, err := c.Node(ctx)
	wantErr(t, err, "cannot look")
	if v, err := c.Version(ctx); err != nil || v.Manifests != "/m" {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestExplain(t *testing.T) {
	c, _, table := serveThings(t)
	ctx := t.Context()
	e, err := c.Explain(ctx, "default", "web") // refused
	if err != nil || e.Pod != nil || len(e.Problems) != 1 || e.Problems[0].File != "/m/b.yaml" || e.Origin != "/m/b.yaml" {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := c.Explain(ctx, "default", "torn"); err != nil || e.Name != "torn-n1" || e.Pod.Why != "its record cannot be read" {
		t.Errorf("%+v, %v", e, err)
	}
	table.Set(webPod())
	for _, name := range []string{"web", "web-n1"} {
		e, err := c.Explain(ctx, "default", name)
		if err != nil || e.Name != "web-n1" || e.UID != "u1" || e.Pod.Why != "of u1" || len(e.Problems) != 3 {
			t.Errorf("%+v, %v", e, err)
		}
	}
	new := webPod()
	new.Name, new.UID = "new-n1", "u2"
	table.Set(new)
	if e, err := c.Explain(ctx, "default", "new"); err != nil || !strings.Contains(e.Pod.Why, "has not looked at the pod yet") || e.Pod.Phase != v1.PodRunning {
		t.Errorf("%+v, %v", e, err)
	}
}

// Whoever is wrong about a name is told of the right one.
func TestMissingPod(t *testing.T) {
	c, _, table := serveThings(t)
	add := func(ns, name string) {
		p := webPod()
		p.Namespace, p.Name, p.UID = ns, name, types.UID(ns+name)
		table.Set(p)
	}
	add("default", "web-n1")
	add("default", "web-admin-n1")
	add("shop", "cart-n1")
	for name, want := range map[string]string{
		"wbe":    `pods "wbe" not found in namespace "default"; did you mean web-n1?`,
		"wen-n1": "; did you mean web-n1?",
		"web-":   "; did you mean web-n1 or web-admin-n1?",
		"cart":   "; there is one in namespace shop: use -n shop",
	} {
		_, err := c.Pod(t.Context(), "default", name)
		wantErr(t, err, want)
	}
	if _, err := c.Pod(t.Context(), "default", "zzzz"); err == nil || err.Error() != `pods "zzzz" not found in namespace "default"` {
		t.Errorf("%v", err)
	}
}
