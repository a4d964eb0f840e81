package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Sight is a pod as the API server showed it at a time.
type Sight struct {
	At      time.Time
	Pod     *v1.Pod
	Deleted bool // the pod is gone; Pod is what it was last
}

func podsPath(namespace string) string { return "/api/v1/namespaces/" + namespace + "/pods" }

func podPath(namespace, name string) string { return podsPath(namespace) + "/" + name }

// NewNamespace makes a namespace with a name of its own.
func (c *Cluster) NewNamespace(ctx context.Context) (string, error) {
	c.mu.Lock()
	c.n++
	name := fmt.Sprintf("test-%d", c.n)
	c.mu.Unlock()
	ns := &v1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: name}}
	return name, c.API.Post(ctx, "/api/v1/namespaces", ns, nil)
}

// Create creates a pod on the cluster's node. Its namespace is default unless it
// has one.
func (c *Cluster) Create(ctx context.Context, pod *v1.Pod) (*v1.Pod, error) {
	pod = pod.DeepCopy()
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	pod.Spec.NodeName = NodeName
	if pod.Namespace == "" {
		pod.Namespace = metav1.NamespaceDefault
	}
	made := new(v1.Pod)
	if err := c.API.Post(ctx, podsPath(pod.Namespace), pod, made); err != nil {
		return nil, err
	}
	return made, nil
}

// Get returns a pod.
func (c *Cluster) Get(ctx context.Context, namespace, name string) (*v1.Pod, error) {
	pod := new(v1.Pod)
	if err := c.API.Get(ctx, podPath(namespace, name), pod); err != nil {
		return nil, err
	}
	return pod, nil
}

// Delete deletes a pod; grace nil leaves the pod's own grace period.
func (c *Cluster) Delete(ctx context.Context, namespace, name string, grace *int64) error {
	return c.API.Delete(ctx, podPath(namespace, name), metav1.DeleteOptions{GracePeriodSeconds: grace})
}

// Patch changes a pod by a strategic merge patch; subresource is "", status,
// ephemeralcontainers or resize.
func (c *Cluster) Patch(ctx context.Context, namespace, name, subresource string, patch any) error {
	path := podPath(namespace, name)
	if subresource != "" {
		path += "/" + subresource
	}
	return c.API.Patch(ctx, path, StrategicPatch, patch, nil)
}

// AddEphemeral adds an ephemeral container to a running pod.
func (c *Cluster) AddEphemeral(ctx context.Context, namespace, name string, container v1.EphemeralContainer) error {
	return c.Patch(ctx, namespace, name, "ephemeralcontainers",
		map[string]any{"spec": map[string]any{"ephemeralContainers": []v1.EphemeralContainer{container}}})
}

// SetCondition sets a condition of a pod's status, as the keeper of a readiness
// gate does.
func (c *Cluster) SetCondition(ctx context.Context, namespace, name string, cond v1.PodCondition) error {
	if cond.LastTransitionTime.IsZero() {
		cond.LastTransitionTime = metav1.Now()
	}
	return c.Patch(ctx, namespace, name, "status",
		map[string]any{"status": map[string]any{"conditions": []v1.PodCondition{cond}}})
}

// Apply makes a ConfigMap or Secret be as it is given, whether it was there or
// not.
func (c *Cluster) Apply(ctx context.Context, namespace string, object any) error {
	var kind, name string
	switch o := object.(type) {
	case *v1.ConfigMap:
		kind, name = "configmaps", o.Name
		o = o.DeepCopy()
		o.Namespace, object = namespace, o
	case *v1.Secret:
		kind, name = "secrets", o.Name
		o = o.DeepCopy()
		o.Namespace, object = namespace, o
	default:
		return fmt.Errorf("applying an object of type %T: only ConfigMaps and Secrets are known", object)
	}
	path := "/api/v1/namespaces/" + namespace + "/" + kind
	err := c.API.Post(ctx, path, object, nil)
	if IsCode(err, http.StatusConflict) {
		return c.API.Put(ctx, path+"/"+name, object, nil)
	}
	return err
}

// Watch calls see for each change of a pod from version, what Create returned,
// on, until it says stop, the pod is gone or ctx ends, which is an error.
func (c *Cluster) Watch(ctx context.Context, from *v1.Pod, see func(Sight) (stop bool)) error {
	errStop := errors.New("enough")
	query := url.Values{"watch": {"1"}, "resourceVersion": {from.ResourceVersion},
		"fieldSelector": {"metadata.name=" + from.Name}}
	err := c.API.Watch(ctx, podsPath(from.Namespace)+"?"+query.Encode(), func(e WatchEvent) error {
		pod := new(v1.Pod)
		if err := json.Unmarshal(e.Object, pod); err != nil {
			return fmt.Errorf("decoding a pod: %w", err)
		}
		gone := e.Type == "DELETED"
		if see(Sight{At: time.Now(), Pod: pod, Deleted: gone}) || gone {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// WatchEvents calls see for each event about the pods of a namespace, as it was
// when it was made (kubelet counts repetitions in it later), until ctx ends,
// which is no error.
func (c *Cluster) WatchEvents(ctx context.Context, namespace string, see func(v1.Event)) error {
	err := c.API.Watch(ctx, "/api/v1/namespaces/"+namespace+"/events?watch=1", func(e WatchEvent) error {
		if e.Type != "ADDED" {
			return nil
		}
		var event v1.Event
		if err := json.Unmarshal(e.Object, &event); err != nil {
			return fmt.Errorf("decoding an event: %w", err)
		}
		see(event)
		return nil
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Events returns the events about a pod in the order in which they were made.
func (c *Cluster) Events(ctx context.Context, pod *v1.Pod) ([]v1.Event, error) {
	var list v1.EventList
	query := url.Values{"fieldSelector": {"involvedObject.uid=" + string(pod.UID)}}
	err := c.API.Get(ctx, "/api/v1/namespaces/"+pod.Namespace+"/events?"+query.Encode(), &list)
	// A name ends in the nanoseconds of its making, in hexadecimal digits.
	slices.SortStableFunc(list.Items, func(a, b v1.Event) int { return strings.Compare(a.Name, b.Name) })
	return list.Items, err
}
