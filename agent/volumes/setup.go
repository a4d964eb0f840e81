package volumes

import (
	"context"
	"errors"
	"fmt"
	"sync"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/volumes/payload"
)

// Mount is a volume that is ready to be mounted into containers.
type Mount struct {
	HostPath string // absolute
	ReadOnly bool   // for all containers, whatever their volumeMounts say
}

// ErrUnsupported is returned for volumes that are not supported yet.
var ErrUnsupported = errors.New("not supported yet")

// Objects are the ConfigMaps and Secrets that volumes are made of. What is
// returned is not changed by either side; an object that is returned again as
// the same pointer is not compared again.
type Objects interface {
	// ConfigMap returns false if there is none of that name, as far as is
	// known: see Config.Settled.
	ConfigMap(namespace, name string) (*v1.ConfigMap, bool)
	// Secret is alike.
	Secret(namespace, name string) (*v1.Secret, bool)
}

// Config is what a Maker needs to know.
type Config struct {
	Objects Objects
	// Settled tells whether an object that is not there is known not to be:
	// while it is false, a volume that was made of it stays as it is. nil:
	// always.
	Settled func() bool
	// Field and Resource resolve what downwardAPI volumes refer to.
	Field    func(pod *v1.Pod, ref *v1.ObjectFieldSelector) (string, error)
	Resource func(pod *v1.Pod, container string, ref *v1.ResourceFieldSelector, allocatable v1.ResourceList) (string, error)
	// Allocatable is what Resource uses for containers without a limit.
	Allocatable func() v1.ResourceList
}

// Maker makes the volumes of pods, updates and removes them. It may be used by
// several goroutines; calls for one pod wait for each other.
type Maker struct {
	c    Config
	mu   sync.Mutex
	pods map[string]*podState // by the pod's directory
}

// podState is what is known of a pod's volumes without looking.
type podState struct {
	mu    sync.Mutex
	files map[string]*written // by volume; those that are made of files
	hosts map[string]bool     // the hostPaths that were looked at
}

// New returns a Maker that remembers nothing: the first Setup of each pod
// compares what is on the node.
func New(c Config) *Maker {
	return &Maker{c: c, pods: map[string]*podState{}}
}

func (m *Maker) pod(dir string) *podState {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.pods[dir]
	if st == nil {
		st = &podState{files: map[string]*written{}, hosts: map[string]bool{}}
		m.pods[dir] = st
	}
	return st
}

// Setup makes the volumes of a pod that are not there yet, updates those whose
// content has changed and returns them by name. dir is the pod's own directory,
// absolute, and exists. Where nothing changed it costs a system call or two for
// each volume. A hostPath that was found well is not looked at again.
//
// A volume that fails does not keep the others from being made or updated, and
// keeps the content it has. Then the error joins one for each of them, in
// kubelet's words, and the volumes that are well are returned with it.
func (m *Maker) Setup(ctx context.Context, pod *v1.Pod, dir string) (map[string]Mount, error) {
	st := m.pod(dir)
	st.mu.Lock()
	defer st.mu.Unlock()
	out := make(map[string]Mount, len(pod.Spec.Volumes))
	errs := make([]error, len(pod.Spec.Volumes))
	for _, blocking := range []bool{false, true} { // an update does not wait for a dead hostPath
		for i := range pod.Spec.Volumes {
			v := &pod.Spec.Volumes[i]
			if blocking != (v.HostPath != nil) {
				continue
			}
			mount, err := m.one(ctx, st, v, place{pod, dir})
			if err != nil {
				errs[i] = fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", v.Name, err)
				continue
			}
			out[v.Name] = mount
		}
	}
	return out, errors.Join(errs...)
}

// place is a pod and its directory.
type place struct {
	pod *v1.Pod
	dir string
}

func (m *Maker) one(ctx context.Context, st *podState, v *v1.Volume, at place) (Mount, error) {
	if err := ctx.Err(); err != nil {
		return Mount{}, err
	}
	if src, ok := payload.Source(v); ok {
		path, err := m.files(st, v, src, at)
		return Mount{HostPath: path, ReadOnly: true}, err
	}
	switch {
	case v.HostPath != nil:
		kind := v1.HostPathUnset
		if v.HostPath.Type != nil {
			kind = *v.HostPath.Type
		}
		if !st.hosts[v.Name] {
			if err := checks.run(ctx, v.HostPath.Path, kind); err != nil {
				return Mount{}, err
			}
			st.hosts[v.Name] = true
		}
		return Mount{HostPath: v.HostPath.Path}, nil
	case v.EmptyDir != nil || v.VolumeSource == (v1.VolumeSource{}):
		path, err := emptyDir(v.EmptyDir, v.Name, at.pod, at.dir)
		return Mount{HostPath: path}, err
	}
	return Mount{}, ErrUnsupported
}

// forget drops what is known of a pod.
func (m *Maker) forget(dir string) {
	m.mu.Lock()
	st := m.pods[dir]
	delete(m.pods, dir)
	m.mu.Unlock()
	if st == nil {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, w := range st.files {
		if w.sweep != nil {
			w.sweep.Stop()
		}
	}
	st.files, st.hosts = map[string]*written{}, map[string]bool{}
}
