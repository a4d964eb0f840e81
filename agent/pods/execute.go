package pods

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/containerenv"
	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/oci"
	"github.com/davit-agent/davit/runtime/oci/facts"
)

// stepTimeout bounds one step; it is idempotent and will be tried again.
const stepTimeout = 2 * time.Minute

// execute carries out the plan up to its first failure. hold: what failed is
// not in the facts, so deciding again at once would decide the same.
func (w *worker) execute(ctx context.Context, in lifecycle.Input, plan lifecycle.Plan) (gone, hold bool) {
	for _, step := range plan.Steps {
		log := w.log.With("step", step.Op, "container", step.Container, "attempt", step.Attempt, "why", step.Why)
		if step.Op == lifecycle.OpForget { // the last chance to tell how it ended
			in.Facts, in.Now = w.facts, stamp(w.now())
			w.report(in)
		}
		began := w.now()
		w.publish(lifecycle.Input{Pod: w.pod, Facts: w.facts, Seen: in.Seen, Now: in.Now}, &step)
		log.Debug("step begins")
		result := w.step(ctx, step)
		if ctx.Err() != nil {
			return false, true // the agent leaves; what the step did will be seen
		}
		now := w.now()
		w.facts = lifecycle.Apply(w.pod, w.facts, step, result, stamp(now))
		if result.Pending {
			log.Debug("step waits", "message", result.Message)
			return false, false
		}
		if result.Reason != "" {
			log.Warn("step failed", "reason", result.Reason, "message", result.Message)
			switch step.Op {
			case lifecycle.OpRemove, lifecycle.OpTeardown, lifecycle.OpForget:
				return false, true
			}
			return false, false
		}
		log.Debug("step done", "took", now.Sub(began))
		switch step.Op {
		case lifecycle.OpSetup, lifecycle.OpCreate, lifecycle.OpStart:
			w.p.d.Metrics.Phase(string(step.Op), now.Sub(began))
			if step.Op == lifecycle.OpStart && step.Attempt > 0 {
				w.p.d.Metrics.Restarted()
			}
		case lifecycle.OpRemove:
			w.noteMessage(step.Container) // what it logged last is in its file by now
		case lifecycle.OpForget:
			w.log.Info("pod is gone")
			return true, false
		}
	}
	return false, false
}

// step carries out one step.
func (w *worker) step(ctx context.Context, s lifecycle.Step) lifecycle.Result {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	switch s.Op {
	case lifecycle.OpSetup:
		return resultOf("FailedCreatePodSandBox", w.setup(ctx))
	case lifecycle.OpCreate:
		return w.create(ctx, s)
	case lifecycle.OpStart:
		return w.startContainer(ctx, s)
	case lifecycle.OpHook:
		return w.hook(s)
	case lifecycle.OpSignal:
		return resultOf("FailedKillPod", w.signal(ctx, s))
	case lifecycle.OpRemove:
		if err := w.flush(); err != nil { // the task is the only other trace of its exit
			return resultOf("FailedRecord", err)
		}
		return resultOf("FailedKillPod", w.p.d.Runtime.Delete(ctx, s.ID))
	case lifecycle.OpTeardown:
		return resultOf("FailedKillPod", w.teardown(ctx))
	case lifecycle.OpForget:
		return resultOf("FailedRemove", w.remove())
	default:
		return lifecycle.Result{Reason: "UnknownStep", Message: string(s.Op)}
	}
}

func resultOf(reason string, err error) lifecycle.Result {
	if err == nil {
		return lifecycle.Result{}
	}
	return lifecycle.Result{Reason: reason, Message: err.Error()}
}

// setup makes everything that the pod's containers share.
func (w *worker) setup(ctx context.Context) error {
	if err := w.flush(); err != nil {
		return err
	}
	var g errgroup.Group
	g.Go(func() error { return w.prepare(ctx) })
	g.Go(func() error {
		cgroup, err := w.p.d.Cgroups.EnsurePod(w.pod)
		if err != nil {
			return err
		}
		w.cgroup = cgroup
		cfg, err := w.sandboxConfig()
		if err != nil {
			return err
		}
		sandbox, err := w.p.d.Sandboxes.Ensure(ctx, cfg)
		if err != nil || w.pod.Spec.HostNetwork {
			return err
		}
		return w.p.d.Network.Attach(ctx, w.uid, sandbox.NetNS, w.facts.PodIPs)
	})
	return g.Wait()
}

// prepare makes the pod's volumes and files; it is cheap where they exist.
func (w *worker) prepare(ctx context.Context) error {
	dir := w.p.store.Dir(w.uid)
	w.upkeep.written = w.p.d.Objects.Generation() // of before: what changes meanwhile is written again
	volumes, err := w.p.d.Volumes.Setup(ctx, w.filled(), dir)
	if err != nil {
		return err
	}
	if err := writeFiles(w.pod, dir, w.p.cfg.DNS, w.facts.PodIPs); err != nil {
		return err
	}
	w.volumes = volumes
	return nil
}

func (w *worker) sandboxConfig() (*runtime.SandboxConfig, error) {
	spec := &w.pod.Spec
	hostname, err := oci.Nodename(w.pod, w.p.cfg.DNS.Domain)
	if err != nil {
		return nil, err
	}
	cfg := &runtime.SandboxConfig{
		Pod:          w.ref(),
		Hostname:     hostname,
		Sysctls:      map[string]string{},
		HostNetwork:  spec.HostNetwork,
		HostIPC:      spec.HostIPC,
		SharePID:     spec.ShareProcessNamespace != nil && *spec.ShareProcessNamespace,
		CgroupParent: w.cgroup,
	}
	if spec.SecurityContext != nil {
		for _, s := range spec.SecurityContext.Sysctls {
			cfg.Sysctls[s.Name] = s.Value
		}
	}
	return cfg, nil
}

func (w *worker) ref() runtime.PodRef {
	return runtime.PodRef{UID: w.uid, Namespace: w.pod.Namespace, Name: w.pod.Name}
}

// container returns the container, init container or ephemeral container of that
// name.
func (w *worker) container(name string) *v1.Container {
	for _, list := range [][]v1.Container{w.pod.Spec.InitContainers, w.pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	for i := range w.pod.Spec.EphemeralContainers {
		if c := (*v1.Container)(&w.pod.Spec.EphemeralContainers[i].EphemeralContainerCommon); c.Name == name {
			return c
		}
	}
	return nil
}

// create makes one attempt of a container.
func (w *worker) create(ctx context.Context, s lifecycle.Step) lifecycle.Result {
	c := w.container(s.Container)
	if c == nil {
		return lifecycle.Result{Reason: "CreateContainerConfigError", Message: fmt.Sprintf("the pod has no container %q", s.Container)}
	}
	img, r := w.image(ctx, c, s.ID)
	if img == nil {
		return r
	}
	cfg, err := w.containerConfig(ctx, s, c, img)
	if err != nil {
		return resultOf(reasonOf(err), err)
	}
	if err := w.p.d.Runtime.Create(ctx, cfg); err != nil {
		return resultOf("CreateContainerError", err)
	}
	user := &lifecycle.User{}
	if u := oci.UserOf(cfg.Spec); u != nil {
		user = &lifecycle.User{UID: u.Linux.UID, GID: u.Linux.GID, Groups: u.Linux.SupplementalGroups}
	}
	return lifecycle.Result{Image: img.Name, ImageID: img.Identity(), User: user}
}

// hook begins a hook of an attempt that runs.
func (w *worker) hook(s lifecycle.Step) lifecycle.Result {
	c := w.container(s.Container)
	if c == nil {
		return lifecycle.Result{Reason: "FailedHook", Message: fmt.Sprintf("the pod has no container %q", s.Container)}
	}
	w.p.d.Hooks.Begin(HookRequest{Pod: w.filled(), Container: c, ID: s.ID, PodIP: w.podIP(), Kind: s.Hook, Deadline: s.Deadline})
	return lifecycle.Result{}
}

// reasonOf tells what is wrong with the pod's configuration from what is wrong
// with the node.
func reasonOf(err error) string {
	var config *oci.Error
	if errors.As(err, &config) {
		return oci.Reason(err)
	}
	return "CreateContainerError"
}

// containerConfig is everything that Create needs for one attempt.
func (w *worker) containerConfig(ctx context.Context, s lifecycle.Step, c *v1.Container, img *runtime.Image) (*runtime.ContainerConfig, error) {
	sandbox, err := w.p.d.Sandboxes.Inspect(ctx, w.uid)
	if err != nil {
		return nil, fmt.Errorf("inspecting the sandbox: %w", err)
	}
	if w.volumes == nil || w.cgroup == "" { // set up by an earlier process
		if err := w.prepare(ctx); err != nil {
			return nil, err
		}
		if w.cgroup, err = w.p.d.Cgroups.EnsurePod(w.pod); err != nil {
			return nil, err
		}
	}
	dir := w.p.store.Dir(w.uid)
	termLog, err := terminationLog(dir, c.Name, s.Attempt)
	if err != nil {
		return nil, err
	}
	hostname, err := oci.Nodename(w.pod, w.p.cfg.DNS.Domain)
	if err != nil {
		return nil, err
	}
	files := filesIn(dir)
	in := oci.Input{
		Pod: w.pod, Container: c, Image: img, Sandbox: sandbox,
		Hostname:   hostname,
		Files:      oci.Files{Hosts: files.hosts, Hostname: files.hostname, ResolvConf: files.resolvConf, TerminationLog: termLog},
		CgroupPath: w.p.d.Cgroups.ContainerPath(w.cgroup, s.ID),
		Node:       w.p.cfg.Node,
	}
	if in.Node, err = facts.ForContainer(in.Node, w.pod, c); err != nil {
		return nil, err
	}
	if in.TargetPIDNS, err = w.targetPIDNS(ctx, c.Name); err != nil {
		return nil, err
	}
	if in.Env, err = w.environment(c); err != nil {
		return nil, err
	}
	if in.Mounts, err = w.mounts(ctx, c, in); err != nil {
		return nil, err
	}
	spec, err := oci.Spec(in)
	if err != nil {
		return nil, err
	}
	w.p.warnClamped(w.pod, c)
	return &runtime.ContainerConfig{
		ContainerRef: runtime.ContainerRef{Pod: w.ref(), Name: c.Name, Attempt: s.Attempt, ID: s.ID},
		Image:        img,
		Spec:         spec,
		Stdin:        c.Stdin,
		Terminal:     c.TTY,
		Log: runtime.LogStream{
			Path:     logPath(w.p.cfg.LogDir, w.ref(), c.Name, s.Attempt),
			Terminal: c.TTY,
			MaxSize:  w.p.cfg.LogMaxSize,
			MaxFiles: w.p.cfg.LogMaxFiles,
		},
	}, nil
}

// targetPIDNS returns the PID namespace of the container that an ephemeral
// container wants to look at; "": it names none, or shares it anyway.
func (w *worker) targetPIDNS(ctx context.Context, ephemeral string) (string, error) {
	target := ""
	for _, e := range w.pod.Spec.EphemeralContainers {
		if e.Name == ephemeral {
			target = e.TargetContainerName
		}
	}
	if target == "" || w.pod.Spec.HostPID {
		return "", nil
	}
	list, err := w.p.d.Runtime.List(ctx, w.uid)
	if err != nil {
		return "", err
	}
	for _, c := range list {
		if c.Name == target && c.State == runtime.StateRunning {
			return fmt.Sprintf("/proc/%d/ns/pid", c.Pid), nil
		}
	}
	return "", &oci.Error{Kind: oci.ErrConfig, Text: fmt.Sprintf("unable to find target container %q", target)}
}

// environment looks up what the container's variables refer to.
func (w *worker) environment(c *v1.Container) (oci.Env, error) {
	objects := &lookups{Objects: w.p.d.Objects}
	synced := objects.Synced()
	env, skipped, err := containerenv.Resolve(containerenv.Input{
		Pod: w.filled(), Container: c, Objects: objects, Allocatable: w.p.cfg.Allocatable,
	})
	if err == nil && objects.missed && !synced {
		err = errors.New("an optional ConfigMap or Secret is not there, and not all sources have been read yet")
	}
	for _, s := range skipped {
		w.log.Warn("keys are no names of variables", "container", c.Name, "reason", containerenv.SkippedReason, "message", s.String())
	}
	return env, err
}

// mounts resolves a container's volumeMounts. in lacks only them.
func (w *worker) mounts(ctx context.Context, c *v1.Container, in oci.Input) ([]oci.Mount, error) {
	var out []oci.Mount
	for i, m := range c.VolumeMounts {
		path := w.volumes[m.Name]
		if m.SubPath != "" || m.SubPathExpr != "" {
			env, err := oci.Environ(in)
			if err != nil {
				return nil, err
			}
			sub, err := containerenv.SubPath(m, env)
			if err != nil {
				return nil, err
			}
			path, err = w.p.d.Volumes.SubPath(ctx, SubPathRequest{
				Dir: w.p.store.Dir(w.uid), Volume: m.Name, HostPath: path, Path: sub, Container: c.Name, Index: i,
			})
			if err != nil {
				w.log.Warn("cannot prepare a subPath", "container", c.Name, "volume", m.Name, "err", err)
				return nil, &oci.Error{Kind: oci.ErrConfig, Text: err.Error()}
			}
		}
		mount := oci.NewMount(w.pod, m, path, w.p.cfg.Node)
		if err := facts.CheckPropagation(path, mount.Propagation); err != nil {
			return nil, err
		}
		out = append(out, mount)
	}
	return out, nil
}

// podLogDir is <logDir>/<namespace>_<name>_<uid>, as kubelet has it.
func podLogDir(logDir string, pod runtime.PodRef) string {
	return filepath.Join(logDir, pod.Namespace+"_"+pod.Name+"_"+pod.UID)
}

func logPath(logDir string, pod runtime.PodRef, container string, attempt uint32) string {
	return filepath.Join(podLogDir(logDir, pod), container, strconv.FormatUint(uint64(attempt), 10)+".log")
}

// startContainer starts an attempt, of which the record knows by then.
func (w *worker) startContainer(ctx context.Context, s lifecycle.Step) lifecycle.Result {
	if err := w.flush(); err != nil {
		return resultOf("FailedRecord", err)
	}
	done := w.p.starts.take(ctx)
	err := w.p.d.Runtime.Start(ctx, s.ID)
	done()
	switch {
	case err == nil, errors.Is(err, runtime.ErrExited): // its exit will be seen
		return lifecycle.Result{}
	case errors.Is(err, runtime.ErrStart):
		return lifecycle.Result{Reason: "StartError", Message: err.Error(), Final: true}
	default:
		return resultOf("RunContainerError", err)
	}
}

// signal sends a stop signal or SIGKILL.
func (w *worker) signal(ctx context.Context, s lifecycle.Step) error {
	name := s.Signal
	if name == "" {
		name = w.stopSignal(ctx, s.Container)
	}
	sig, err := parseSignal(name)
	if err != nil {
		w.log.Warn("the image's stop signal is not one; SIGTERM is sent", "container", s.Container, "err", err)
	}
	if err := w.p.d.Runtime.Signal(ctx, s.ID, sig); err != nil && !errors.Is(err, runtime.ErrNotFound) {
		return fmt.Errorf("sending %v to container %q: %w", sig, s.Container, err)
	}
	return nil
}

// stopSignal returns the container's stop signal, "" for none or if the image
// has gone meanwhile.
func (w *worker) stopSignal(ctx context.Context, container string) string {
	c := w.container(container)
	if c == nil {
		return ""
	}
	img, err := w.p.d.Runtime.Image(ctx, c.Image)
	if err != nil {
		img = nil
	}
	return oci.StopSignal(c, img)
}

// teardown undoes setup. Containers are gone by then.
func (w *worker) teardown(ctx context.Context) error {
	if err := w.p.d.Network.Detach(ctx, w.uid); err != nil {
		return err
	}
	if err := w.p.d.Sandboxes.Remove(ctx, w.uid); err != nil {
		return err
	}
	if err := w.p.d.Cgroups.RemovePod(w.uid); err != nil {
		return err
	}
	if err := w.p.d.Volumes.Teardown(ctx, w.p.store.Dir(w.uid)); err != nil {
		return err
	}
	w.volumes, w.cgroup = nil, "" // the addresses are free once that is on record
	return nil
}

// remove removes logs and record, the last of the pod.
func (w *worker) remove() error {
	logs := podLogDir(w.p.cfg.LogDir, w.ref())
	if err := w.p.d.Logs.Unlink(logs); err != nil {
		return err
	}
	if err := os.RemoveAll(logs); err != nil {
		return fmt.Errorf("removing the pod's logs: %w", err)
	}
	return w.p.store.Remove(w.uid)
}
