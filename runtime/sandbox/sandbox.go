package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/davit-agent/davit/network/ns"
	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/cgroup/qos"
)

// Config is what Sandboxes need. For pods with an id range the directories above
// RunDir and Helper must be passable for everybody (0711), for in a user
// namespace the OCI runtime mounts without root's rights on the host's files.
type Config struct {
	RunDir  string // absolute; on a file system that a reboot empties
	Helper  string // absolute path of the davit-helper program
	Runtime runtime.Runtime
}

// Sandboxes implements runtime.Sandboxes.
type Sandboxes struct {
	cfg Config
}

var _ runtime.Sandboxes = (*Sandboxes)(nil)

// New checks the configuration.
func New(cfg Config) (*Sandboxes, error) {
	if !filepath.IsAbs(cfg.RunDir) || !filepath.IsAbs(cfg.Helper) {
		return nil, fmt.Errorf("sandboxes need absolute paths, not %q and %q", cfg.RunDir, cfg.Helper)
	}
	if cfg.Runtime == nil {
		return nil, errors.New("sandboxes need a runtime")
	}
	return &Sandboxes{cfg: cfg}, nil
}

// defaultSysctls are containerd's CRI's (enable_unprivileged_ports and
// enable_unprivileged_icmp, on by default since 2.0).
var defaultSysctls = map[string]string{
	"net.ipv4.ip_unprivileged_port_start": "0",
	"net.ipv4.ping_group_range":           "0 2147483647",
}

// Ensure makes or completes the sandbox.
func (s *Sandboxes) Ensure(ctx context.Context, cfg *runtime.SandboxConfig) (*runtime.Sandbox, error) {
	uid := cfg.Pod.UID
	if err := qos.CheckUID(uid); err != nil {
		return nil, err
	}
	rec, err := s.readRecord(uid)
	if err != nil {
		return nil, err
	}
	want := newRecord(cfg)
	want.NextInit = rec.NextInit
	if err := s.writeRecord(uid, rec, want); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := ns.Create(s.nsDir(uid), s.options(cfg)); err != nil {
		return nil, fmt.Errorf("making sandbox of pod %s: %w", uid, err)
	}
	if want.Shm {
		if err := mountShm(s.shmDir(uid), cfg.ShmSize, cfg.IDs); err != nil {
			return nil, fmt.Errorf("making sandbox of pod %s: %w", uid, err)
		}
	}
	if want.SharePID {
		if err := s.ensureInit(ctx, cfg, want); err != nil {
			return nil, fmt.Errorf("making sandbox of pod %s: %w", uid, err)
		}
	}
	return s.sandbox(uid, want), nil
}

// options says which namespaces are wanted.
func (s *Sandboxes) options(cfg *runtime.SandboxConfig) ns.Options {
	o := ns.Options{Sysctls: map[string]string{}}
	if !cfg.HostNetwork {
		o.Kinds = append(o.Kinds, ns.Net, ns.UTS)
		o.Hostname = cfg.Hostname
		maps.Copy(o.Sysctls, defaultSysctls)
	}
	if !cfg.HostIPC {
		o.Kinds = append(o.Kinds, ns.IPC)
	}
	for name, value := range cfg.Sysctls {
		// Slashes and dots name the same: the pod's own must replace the default.
		delete(o.Sysctls, dotted(name))
		o.Sysctls[name] = value
	}
	if cfg.IDs != nil {
		o.IDs = &ns.IDRange{Host: cfg.IDs.Host, Size: cfg.IDs.Size}
		o.Helper = []string{s.cfg.Helper, "hold"}
	}
	return o
}

// Inspect returns the sandbox if it is there and intact.
func (s *Sandboxes) Inspect(ctx context.Context, uid string) (*runtime.Sandbox, error) {
	if err := qos.CheckUID(uid); err != nil {
		return nil, err
	}
	rec, err := s.readRecord(uid)
	if err != nil {
		return nil, err
	}
	if rec.Format == "" {
		return nil, fmt.Errorf("sandbox of pod %s: %w", uid, runtime.ErrNotFound)
	}
	ok, err := ns.Intact(s.nsDir(uid), rec.Kinds...)
	if ok && rec.Shm {
		ok, err = isMounted(s.shmDir(uid))
	}
	if ok && rec.SharePID {
		ok, err = s.initAlive(ctx, uid)
	}
	if err != nil {
		return nil, fmt.Errorf("inspecting sandbox of pod %s: %w", uid, err)
	}
	if !ok {
		return nil, fmt.Errorf("sandbox of pod %s is not intact: %w", uid, runtime.ErrNotFound)
	}
	return s.sandbox(uid, rec), nil
}

// sandbox returns the paths of a sandbox that consists of rec.
func (s *Sandboxes) sandbox(uid string, rec record) *runtime.Sandbox {
	path := func(k ns.Kind) string {
		if k == ns.PID && rec.SharePID || slices.Contains(rec.Kinds, k) {
			return filepath.Join(s.nsDir(uid), string(k))
		}
		return ""
	}
	sb := &runtime.Sandbox{
		UID:   uid,
		NetNS: path(ns.Net), IPCNS: path(ns.IPC), UTSNS: path(ns.UTS),
		UserNS: path(ns.User), PIDNS: path(ns.PID),
	}
	if rec.Shm {
		sb.ShmPath = s.shmDir(uid)
	}
	return sb
}

// Remove removes whatever of the sandbox is there, the record last.
func (s *Sandboxes) Remove(ctx context.Context, uid string) error {
	if err := qos.CheckUID(uid); err != nil {
		return err
	}
	rec, err := s.readRecord(uid)
	if err != nil {
		return err
	}
	if rec.SharePID || rec.Format == "" && s.pinned(uid) {
		err = s.removeInits(ctx, uid)
	}
	err = errors.Join(err, unmountShm(s.shmDir(uid)), ns.Remove(s.nsDir(uid)))
	if err == nil {
		err = s.removeRecord(uid)
	}
	if err != nil {
		return fmt.Errorf("removing sandbox of pod %s: %w", uid, err)
	}
	return nil
}

// pinned says whether there is a PID namespace, or was to be one: the sign of an
// init where the record is lost.
func (s *Sandboxes) pinned(uid string) bool {
	_, err := os.Lstat(filepath.Join(s.nsDir(uid), string(ns.PID)))
	return err == nil
}

// List returns the UIDs of all pods of which any part of a sandbox is there.
func (s *Sandboxes) List(context.Context) ([]string, error) {
	uids, err := ns.List(filepath.Join(s.cfg.RunDir, "ns"))
	if err != nil {
		return nil, err
	}
	shms, err := ns.List(filepath.Join(s.cfg.RunDir, "shm"))
	if err != nil {
		return nil, err
	}
	records, err := s.listRecords()
	if err != nil {
		return nil, err
	}
	uids = slices.Concat(uids, shms, records)
	slices.Sort(uids)
	return slices.Compact(uids), nil
}

func (s *Sandboxes) nsDir(uid string) string  { return filepath.Join(s.cfg.RunDir, "ns", uid) }
func (s *Sandboxes) shmDir(uid string) string { return filepath.Join(s.cfg.RunDir, "shm", uid) }
