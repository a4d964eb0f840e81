package testbed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

// Baseline takes what is there now as not leaked. New does so at its end.
func (b *Bed) Baseline() {
	b.t.Helper()
	b.baseline = make(map[string]bool)
	for _, item := range b.inventory() {
		b.baseline[item] = true
	}
}

// LeakCheck returns what is there that was not there at the Baseline, one line
// each: containers, tasks, active snapshots, leases and content ingests of the
// daemon (if it runs), processes, runc's state, mounts, links, namespace pins,
// cgroups and FIFOs. Images, their content and their committed snapshots may stay. It waits
// for some seconds for things to go, since the daemon collects its garbage late.
func (b *Bed) LeakCheck() []string {
	b.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		var leaked []string
		for _, item := range b.inventory() {
			if !b.baseline[item] {
				leaked = append(leaked, item)
			}
		}
		if len(leaked) == 0 || time.Now().After(deadline) {
			return leaked
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// inventory returns all that LeakCheck looks at, sorted.
func (b *Bed) inventory() []string {
	b.t.Helper()
	var items []string
	add := func(format string, args ...any) { items = append(items, fmt.Sprintf(format, args...)) }
	for _, p := range processes(b.ID, b.Dir) {
		if p.pid != b.Containerd.Pid() {
			add("process %d %s (%s)", p.pid, p.name, p.why)
		}
	}
	points, err := mountsBelow(b.Dir)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, m := range points {
		add("mount %s", m)
	}
	for _, dir := range cgroupDirs(b.ID) {
		if filepath.Base(dir) != cgroupName(b.ID) {
			add("cgroup %s", dir)
		}
	}
	pins, _ := filepath.Glob(filepath.Join(netnsDir, "dv-"+b.ID+"*"))
	for _, p := range pins {
		add("namespace %s", p)
	}
	out, err := exec.Command("ip", "-n", b.NS, "-brief", "link").Output()
	if err != nil {
		b.t.Fatalf("listing links: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		add("link %s", strings.Fields(line)[0])
	}
	for _, dir := range runcStates(b.ID, b.Dir) {
		below, _ := filepath.Glob(filepath.Join(dir, "*"))
		if filepath.Dir(dir) != runcDir {
			below = []string{dir}
		}
		for _, state := range below {
			add("runc state %s", state)
		}
	}
	for _, f := range b.fifos() {
		add("fifo %s", f)
	}
	if b.Containerd.Pid() != 0 {
		held, err := b.daemonItems()
		if err != nil {
			b.t.Fatalf("listing what containerd holds: %v", err)
		}
		items = append(items, held...)
	}
	sort.Strings(items)
	return items
}

// fifos returns the FIFOs below the Bed's directory, containerd's store of
// content and snapshots left aside.
func (b *Bed) fifos() []string {
	var found []string
	_ = filepath.WalkDir(b.Dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // vanished meanwhile
		case path == b.Path("ctrd", "root"), e.IsDir() && e.Name() == "rootfs":
			return fs.SkipDir
		case e.Type()&fs.ModeNamedPipe != 0:
			found = append(found, path)
		}
		return nil
	})
	return found
}

// daemonItems returns what the daemon holds in all its namespaces.
func (b *Bed) daemonItems() (items []string, err error) {
	c, err := containerd.New(b.Address, containerd.WithTimeout(20*time.Second))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	names, err := c.NamespaceService().List(ctx)
	if err != nil {
		return nil, err
	}
	for _, ns := range names {
		found, err := namespaceItems(namespaces.WithNamespace(ctx, ns), c)
		if err != nil {
			return nil, fmt.Errorf("in namespace %s: %w", ns, err)
		}
		for _, item := range found {
			items = append(items, item+" in containerd's namespace "+ns)
		}
	}
	return items, nil
}

func namespaceItems(ctx context.Context, c *containerd.Client) ([]string, error) {
	var items []string
	add := func(kind, name string) { items = append(items, kind+" "+name) }
	containers, err := c.ContainerService().List(ctx)
	if err != nil {
		return nil, err
	}
	for _, x := range containers {
		add("container", x.ID)
	}
	tasks, err := c.TaskService().List(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, x := range tasks.Tasks {
		add("task", x.ID)
	}
	all, err := c.LeasesService().List(ctx)
	if err != nil {
		return nil, err
	}
	for _, x := range all {
		add("lease", x.ID)
	}
	ingests, err := c.ContentStore().ListStatuses(ctx)
	if err != nil {
		return nil, err
	}
	for _, x := range ingests {
		add("ingest", x.Ref)
	}
	err = c.SnapshotService("overlayfs").Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		if i.Kind != snapshots.KindCommitted {
			add(strings.ToLower(i.Kind.String())+" snapshot", i.Name)
		}
		return nil
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return items, nil
}
