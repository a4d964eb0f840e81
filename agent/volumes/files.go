package volumes

import (
	"crypto/sha256"
	"errors"
	"path/filepath"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/volumes/atomic"
	"github.com/davit-agent/davit/agent/volumes/payload"
)

// written is what is known of a volume that is made of files.
type written struct {
	objects    map[ref]any // *v1.ConfigMap, *v1.Secret; nil: there was none
	digest     [sha256.Size]byte
	generation string
	size       int // bytes that it takes
	before     []replaced
	sweep      *time.Timer // removes what was replaced
}

// replaced is a generation that stays a little for who has begun to read it.
type replaced struct {
	name  string
	size  int
	until time.Time
}

const (
	// linger is how long files that were replaced stay. A shell script that
	// hashes a volume takes tens of milliseconds, on a busy machine more.
	linger = time.Second
	// maxLinger bounds what one volume holds for that, in bytes; the last
	// generation that was replaced stays in any case.
	maxLinger = 16 << 20
)

// ref names an object of the pod's namespace.
type ref struct{ kind, name string }

// files makes or updates a volume that is made of files.
func (m *Maker) files(st *podState, v *v1.Volume, src *v1.ProjectedVolumeSource, at place) (string, error) {
	kind, memory := filesKind(v)
	parent := filepath.Join(at.dir, "volumes", kind)
	dir := filepath.Join(parent, v.Name)
	last := st.files[v.Name]
	objects := m.lookup(src, at.pod.Namespace, last)
	if m.unknown(objects) && atomic.Current(dir) != "" {
		return dir, nil
	}
	intact := last != nil && atomic.Current(dir) == last.generation
	if intact && constant(src) && sameObjects(objects, last.objects) {
		return dir, nil
	}
	want, err := payload.Build(src, m.values(objects, at.pod))
	if err != nil {
		return "", err
	}
	digest := want.Digest()
	if intact && digest == last.digest {
		last.objects = objects
		return dir, nil
	}
	// From here on davit does not know what is there until it has written.
	group := fsGroup(at.pod)
	if _, err := directory(parent, v.Name, group); err != nil {
		return "", err
	}
	if memory {
		if err := mountTmpfs(dir, 0, group); err != nil {
			return "", err
		}
	}
	o := atomic.Options{Group: group, Mountpoints: mountpoints(at.pod, v.Name)}
	if last != nil {
		o.Keep = last.keep(time.Now())
	}
	res, err := atomic.Write(dir, want, o)
	if err != nil {
		return "", err
	}
	now := written{objects: objects, digest: digest, generation: res.Generation, size: size(want)}
	st.wrote(v.Name, dir, now, res.Replaced)
	return dir, nil
}

// size is about what files take, a block or page for each at least.
func size(p payload.Payload) int {
	sum := 0
	for _, f := range p {
		sum += len(f.Data) + 4096
	}
	return sum
}

// keep returns the names of what was replaced and is not to be removed yet.
func (w *written) keep(now time.Time) []string {
	sum := 0
	for i := len(w.before) - 1; i >= 0; i-- {
		b := w.before[i]
		if sum += b.size; !b.until.After(now) || sum > maxLinger && i < len(w.before)-1 {
			w.before = slices.Delete(w.before, 0, i+1)
			break
		}
	}
	names := make([]string, 0, len(w.before))
	for _, b := range w.before {
		names = append(names, b.name)
	}
	return names
}

// wrote remembers what was written, and has what it replaced removed later.
func (st *podState) wrote(name, dir string, now written, before string) {
	known := st.files[name]
	if known == nil {
		known = &written{}
		st.files[name] = known
	}
	if before != "" {
		known.before = append(known.before, replaced{before, known.size, time.Now().Add(linger)})
	}
	known.objects, known.digest, known.generation, known.size = now.objects, now.digest, now.generation, now.size
	switch {
	case before == "":
	case known.sweep == nil:
		known.sweep = time.AfterFunc(linger, func() { st.swept(name, dir) })
	default:
		known.sweep.Reset(linger)
	}
}

// swept removes what was replaced; the last of it was so a linger ago. What
// cannot be removed is tried again with the next update, and goes with the volume.
func (st *podState) swept(name, dir string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	known := st.files[name]
	if known == nil || atomic.Current(dir) != known.generation {
		return
	}
	_ = atomic.Sweep(dir, known.keep(time.Now())...)
}

// filesKind returns kubelet's directory for a volume, and whether its files must
// not reach a disk.
func filesKind(v *v1.Volume) (kind string, memory bool) {
	switch {
	case v.ConfigMap != nil:
		return "kubernetes.io~configmap", false
	case v.Secret != nil:
		return "kubernetes.io~secret", true
	case v.DownwardAPI != nil:
		return "kubernetes.io~downward-api", true
	}
	return "kubernetes.io~projected", true
}

// constant tells whether the files are a function of the objects alone.
func constant(src *v1.ProjectedVolumeSource) bool {
	for i := range src.Sources {
		if src.Sources[i].DownwardAPI != nil {
			return false
		}
	}
	return true
}

// lookup returns the objects that a volume is made of; immutable ones that were
// written are not looked up again.
func (m *Maker) lookup(src *v1.ProjectedVolumeSource, namespace string, last *written) map[ref]any {
	out := map[ref]any{}
	for i := range src.Sources {
		s := &src.Sources[i]
		var r ref
		switch {
		case s.ConfigMap != nil:
			r = ref{"configmap", s.ConfigMap.Name}
		case s.Secret != nil:
			r = ref{"secret", s.Secret.Name}
		default:
			continue
		}
		if last != nil && immutable(last.objects[r]) {
			out[r] = last.objects[r]
			continue
		}
		out[r] = m.object(namespace, r)
	}
	return out
}

// object returns nil, not a nil pointer, for what is not there.
func (m *Maker) object(namespace string, r ref) any {
	if m.c.Objects == nil {
		return nil
	}
	if r.kind == "secret" {
		if s, ok := m.c.Objects.Secret(namespace, r.name); ok {
			return s
		}
		return nil
	}
	if cm, ok := m.c.Objects.ConfigMap(namespace, r.name); ok {
		return cm
	}
	return nil
}

// unknown tells whether one of the objects is not there, which means nothing yet.
func (m *Maker) unknown(objects map[ref]any) bool {
	if m.c.Settled == nil || m.c.Settled() {
		return false
	}
	for _, o := range objects {
		if o == nil {
			return true
		}
	}
	return false
}

func immutable(object any) bool {
	var flag *bool
	switch o := object.(type) {
	case *v1.ConfigMap:
		flag = o.Immutable
	case *v1.Secret:
		flag = o.Immutable
	}
	return flag != nil && *flag
}

func sameObjects(a, b map[ref]any) bool {
	if len(a) != len(b) {
		return false
	}
	for r, o := range a {
		if other, ok := b[r]; !ok || other != o {
			return false
		}
	}
	return true
}

var errNoDownward = errors.New("not supported yet: fields and resources of the pod as files")

func (m *Maker) values(objects map[ref]any, pod *v1.Pod) payload.Values {
	return payload.Values{
		ConfigMap: func(name string) *v1.ConfigMap {
			cm, _ := objects[ref{"configmap", name}].(*v1.ConfigMap)
			return cm
		},
		Secret: func(name string) *v1.Secret {
			s, _ := objects[ref{"secret", name}].(*v1.Secret)
			return s
		},
		Field: func(f *v1.ObjectFieldSelector) (string, error) {
			if m.c.Field == nil {
				return "", errNoDownward
			}
			return m.c.Field(pod, f)
		},
		Resource: func(r *v1.ResourceFieldSelector) (string, error) {
			if m.c.Resource == nil {
				return "", errNoDownward
			}
			var allocatable v1.ResourceList
			if m.c.Allocatable != nil {
				allocatable = m.c.Allocatable()
			}
			return m.c.Resource(pod, r.ContainerName, r, allocatable)
		},
	}
}
