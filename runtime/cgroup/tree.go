package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

const defaultMount = "/sys/fs/cgroup"

// ErrUnsupported is what New returns for a driver that is not there yet.
var ErrUnsupported = errors.New("not supported yet")

// Config says where the tree stands.
type Config struct {
	Root       string // cgroup under which kubepods lies; "" is "/"
	Driver     string // "auto" or "", "cgroupfs"; "systemd" is refused as not supported yet
	MountPoint string // "" is /sys/fs/cgroup
	// PodPids is how many processes and threads each pod may have; 0 and less:
	// as many as the node.
	PodPids int64
	// Node is what all pods together may use (qos.NodeResources); nil leaves
	// kubepods with what the kernel gives it.
	Node *qos.Resources
}

// Tree is kubelet's cgroup layout below one root. Its methods are idempotent,
// may be cut at any instant, and are safe for concurrent use as long as no two
// concern the same pod.
type Tree struct {
	root  string
	mount string
	v2    bool
	// hierarchies are the directories in which the tree stands: the mount point
	// itself on v2, one per v1 hierarchy; keyed by what to look for in them.
	hierarchies []hierarchy
	extra       string // the unified mount of a hybrid host; "" if none
	podPids     int64

	mu   sync.Mutex
	node *qos.Resources // what kubepods is still to be given; nil: nothing
}

// hierarchy is one mounted cgroup hierarchy.
type hierarchy struct {
	dir  string
	name string // v1: base name of dir, for instance "cpu,cpuacct"
}

// New finds the mounted hierarchies. It makes and changes nothing.
func New(cfg Config) (*Tree, error) {
	switch cfg.Driver {
	case "", "auto", qos.Cgroupfs:
	case qos.Systemd:
		return nil, fmt.Errorf("cgroup.driver: systemd: %w; use auto or cgroupfs", ErrUnsupported)
	default:
		return nil, fmt.Errorf("cgroup.driver: unknown driver %q; use auto or cgroupfs", cfg.Driver)
	}
	root := filepath.Join("/", cfg.Root)
	mount := cfg.MountPoint
	if mount == "" {
		mount = defaultMount
	}
	t := &Tree{root: root, mount: mount, podPids: cfg.PodPids, node: cfg.Node}
	if exists(filepath.Join(mount, "cgroup.controllers")) {
		t.v2 = true
		t.hierarchies = []hierarchy{{dir: mount}}
		return t, nil
	}
	if err := t.findV1(); err != nil {
		return nil, fmt.Errorf("looking for cgroup hierarchies under %s: %w", mount, err)
	}
	if len(t.hierarchies) == 0 {
		return nil, fmt.Errorf("no cgroup hierarchy is mounted under %s; mount cgroup2 there", mount)
	}
	return t, nil
}

func (t *Tree) findV1() error {
	entries, err := os.ReadDir(t.mount)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, e := range entries {
		dir, err := filepath.EvalSymlinks(filepath.Join(t.mount, e.Name()))
		if err != nil || seen[dir] || !exists(filepath.Join(dir, "cgroup.procs")) {
			continue
		}
		seen[dir] = true
		if exists(filepath.Join(dir, "cgroup.controllers")) {
			t.extra = dir
			continue
		}
		t.hierarchies = append(t.hierarchies, hierarchy{dir: dir, name: filepath.Base(dir)})
	}
	return nil
}

// V2 reports whether the host has the unified hierarchy only.
func (t *Tree) V2() bool { return t.v2 }

// Driver returns the driver in use.
func (t *Tree) Driver() string { return qos.Cgroupfs }

// ContainerPath returns the cgroup of a container in its pod's, fit for an OCI
// spec's cgroupsPath.
func (t *Tree) ContainerPath(podPath, containerID string) string {
	return qos.ContainerPath(t.Driver(), podPath, containerID)
}

// PodPath returns where the cgroup of a pod is, made or not.
func (t *Tree) PodPath(pod *v1.Pod) string {
	return qos.PodPath(t.Driver(), t.root, qos.Class(pod), string(pod.UID))
}

// EnsurePod makes the pod's cgroup and those above it, gives it the values that
// follow from the pod's requests and limits, and returns its path.
func (t *Tree) EnsurePod(pod *v1.Pod) (string, error) {
	if err := qos.CheckUID(string(pod.UID)); err != nil {
		return "", err
	}
	p := t.PodPath(pod)
	if err := t.ensure(p); err != nil {
		return "", err
	}
	r := qos.PodResources(pod)
	r.Pids = max(t.podPids, 0)
	if err := t.set(p, r); err != nil {
		return "", err
	}
	return p, nil
}

// SetQoS gives kubepods what the node allots to pods, once, and makes the cgroups
// of the QoS classes and gives them their CPU shares: BestEffort the least there
// is, Burstable what its pods request together. Their huge pages are limited by
// kubepods and the pods only.
//
// A node's memory limit that is below what pods use already is refused by the
// kernel; that is tried again at the next call, and the rest is set meanwhile.
func (t *Tree) SetQoS(burstableMilliCPU int64) error {
	errs := []error{t.setNode()}
	for class, milli := range map[v1.PodQOSClass]int64{v1.PodQOSBestEffort: 0, v1.PodQOSBurstable: burstableMilliCPU} {
		p := qos.KubepodsPath(t.Driver(), t.root, class)
		err := t.ensure(p)
		if err == nil {
			err = t.set(p, qos.Resources{Shares: qos.Shares(milli), OtherHugepages: qos.Unbounded})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// setNode gives kubepods its values unless they are there already.
func (t *Tree) setNode() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.node == nil {
		return nil
	}
	p := qos.KubepodsPath(t.Driver(), t.root, "")
	if err := t.ensure(p); err != nil {
		return err
	}
	err := t.set(p, *t.node)
	if err == nil {
		t.node = nil
	}
	return err
}

// ensure makes the cgroup at p in every hierarchy, ready to be joined.
func (t *Tree) ensure(p string) error {
	for _, h := range t.hierarchies {
		if err := t.ensureIn(h.dir, p); err != nil {
			return fmt.Errorf("making cgroup %s: %w", p, err)
		}
	}
	return nil
}

// ensureIn makes p below the mounted directory top. On v2 it passes controllers
// on from the root of the tree down to p, and above the root only into what it
// makes: a root that is there has an owner who decided what it gets (systemd's
// Delegate=). Enabling comes before making, so that a call that was cut is
// completed by the next.
func (t *Tree) ensureIn(top, p string) error {
	at, rel := "/", strings.Trim(p, "/")
	for part := range strings.SplitSeq(rel, "/") {
		dir, next := filepath.Join(top, at), filepath.Join(top, at, part)
		inside := within(t.root, at)
		if t.v2 && (inside || !exists(next)) {
			if err := enableControllers(dir); err != nil {
				return err
			}
		}
		if err := os.Mkdir(next, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := inheritCPUSet(next); err != nil {
			return err
		}
		at = filepath.Join(at, part)
	}
	if t.v2 {
		return enableControllers(filepath.Join(top, at))
	}
	return nil
}

// within reports whether p is root or below it.
func within(root, p string) bool {
	return p == root || root == "/" || strings.HasPrefix(p, root+"/")
}

// inheritCPUSet fills a v1 cpuset that has no CPUs or memory nodes from its
// parent's: the kernel lets nothing join it before.
func inheritCPUSet(dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		have, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another controller's hierarchy
		}
		if err != nil {
			return err
		}
		if len(strings.TrimSpace(string(have))) > 0 || exists(filepath.Join(dir, "cgroup.controllers")) {
			continue // on v2 an empty set means the parent's
		}
		parent, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name))
		if err != nil {
			return err
		}
		if err := write(dir, name, strings.TrimSpace(string(parent))); err != nil {
			return err
		}
	}
	return nil
}

// enableControllers passes the controllers of a v2 cgroup on to its children.
//
// Those that davit needs go in one write, which the kernel does as a whole or
// not at all: one by one, cpu would be passed on by a cgroup with processes of
// its own (it works on threads) and turn it into a threaded one, in which
// nothing else works any more. Others (rdma, misc, ...) may refuse.
func enableControllers(dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	on, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	enabled := strings.Fields(string(on))
	var need, rest []string
	for _, c := range strings.Fields(string(have)) {
		switch {
		case slices.Contains(enabled, c):
		case c == "cpu" || c == "memory" || c == "pids":
			need = append(need, "+"+c)
		default:
			rest = append(rest, "+"+c)
		}
	}
	if len(need) > 0 {
		err := write(dir, "cgroup.subtree_control", strings.Join(need, " "))
		if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EOPNOTSUPP) {
			return fmt.Errorf("passing controllers on: %w: the cgroup has processes of its own; set cgroup.root to one without", err)
		}
		if err != nil {
			return fmt.Errorf("passing controllers on: %w", err)
		}
	}
	for _, c := range rest {
		_ = write(dir, "cgroup.subtree_control", c)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// write writes an existing control file. O_CREATE is left out so that a name
// that the kernel does not have is an error everywhere, not only on cgroupfs.
func write(dir, name, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("writing %q: %w", value, err)
	}
	return nil
}
