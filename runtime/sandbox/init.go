package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/network/ns"
	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

const (
	// initName is the name of the init among the pod's containers.
	initName = ""
	// initPath is the helper's place in the init's root.
	initPath = "/davit-helper"
	// nobody is the init's uid and gid, as CRI's pause has it.
	nobody = 65535
)

// inits returns the pod's containers that are inits; those that are known, too,
// if the runtime is away.
func (s *Sandboxes) inits(ctx context.Context, uid string) (out []runtime.Container, err error) {
	all, err := s.cfg.Runtime.List(ctx, uid)
	if err != nil {
		err = fmt.Errorf("listing inits: %w", err)
	}
	for _, c := range all {
		if c.Name == initName && c.Pod.UID == uid {
			out = append(out, c)
		}
	}
	return out, err
}

// initAlive says whether the pinned PID namespace is that of a running init.
func (s *Sandboxes) initAlive(ctx context.Context, uid string) (bool, error) {
	inits, away := s.inits(ctx, uid)
	for _, c := range inits {
		if c.State == runtime.StateRunning && c.Pid != 0 {
			ok, err := ns.Same(filepath.Join(s.nsDir(uid), string(ns.PID)), ns.PID, int(c.Pid))
			if errors.Is(err, os.ErrNotExist) {
				return false, nil // it has just ended
			}
			return ok, err
		}
	}
	return false, away
}

// ensureInit makes sure that an init runs and its PID namespace is pinned.
func (s *Sandboxes) ensureInit(ctx context.Context, cfg *runtime.SandboxConfig, rec record) error {
	uid := cfg.Pod.UID
	inits, err := s.inits(ctx, uid)
	if err != nil {
		return err
	}
	running := false
	next := rec.NextInit
	for _, c := range inits {
		next = max(next, c.Attempt+1)
		if c.State == runtime.StateRunning {
			running = true
			continue
		}
		// Whether it ended or was never started: it is not taken up again.
		if err := s.cfg.Runtime.Delete(ctx, c.ID); err != nil {
			return fmt.Errorf("deleting init: %w", err)
		}
	}
	if !running {
		if err := s.startInit(ctx, cfg, rec, next); err != nil {
			return err
		}
	}
	return s.pinInit(ctx, uid)
}

// startInit makes and starts the given attempt.
func (s *Sandboxes) startInit(ctx context.Context, cfg *runtime.SandboxConfig, rec record, attempt uint32) error {
	uid := cfg.Pod.UID
	used := rec
	used.NextInit = attempt + 1
	if err := s.writeRecord(uid, rec, used); err != nil {
		return err
	}
	root, err := s.initRoot()
	if err != nil {
		return err
	}
	c := &runtime.ContainerConfig{
		ContainerRef: runtime.ContainerRef{
			Pod: cfg.Pod, Name: initName, Attempt: attempt,
			ID: runtime.ContainerID(uid, initName, attempt),
		},
		RootFS: root,
	}
	c.Spec = s.initSpec(cfg, s.sandbox(uid, rec), c.ID)
	if err := s.cfg.Runtime.Create(ctx, c); err != nil {
		return fmt.Errorf("creating init: %w", err)
	}
	if err := s.cfg.Runtime.Start(ctx, c.ID); err != nil {
		return fmt.Errorf("starting init: %w", err) // Ensure deletes it when it is called again
	}
	return nil
}

// pinInit pins the running init's PID namespace. The init is looked at again
// afterwards, for its pid may have become another process's in between.
func (s *Sandboxes) pinInit(ctx context.Context, uid string) error {
	inits, err := s.inits(ctx, uid)
	if err != nil {
		return err
	}
	for _, c := range inits {
		if c.State != runtime.StateRunning {
			continue
		}
		if err := ns.Pin(s.nsDir(uid), ns.PID, int(c.Pid)); err != nil {
			return err
		}
		if ok, err := s.initAlive(ctx, uid); err != nil || ok {
			return err
		}
	}
	return errors.New("the init ended as soon as it was started")
}

func (s *Sandboxes) removeInits(ctx context.Context, uid string) error {
	inits, err := s.inits(ctx, uid)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range inits {
		if err := s.cfg.Runtime.Delete(ctx, c.ID); err != nil {
			errs = append(errs, fmt.Errorf("deleting init: %w", err))
		}
	}
	return errors.Join(errs...)
}

// initRoot makes the root of all inits: nothing but mount points, which have to
// be there because it is read-only and shared.
func (s *Sandboxes) initRoot() (string, error) {
	root := filepath.Join(s.cfg.RunDir, "init-root")
	for _, d := range []string{"proc", "dev"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return "", fmt.Errorf("making the init's root: %w", err)
		}
	}
	f, err := os.OpenFile(filepath.Join(root, initPath), os.O_CREATE|os.O_RDONLY, 0o555)
	if err != nil {
		return "", fmt.Errorf("making the init's root: %w", err)
	}
	return root, f.Close()
}

// initSpec returns the spec of the pod's init.
func (s *Sandboxes) initSpec(cfg *runtime.SandboxConfig, sb *runtime.Sandbox, id string) *specs.Spec {
	id0 := uint32(nobody)
	if cfg.IDs != nil {
		id0 = min(id0, cfg.IDs.Size-1)
	}
	namespaces := []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}}
	for _, n := range []specs.LinuxNamespace{
		{Type: specs.NetworkNamespace, Path: sb.NetNS},
		{Type: specs.IPCNamespace, Path: sb.IPCNS},
		{Type: specs.UTSNamespace, Path: sb.UTSNS},
		{Type: specs.UserNamespace, Path: sb.UserNS},
	} {
		if n.Path != "" {
			namespaces = append(namespaces, n)
		}
	}
	spec := &specs.Spec{
		Version: "1.0.2",
		Root:    &specs.Root{Readonly: true}, // the path is Create's
		Process: &specs.Process{
			Args:            []string{initPath, "init"},
			Cwd:             "/",
			User:            specs.User{UID: id0, GID: id0},
			Capabilities:    &specs.LinuxCapabilities{},
			NoNewPrivileges: true,
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
			// Without a mount there, runc makes its device nodes in the shared root.
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "strictatime", "mode=755", "size=64k"}},
			{Destination: initPath, Type: "bind", Source: s.cfg.Helper, Options: []string{"bind", "ro", "nosuid", "nodev"}},
		},
		Linux: &specs.Linux{
			CgroupsPath:   initCgroup(cfg.CgroupParent, id),
			Namespaces:    namespaces,
			Resources:     &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			MaskedPaths:   []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/scsi", "/proc/sched_debug", "/proc/timer_list", "/proc/timer_stats"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
	if cfg.IDs != nil {
		ids := []specs.LinuxIDMapping{{HostID: cfg.IDs.Host, Size: cfg.IDs.Size}}
		spec.Linux.UIDMappings, spec.Linux.GIDMappings = ids, ids
	}
	return spec
}

// initCgroup returns the cgroupsPath of an init below the pod's cgroup, whose
// name tells the driver.
func initCgroup(parent, id string) string {
	driver := qos.Cgroupfs
	if strings.HasSuffix(parent, ".slice") {
		driver = qos.Systemd
	}
	return qos.SpecPath(qos.ContainerPath(driver, parent, id))
}
