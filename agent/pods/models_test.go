package pods

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/fake"
)

// source is the desired set, as source.Set has it.
type source struct{ a *process }

func (s source) Get(uid string) (Desired, bool) {
	s.a.w.mu.Lock()
	defer s.a.w.mu.Unlock()
	d, ok := s.a.w.wanted[uid]
	return d, ok && s.a.w.synced
}

func (s source) List() (out []Desired) {
	s.a.w.mu.Lock()
	defer s.a.w.mu.Unlock()
	for _, d := range s.a.w.wanted {
		if s.a.w.synced {
			out = append(out, d)
		}
	}
	return out
}

func (s source) Keep(uid, namespace, name, _ string) bool {
	s.a.w.mu.Lock()
	defer s.a.w.mu.Unlock()
	if !s.a.w.synced {
		return true
	}
	_, ok := s.a.w.wanted[uid]
	return ok
}

func (s source) Changes() <-chan string { return s.a.changes }

// containers is the node's runtime behind faults. It reads the record before
// each Start and Delete: what has to be durable by then must be in it.
type containers struct {
	*fake.Runtime
	a *process
}

func (c containers) Image(ctx context.Context, ref string) (img *runtime.Image, err error) {
	err = c.a.call(ctx, "image", func() (err error) { img, err = c.Runtime.Image(ctx, ref); return err })
	if err != nil {
		return nil, err
	}
	return img, nil
}

func (c containers) Create(ctx context.Context, cfg *runtime.ContainerConfig) error {
	return c.a.call(ctx, "create", func() error {
		w, uid := c.a.w, cfg.Pod.UID
		w.mu.Lock()
		w.refs[cfg.ID] = cfg.ContainerRef
		if !w.recorded(uid) {
			w.complainLocked("container %s/%s is made without a record", uid, cfg.Name)
		}
		if !w.cgroups[uid] || !w.mounted[uid] {
			w.complainLocked("container %s/%s is made without cgroup %v, volumes %v", uid, cfg.Name, w.cgroups[uid], w.mounted[uid])
		}
		if len(w.attached[uid]) == 0 && strings.Contains(fmt.Sprint(cfg.Spec.Linux.Namespaces), "/net") {
			w.complainLocked("container %s/%s is made before its network", uid, cfg.Name)
		}
		volume := func(m specs.Mount) bool {
			return m.Destination == "/v" && m.Source == filepath.Join(w.recordDir(uid), "volumes", "v")
		}
		if !slices.ContainsFunc(cfg.Spec.Mounts, volume) || !strings.HasPrefix(cfg.Spec.Linux.CgroupsPath, "/kubepods/pod"+uid+"/") {
			w.complainLocked("container %s/%s is made in the cgroup %q with the mounts %v", uid, cfg.Name, cfg.Spec.Linux.CgroupsPath, cfg.Spec.Mounts)
		}
		w.mu.Unlock()
		if err := os.MkdirAll(filepath.Dir(cfg.Log.Path), 0o700); err != nil { // as the log pump
			return err
		}
		return c.Runtime.Create(ctx, cfg)
	})
}

func (c containers) Start(ctx context.Context, id string) error {
	return c.a.call(ctx, "start", func() error {
		w := c.a.w
		ref := w.ref(id)
		a := w.facts(ref.Pod.UID).Containers[ref.Name].Current
		if !w.recorded(ref.Pod.UID) || a == nil || a.ID != id || a.Starting.IsZero() {
			w.Errorf("container %s/%s/%d is started before its record says so: %+v", ref.Pod.UID, ref.Name, ref.Attempt, a)
		}
		return c.Runtime.Start(ctx, id)
	})
}

func (c containers) Signal(ctx context.Context, id string, sig syscall.Signal) error {
	return c.a.call(ctx, "signal", func() error { return c.Runtime.Signal(ctx, id, sig) })
}

func (c containers) Delete(ctx context.Context, id string) error {
	return c.a.call(ctx, "delete", func() error {
		c.a.w.checkDelete(id)
		return c.Runtime.Delete(ctx, id)
	})
}

// checkDelete complains if what Delete destroys is not on record.
func (w *world) checkDelete(id string) {
	ref := w.ref(id)
	uid := ref.Pod.UID
	i := slices.IndexFunc(w.containers(uid), func(c container) bool { return c.id == id })
	if i < 0 || !w.recorded(uid) {
		return
	}
	state := w.containers(uid)[i].state
	f := w.facts(uid)
	a := f.Containers[ref.Name].Current
	w.mu.Lock()
	defer w.mu.Unlock()
	switch ran := state != "no task"; {
	case !ran, w.blocked[uid], a != nil && a.Number > ref.Attempt:
	case a == nil || a.ID != id:
		w.complainLocked("container %s/%s/%d, %s, is deleted and was never recorded", uid, ref.Name, ref.Attempt, state)
	case a.Exit == nil:
		w.complainLocked("container %s/%s/%d, %s, is deleted before its exit is durable", uid, ref.Name, ref.Attempt, state)
	}
}

func (w *world) ref(id string) runtime.ContainerRef {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refs[id]
}

func (c containers) List(ctx context.Context, uid string) (list []runtime.Container, err error) {
	err = c.a.call(ctx, "list", func() (err error) { list, err = c.Runtime.List(ctx, uid); return err })
	if err != nil && !errors.Is(err, runtime.ErrUnavailable) {
		return nil, err
	}
	return list, err
}

// sandboxes, like containers.
type sandboxes struct{ a *process }

func (s sandboxes) Ensure(ctx context.Context, cfg *runtime.SandboxConfig) (box *runtime.Sandbox, err error) {
	return box, s.a.call(ctx, "ensure", func() (err error) {
		if !s.a.w.recorded(cfg.Pod.UID) {
			s.a.w.Errorf("the sandbox of pod %s is made without a record", cfg.Pod.UID)
		}
		box, err = s.a.w.node.Sandboxes().Ensure(ctx, cfg)
		return err
	})
}

func (s sandboxes) Inspect(ctx context.Context, uid string) (box *runtime.Sandbox, err error) {
	err = s.a.call(ctx, "inspect", func() (err error) { box, err = s.a.w.node.Sandboxes().Inspect(ctx, uid); return err })
	return box, err
}

func (s sandboxes) Remove(ctx context.Context, uid string) error {
	return s.a.call(ctx, "remove", func() error { return s.a.w.node.Sandboxes().Remove(ctx, uid) })
}

func (s sandboxes) List(ctx context.Context) (uids []string, err error) {
	err = s.a.call(ctx, "sandboxes", func() (err error) { uids, err = s.a.w.node.Sandboxes().List(ctx); return err })
	return uids, err
}

// streams is the log pump.
type streams struct {
	fake.Logs
	a *process
}

func (s streams) Close(ctx context.Context, id string) error {
	return s.a.call(ctx, "close", func() error { return s.Logs.Close(ctx, id) })
}

func (s streams) List(ctx context.Context) (ids []string, err error) {
	err = s.a.call(ctx, "streams", func() (err error) { ids, err = s.Logs.List(ctx); return err })
	return ids, err
}

func (s streams) Unlink(dir string) error {
	return s.a.call(context.Background(), "unlink", func() error {
		uid := dir[strings.LastIndex(dir, "_")+1:]
		s.a.w.mu.Lock()
		defer s.a.w.mu.Unlock()
		s.a.w.forgotten[uid] = true
		return nil
	})
}

// network wires /32 addresses of one small range.
type network struct{ a *process }

func (n network) Allocate(used func(netip.Addr) bool) (addrs []netip.Addr, err error) {
	err = n.a.call(context.Background(), "allocate", func() error {
		ip := netip.MustParseAddr("10.85.0.1")
		for range n.a.w.pool {
			if ip = ip.Next(); !used(ip) {
				addrs = []netip.Addr{ip}
				return nil
			}
		}
		return errors.New("no address is free")
	})
	return addrs, err
}

func (n network) Attach(ctx context.Context, uid, netns string, addrs []netip.Addr) error {
	return n.a.call(ctx, "attach", func() error {
		w := n.a.w
		there := strings.Contains(w.node.String(), "sandbox "+uid+"\n")
		w.mu.Lock()
		defer w.mu.Unlock()
		switch have := w.attached[uid]; {
		case !there || !strings.HasSuffix(netns, "/"+uid+"/net"):
			w.complainLocked("pod %s is attached in %s, its sandbox is there: %v", uid, netns, there)
		case len(addrs) == 0:
			w.complainLocked("pod %s is attached without an address", uid)
		case have != nil && !slices.Equal(have, addrs):
			w.complainLocked("pod %s has %v and is attached with %v", uid, have, addrs)
		}
		for other, have := range w.attached {
			if other != uid && slices.Contains(have, addrs[0]) {
				w.complainLocked("pod %s is attached with %v, which pod %s has", uid, addrs, other)
			}
		}
		w.attached[uid] = slices.Clone(addrs)
		return nil
	})
}

func (n network) Detach(ctx context.Context, uid string) error {
	return n.a.call(ctx, "detach", func() error {
		n.a.w.needNone(uid, "network")
		n.a.w.mu.Lock()
		defer n.a.w.mu.Unlock()
		delete(n.a.w.attached, uid)
		return nil
	})
}

// needNone complains if something of the pod runs while its part is taken away.
func (w *world) needNone(uid, part string) {
	if ids := w.running(uid); len(ids) > 0 {
		w.Errorf("the %s of pod %s is removed while %d containers run", part, uid, len(ids))
	}
}

func (n network) Attached(ctx context.Context) (uids []string, err error) {
	err = n.a.call(ctx, "attached", func() error {
		uids = n.a.w.keys(func(uid string) bool { return n.a.w.attached[uid] != nil })
		return nil
	})
	return uids, err
}

func (w *world) keys(has func(string) bool) (uids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range []map[string]bool{w.cgroups, w.mounted} {
		for uid := range m {
			if has(uid) && !slices.Contains(uids, uid) {
				uids = append(uids, uid)
			}
		}
	}
	for uid := range w.attached {
		if has(uid) && !slices.Contains(uids, uid) {
			uids = append(uids, uid)
		}
	}
	return uids
}

// volumes are below the pod's record.
type volumes struct{ a *process }

func (v volumes) Setup(ctx context.Context, pod *v1.Pod, dir string) (paths map[string]string, err error) {
	err = v.a.call(ctx, "setup", func() error {
		w, uid := v.a.w, string(pod.UID)
		if dir != w.recordDir(uid) || !w.recorded(uid) {
			w.Errorf("volumes of pod %s are made at %s without a record", uid, dir)
		}
		w.mu.Lock()
		w.mounted[uid] = true
		w.setups[uid]++
		w.mu.Unlock()
		paths = map[string]string{}
		for _, vol := range pod.Spec.Volumes {
			paths[vol.Name] = filepath.Join(dir, "volumes", vol.Name)
			if err := os.MkdirAll(paths[vol.Name], 0o700); err != nil {
				return err
			}
		}
		return nil
	})
	return paths, err
}

func (v volumes) SubPath(_ context.Context, req SubPathRequest) (string, error) {
	return filepath.Join(req.HostPath, req.Path), nil
}

func (v volumes) OverLimit(_ context.Context, pod *v1.Pod, _ string) (string, error) {
	v.a.w.mu.Lock()
	defer v.a.w.mu.Unlock()
	return v.a.w.overLimit[string(pod.UID)], nil
}

func (v volumes) Teardown(ctx context.Context, dir string) error {
	return v.a.call(ctx, "teardown", func() error {
		uid := filepath.Base(dir)
		v.a.w.needNone(uid, "volumes")
		v.a.w.mu.Lock()
		defer v.a.w.mu.Unlock()
		delete(v.a.w.mounted, uid)
		return os.RemoveAll(filepath.Join(dir, "volumes"))
	})
}

type cgroups struct{ a *process }

func (c cgroups) EnsurePod(pod *v1.Pod) (path string, err error) {
	err = c.a.call(context.Background(), "cgroup", func() error {
		w, uid := c.a.w, string(pod.UID)
		if !w.recorded(uid) {
			w.Errorf("the cgroup of pod %s is made without a record", uid)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.cgroups[uid] = true
		return nil
	})
	return "/kubepods/pod" + string(pod.UID), err
}

func (c cgroups) ContainerPath(podPath, id string) string { return podPath + "/" + id }

func (c cgroups) RemovePod(uid string) error {
	return c.a.call(context.Background(), "uncgroup", func() error {
		c.a.w.needNone(uid, "cgroup")
		c.a.w.mu.Lock()
		defer c.a.w.mu.Unlock()
		delete(c.a.w.cgroups, uid)
		return nil
	})
}

func (c cgroups) Pods() (uids []string, err error) {
	err = c.a.call(context.Background(), "cgroups", func() error { uids = c.a.w.keys(func(uid string) bool { return c.a.w.cgroups[uid] }); return nil })
	return uids, err
}

func (c cgroups) SetQoS(milli int64) error {
	return c.a.call(context.Background(), "qos", func() error {
		c.a.w.mu.Lock()
		defer c.a.w.mu.Unlock()
		c.a.w.milli = milli
		return nil
	})
}

// report keeps what it is told. A pod that is taken back must have left nothing.
type report struct{ a *process }

func (r report) Set(pod *v1.Pod) {
	r.a.w.mu.Lock()
	defer r.a.w.mu.Unlock()
	if before := r.a.w.reported[string(pod.UID)]; before != nil {
		was, is := before.Status.Phase, pod.Status.Phase
		if (was == v1.PodSucceeded || was == v1.PodFailed) && is != was {
			r.a.w.complainLocked("pod %s went from %s to %s", pod.UID, was, is)
		}
	}
	r.a.w.reported[string(pod.UID)] = pod
}

func (r report) Delete(uid string) {
	if left := r.a.w.leftOf(uid); len(left) > 0 && !r.a.dead.Load() {
		r.a.w.Errorf("pod %s is taken for gone and left\n%s", uid, strings.Join(left, "\n"))
	}
	r.a.w.mu.Lock()
	defer r.a.w.mu.Unlock()
	delete(r.a.w.reported, uid)
}

type noMetrics struct{}

func (noMetrics) Phase(string, time.Duration) {}
func (noMetrics) Restarted()                  {}

// What tests see of the models while a process works on them.

func (w *world) pod(uid string) *v1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reported[uid]
}

func (w *world) pods() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.reported)
}

func (w *world) shares() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.milli
}

func (w *world) addrsOf(uid string) []netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.attached[uid]
}

func (w *world) hasCgroup(uid string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cgroups[uid]
}

func (w *world) hasVolumes(uid string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mounted[uid]
}

// owners are the addresses that the process takes for used, and by whom.
func (w *world) owners() map[netip.Addr]string {
	a := w.a.p.addrs
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.owner)
}
