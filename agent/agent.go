package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/images"
	"github.com/davit-agent/davit/agent/pods"
	"github.com/davit-agent/davit/agent/pods/etc"
	"github.com/davit-agent/davit/agent/pods/record"
	"github.com/davit-agent/davit/agent/report"
	"github.com/davit-agent/davit/agent/server"
	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/agent/source"
	"github.com/davit-agent/davit/network"
	"github.com/davit-agent/davit/runtime/cgroup"
	"github.com/davit-agent/davit/runtime/containerd"
	"github.com/davit-agent/davit/runtime/helper"
	"github.com/davit-agent/davit/runtime/logs"
	"github.com/davit-agent/davit/runtime/oci/facts"
	"github.com/davit-agent/davit/runtime/sandbox"
	"github.com/davit-agent/davit/systemd"
)

// Agent is davit's daemon, put together.
type Agent struct {
	cfg    Config
	log    *slog.Logger
	lock   io.Closer
	kernel *kernel

	source  *source.Set
	dir     *source.Directory
	url     *source.URL // nil: none
	table   *report.Table
	preload *preloader
	images  *images.Puller
	doctors doctors
	pods    *pods.Pods
	server  *server.Server
	metrics *server.MetricsServer
}

// kernel is everything that touches the node; Cleanup needs no more.
type kernel struct {
	resources *resources
	helper    string // path of the helper program
	logs      *logs.Client
	runtime   *containerd.Client
	sandboxes *sandbox.Sandboxes
	cgroups   *cgroup.Tree
	network   *network.Network
}

// New locks stateDir and puts the agent together. It changes nothing of what
// runs. The error names what to do when another davit has the directory.
func New(cfg Config, version wire.Version, log *slog.Logger) (a *Agent, err error) {
	lock, err := lockState(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	a = &Agent{cfg: cfg, log: log, lock: lock}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if a.kernel, err = openKernel(cfg, log); err != nil {
		return nil, err
	}
	if err := a.openSources(); err != nil {
		return nil, err
	}
	a.table = report.NewTable()
	m := newMetrics(version.Version, a.table.List)
	wake := func(uid string) { a.pods.Wake(uid) }
	arrived := &arrivals{wake: wake}
	a.preload = newPreloader(a.kernel.runtime, cfg.Images.Preload, arrived.note, log)
	a.images = images.New(images.Config{
		Runtime: a.preload.wrap(a.kernel.runtime), Credentials: nodeCredentials(cfg.Images.Credentials, log), Metrics: m,
		MaxParallel: cfg.Images.MaxParallelPulls, Wake: wake, Log: log,
	})
	if a.doctors, err = a.newDoctors(m, wake); err != nil {
		return nil, err
	}
	if a.pods, err = a.newPods(m, arrived); err != nil {
		return nil, err
	}
	node, err := newNodeInfo(cfg, a.kernel.resources, version.Version, a.health, a.kernel.runtime.Version)
	if err != nil {
		return nil, err
	}
	a.server, err = server.New(server.Options{
		Socket: filepath.Join(cfg.RunDir, "davit.sock"), LogDir: cfg.LogDir, Version: version,
		Pods: a.table, Ready: a.pods.Ready(), Execer: a.kernel.runtime, Logs: logStreamer{a.kernel.logs},
		Dialer: podDialer{a.kernel.sandboxes}, Problems: problems{a.source},
		Images: imageStore{a.kernel.runtime, a.images, arrived}, Manifests: cfg.Source.Manifests,
		Explainer: explainer{a.pods}, Objects: a.source, Node: node,
		Metrics: m.registry, Health: a.health, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	if cfg.Metrics.Address != "" {
		a.metrics, err = server.NewMetrics(cfg.Metrics.Address, m.registry, a.health, log)
	}
	return a, err
}

// The sources of pods.
const (
	sourceName = "manifests"
	sourceURL  = "url"
)

// openSources makes the sources; none is read before Run.
func (a *Agent) openSources() (err error) {
	cfg := &a.cfg
	names := []string{sourceName}
	if cfg.Source.URL != "" {
		names = append(names, sourceURL)
	}
	a.source = source.NewSet(names...)
	stored := filepath.Join(cfg.StateDir, "sources", sourceURL)
	if cfg.Source.URL == "" { // what it has is not wanted any more, and may be secret
		if err := source.Forget(stored); err != nil {
			a.log.Warn("cannot remove what is stored of a URL that is not configured any more", "dir", stored, "err", err)
		}
	}
	a.dir = source.NewDirectory(cfg.Source.Manifests, cfg.NodeName, a.log, func(s source.Snapshot) { a.source.Deliver(sourceName, s) })
	if cfg.Source.URL != "" {
		a.url, err = source.NewURL(source.URLConfig{
			URL: cfg.Source.URL, NodeName: cfg.NodeName, Dir: stored,
			PollInterval: time.Duration(cfg.Source.PollInterval), Header: cfg.Source.URLHeaders,
			CA: cfg.Source.URLCA, Cert: cfg.Source.URLCert, Key: cfg.Source.URLKey,
		}, a.log, func(s source.Snapshot) { a.source.Deliver(sourceURL, s) })
		if err != nil {
			return err
		}
	}
	return a.holdNames()
}

// holdNames lets the files and the URL from which the recorded pods came keep
// their names if others claim them too.
func (a *Agent) holdNames() error {
	store, err := record.Open(a.cfg.StateDir)
	if err != nil {
		return err
	}
	records, _, _ := store.Load() // pods.Run tells of the problems
	for _, r := range records {
		switch {
		case source.FromURL(r.Origin):
			a.source.Hold(sourceURL, r.Pod.Namespace, r.Pod.Name, r.Origin)
		default:
			a.source.Hold(sourceName, r.Pod.Namespace, r.Pod.Name, r.Origin)
			a.dir.Hold(r.Pod.Namespace, r.Pod.Name, r.Origin)
		}
	}
	return nil
}

// openKernel opens what touches the node.
func openKernel(cfg Config, log *slog.Logger) (*kernel, error) {
	if err := os.MkdirAll(cfg.RunDir, 0o711); err != nil {
		return nil, fmt.Errorf("making runDir: %w", err)
	}
	program, err := helper.Install(filepath.Join(cfg.StateDir, "bin"))
	if err != nil {
		return nil, err
	}
	k := &kernel{helper: program}
	if k.resources, err = readResources(cfg); err != nil {
		return nil, err
	}
	if k.logs, err = logs.New(logs.Config{
		Dir: filepath.Join(cfg.RunDir, "logs"), Helper: program, External: cfg.Logs.External,
		LinkDir: filepath.Join(filepath.Dir(cfg.LogDir), "containers"), Log: log,
	}); err != nil {
		return nil, err
	}
	if k.cgroups, err = cgroup.New(k.resources.cgroups()); err != nil {
		return nil, err
	}
	if k.runtime, err = containerd.New(containerd.Config{
		Address: cfg.Containerd.Address, Namespace: cfg.Containerd.Namespace,
		Runtimes: cfg.Containerd.Runtimes, OCIRuntime: cfg.Containerd.OCIRuntime,
		HostsDir: cfg.Images.Hosts, PullStall: time.Duration(cfg.Images.PullStall),
		PodsPerShim: cfg.Containerd.PodsPerShim, RunDir: filepath.Join(cfg.RunDir, "containerd"),
		Logs: k.logs, Logger: log,
	}); err != nil {
		return nil, err
	}
	if k.sandboxes, err = sandbox.New(sandbox.Config{RunDir: cfg.RunDir, Helper: program, Runtime: k.runtime}); err != nil {
		return nil, err
	}
	k.network, err = network.New(network.Config{
		PodCIDRs: cfg.Network.PodCIDRs, ClusterCIDRs: cfg.Network.ClusterCIDRs,
		NodeIPs: cfg.NodeIPs, MTU: cfg.Network.MTU,
	}, log)
	return k, err
}

func (a *Agent) newPods(m *metrics, arrived *arrivals) (*pods.Pods, error) {
	boot, err := record.BootID()
	if err != nil {
		return nil, err
	}
	node, err := facts.Read()
	if err != nil {
		return nil, err
	}
	allocatable := a.kernel.resources.allocatable()
	node.Settings = a.kernel.resources.settings()
	node.SeccompLocalhost.Root = filepath.Join(a.cfg.StateDir, "seccomp")
	node.SeccompDefault = v1.SeccompProfileType(a.cfg.SeccompDefault)
	reject, err := admission(a.cfg, node)
	if err != nil {
		return nil, err
	}
	return pods.New(pods.Config{
		StateDir: a.cfg.StateDir, LogDir: a.cfg.LogDir, NodeName: a.cfg.NodeName,
		HostIPs: onePerFamily(a.cfg.NodeIPs), BootID: boot, MaxPods: a.cfg.MaxPods,
		LogMaxSize: int64(a.cfg.Logs.MaxSize), LogMaxFiles: a.cfg.Logs.MaxFiles,
		DNS:  etc.DNS{Servers: a.cfg.DNS.Servers, Domain: a.cfg.DNS.Domain, ResolvConf: resolvConf()},
		Node: node, Allocatable: allocatable, Reject: reject,
	}, pods.Deps{
		Source:    desired{a.source},
		Objects:   a.source,
		Images:    podImages{a.images, a.source, arrived},
		Probes:    a.doctors.probes,
		Hooks:     podHooks{a.doctors.hooks},
		Runtime:   podRuntime{a.kernel.runtime, a.doctors.enter},
		Watcher:   a.kernel.runtime,
		Sandboxes: a.kernel.sandboxes,
		Logs:      a.kernel.logs,
		Network:   &attachments{n: a.kernel.network, cidrs: a.cfg.Network.PodCIDRs},
		Volumes:   newVolumes(a.source, allocatable),
		Cgroups:   a.kernel.cgroups,
		Report:    a.table,
		Metrics:   m,
		Logger:    a.log,
		Now:       time.Now,
	})
}

// resolvConf is the node's: systemd-resolved's list of real servers where
// /etc/resolv.conf only names its stub, which pods cannot reach.
func resolvConf() string {
	const file, real = "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"
	if data, err := os.ReadFile(file); err == nil && strings.Contains(string(data), "127.0.0.53") {
		if _, err := os.Stat(real); err == nil {
			return real
		}
	}
	return file
}

// onePerFamily returns the first address of each family, in the given order.
func onePerFamily(addrs []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		if len(out) == 0 || len(out) == 1 && out[0].Is4() != a.Is4() {
			out = append(out, a)
		}
	}
	return out
}

// Run runs the agent until ctx is cancelled, or until a part of it fails for
// good. It leaves: pods, rules and the log pump live on.
func (a *Agent) Run(ctx context.Context) error {
	defer a.close()
	g, ctx := errgroup.WithContext(ctx)
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"log pump", a.kernel.logs.Run},
		{"containerd", a.kernel.runtime.Run},
		{"network", a.kernel.network.Run},
		{"image archives", a.preload.Run},
		{"images", a.images.Run},
		{"source", a.dir.Run},
		{"url", a.pollURL},
		{"probes", a.doctors.runProbes},
		{"hooks", a.doctors.runHooks},
		{"pods", a.pods.Run},
		{"server", a.server.Run},
		{"metrics", a.serveMetrics},
		{"watchdog", func(ctx context.Context) error { return systemd.Watchdog(ctx, a.alive) }},
	} {
		g.Go(func() error {
			if err := part.run(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
			return nil
		})
	}
	if err := systemd.Ready(); err != nil {
		a.log.Warn("cannot tell systemd that davit is ready", "err", err)
	}
	a.log.Info("davit runs", "node", a.cfg.NodeName, "manifests", a.cfg.Source.Manifests, "containerd", a.cfg.Containerd.Address)
	<-ctx.Done()
	_ = systemd.Stopping()
	err := g.Wait()
	if err == nil {
		a.log.Info("davit leaves; its pods live on")
	}
	return err
}

func (a *Agent) pollURL(ctx context.Context) error {
	if a.url == nil {
		return nil
	}
	return a.url.Run(ctx)
}

func (a *Agent) serveMetrics(ctx context.Context) error {
	if a.metrics == nil {
		return nil
	}
	return a.metrics.Run(ctx)
}

// healthTimeout bounds one question to containerd.
const healthTimeout = 5 * time.Second

// health is what /healthz says.
func (a *Agent) health() error {
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	return a.kernel.runtime.Ready(ctx)
}

// alive is what the watchdog hears: that the process turns, whether or not
// containerd does; restarting davit would not bring that back.
func (a *Agent) alive() error {
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	return a.pods.Alive(ctx)
}

// close gives up what New took.
func (a *Agent) close() {
	if a.server != nil {
		_ = a.server.Close()
	}
	if a.doctors.enter != nil {
		_ = a.doctors.enter.Close()
	}
	if a.kernel != nil {
		a.kernel.close()
	}
	_ = a.lock.Close()
}

func (k *kernel) close() {
	if k.network != nil {
		k.network.Close()
	}
	if k.runtime != nil {
		_ = k.runtime.Close()
	}
	if k.logs != nil {
		k.logs.Release()
	}
}

// Cleanup removes every kernel object that davit made on the node, running pods
// included: containers, namespaces, mounts, links, rules, cgroups, FIFOs and the
// log pump. Records and logs stay, so a later davit starts the pods anew; it
// refuses while a davit runs.
func Cleanup(ctx context.Context, cfg Config, log *slog.Logger) error {
	lock, err := lockState(cfg.StateDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	k, err := openKernel(cfg, log)
	if err != nil {
		return err
	}
	defer k.close()
	return errors.Join(
		k.removeContainers(ctx),
		removeAll(func() ([]string, error) { return k.network.Attached(ctx) }, func(uid string) error { return k.network.Detach(ctx, uid) }),
		removeAll(func() ([]string, error) { return k.sandboxes.List(ctx) }, func(uid string) error { return k.sandboxes.Remove(ctx, uid) }),
		removeAll(k.cgroups.Pods, k.cgroups.RemovePod),
		k.cgroups.Cleanup(),
		k.network.Cleanup(ctx),
		cleanVolumes(ctx, cfg.StateDir),
		k.logs.Cleanup(ctx),
	)
}

func (k *kernel) removeContainers(ctx context.Context) error {
	list, err := k.runtime.List(ctx, "")
	if err != nil {
		return fmt.Errorf("listing containers: %w (containerd must run for davit to remove its containers)", err)
	}
	var errs []error
	for _, c := range list {
		errs = append(errs, k.runtime.Delete(ctx, c.ID))
	}
	return errors.Join(errs...)
}

func removeAll(list func() ([]string, error), remove func(string) error) error {
	uids, err := list()
	errs := []error{err}
	for _, uid := range uids {
		errs = append(errs, remove(uid))
	}
	return errors.Join(errs...)
}

// cleanVolumes unmounts the volumes of all recorded pods.
func cleanVolumes(ctx context.Context, stateDir string) error {
	store, err := record.Open(stateDir)
	if err != nil {
		return err
	}
	records, leftovers, _ := store.Load()
	for _, r := range records {
		leftovers = append(leftovers, r.UID)
	}
	var errs []error
	v := newVolumes(source.NewSet(), nil)
	for _, uid := range leftovers {
		errs = append(errs, v.Teardown(ctx, store.Dir(uid)))
	}
	return errors.Join(errs...)
}
