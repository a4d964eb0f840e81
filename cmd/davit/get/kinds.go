package get

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/server/client"
	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/cmd/davit/printer"
	"github.com/davit-agent/davit/cmd/davit/usage"
)

// Kind is something that get shows.
type Kind struct {
	Name, Singular string
	Short          []string
	Object         string // the kind of its objects in Kubernetes
	About          string
	Cluster        bool // it has no namespace

	header func(wide bool) []string
	// list is ordered by namespace and name.
	list func(ctx context.Context, c *client.Client, namespace string) ([]entry, error)
	// show, if set, shows what is no object of Kubernetes, instead of list.
	show func(*Get, context.Context) error
	// one, if set, finds one by its name.
	one func(ctx context.Context, c *client.Client, namespace, name string) (entry, error)
}

// entry is one object.
type entry struct {
	meta   metav1.Object
	object any // with kind and apiVersion
	row    func(wide bool, now time.Time) []string
}

// Kinds are all there are.
var Kinds = []*Kind{
	{Name: "pods", Singular: "pod", Short: []string{"po"}, Object: "Pod", About: "pods with their state",
		header: func(wide bool) []string { return printer.PodColumns{Wide: wide}.Header() }, list: listPods, one: onePod},
	{Name: "services", Singular: "service", Short: []string{"svc"}, Object: "Service", About: "Services of the manifests",
		header: printer.ServiceHeader, list: listServices},
	{Name: "nodes", Singular: "node", Short: []string{"no"}, Object: "Node", About: "this node", Cluster: true,
		header: printer.NodeHeader, list: listNode},
	{Name: "configmaps", Singular: "configmap", Short: []string{"cm"}, Object: "ConfigMap", About: "ConfigMaps of the manifests",
		header: printer.ConfigMapHeader, list: listConfigMaps},
	{Name: "secrets", Singular: "secret", Object: "Secret", About: "Secrets of the manifests: keys and sizes",
		header: printer.SecretHeader, list: listSecrets},
	{Name: "images", Singular: "image", About: "images on this node, as davit images ls shows them", Cluster: true, show: (*Get).images},
	{Name: "problems", Singular: "problem", About: "manifests that davit cannot use, and why", Cluster: true, show: (*Get).problems},
}

func kindNames() []string {
	var out []string
	for _, k := range Kinds {
		out = append(out, k.Name)
	}
	return out
}

// KindOf finds a kind by one of its names.
func KindOf(word string) (*Kind, error) {
	var words []string
	for _, k := range Kinds {
		own := append([]string{k.Name, k.Singular}, k.Short...)
		if slices.Contains(own, strings.ToLower(word)) {
			return k, nil
		}
		words = append(words, own...)
	}
	return nil, usage.Errorf("unknown kind %q%s; there are %s", word, usage.DidYouMean(word, words), strings.Join(kindNames(), ", "))
}

// KindTable tells of all kinds, for the help text.
func KindTable() string {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	for _, k := range Kinds {
		w.Write([]byte("  " + strings.Join(append([]string{k.Name}, k.Short...), ", ") + "\t" + k.About + "\n"))
	}
	w.Flush()
	return b.String()
}

func typed(kind string) metav1.TypeMeta { return metav1.TypeMeta{Kind: kind, APIVersion: "v1"} }

func podEntry(p *v1.Pod) entry {
	p.TypeMeta = typed("Pod")
	return entry{meta: p, object: p, row: func(wide bool, now time.Time) []string {
		return printer.PodColumns{Wide: wide}.Row(p, now)
	}}
}

func listPods(ctx context.Context, c *client.Client, ns string) ([]entry, error) {
	list, err := c.Pods(ctx, ns)
	if err != nil {
		return nil, err
	}
	return each(list.Items, podEntry), nil
}

func onePod(ctx context.Context, c *client.Client, ns, name string) (entry, error) {
	p, err := c.Pod(ctx, ns, name)
	if err != nil {
		return entry{}, err
	}
	return podEntry(p), nil
}

func listServices(ctx context.Context, c *client.Client, ns string) ([]entry, error) {
	list, err := c.Services(ctx, ns)
	if err != nil {
		return nil, err
	}
	return each(list.Items, func(s *v1.Service) entry {
		s.TypeMeta = typed("Service")
		return entry{meta: s, object: s, row: func(wide bool, now time.Time) []string { return printer.ServiceRow(s, wide, now) }}
	}), nil
}

func listNode(ctx context.Context, c *client.Client, _ string) ([]entry, error) {
	n, err := c.Node(ctx)
	if err != nil {
		return nil, err
	}
	n.TypeMeta = typed("Node")
	return []entry{{meta: n, object: n, row: func(wide bool, now time.Time) []string { return printer.NodeRow(n, wide, now) }}}, nil
}

func listConfigMaps(ctx context.Context, c *client.Client, ns string) ([]entry, error) {
	list, err := c.ConfigMaps(ctx, ns)
	if err != nil {
		return nil, err
	}
	return each(list.Items, func(m *v1.ConfigMap) entry {
		m.TypeMeta = typed("ConfigMap")
		return entry{meta: m, object: m, row: func(_ bool, now time.Time) []string { return printer.ConfigMapRow(m, now) }}
	}), nil
}

func listSecrets(ctx context.Context, c *client.Client, ns string) ([]entry, error) {
	list, err := c.Secrets(ctx, ns)
	if err != nil {
		return nil, err
	}
	return each(list.Items, func(s *wire.Secret) entry {
		s.TypeMeta = typed("Secret")
		return entry{meta: &s.ObjectMeta, object: s, row: func(wide bool, now time.Time) []string {
			return printer.SecretRow(s.ObjectMeta, s.Type, s.Sizes, wide, now)
		}}
	}), nil
}

func each[T any](items []T, f func(*T) entry) []entry {
	out := make([]entry, len(items))
	for i := range items {
		out[i] = f(&items[i])
	}
	return out
}

// NamesOf returns the names of a kind's objects, for completion.
func (k *Kind) NamesOf(ctx context.Context, c *client.Client, namespace string) ([]string, error) {
	if k.list == nil {
		return nil, nil
	}
	all, err := k.list(ctx, c, namespace)
	var out []string
	for _, e := range all {
		out = append(out, e.meta.GetName())
	}
	return out, err
}

// images is what another command shows.
func (o *Get) images(ctx context.Context) error { return o.Images(ctx) }
