package volumes

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

// podDir makes a pod's directory and sees to it that nothing stays mounted.
func podDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pod")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, m := range mountsBelow(t, filepath.Dir(dir)) {
			if err := unix.Unmount(m, unix.MNT_DETACH); err != nil {
				t.Errorf("cleaning up %s: %v", m, err)
			}
		}
	})
	return dir
}

func mountsBelow(t *testing.T, dir string) []string {
	t.Helper()
	found, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := len(found) - 1; i >= 0; i-- {
		out = append(out, found[i].Mountpoint)
	}
	return out
}

func pod(volumes ...v1.Volume) *v1.Pod {
	return &v1.Pod{Spec: v1.PodSpec{Volumes: volumes, Containers: []v1.Container{{Name: "c"}}}}
}

func memory(size string) v1.Volume {
	e := &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory}
	if size != "" {
		e.SizeLimit = ptr.To(resource.MustParse(size))
	}
	return v1.Volume{Name: "mem", VolumeSource: v1.VolumeSource{EmptyDir: e}}
}

func host(path string, kind v1.HostPathType) v1.Volume {
	return v1.Volume{Name: "host", VolumeSource: v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: path, Type: &kind}}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEmptyDir(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := podDir(t)
	p := pod(v1.Volume{Name: "disk", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}}, memory("1Mi"))
	// What a Setup that was cut leaves behind.
	must(t, os.MkdirAll(filepath.Join(dir, emptyDirs, ".making-disk"), 0o700))
	mounts, err := New(Config{}).Setup(t.Context(), p, dir)
	must(t, err)
	for _, name := range []string{"disk", "mem"} {
		if want := (Mount{HostPath: filepath.Join(dir, "volumes/kubernetes.io~empty-dir", name)}); mounts[name] != want {
			t.Errorf("%s: %+v, want %+v", name, mounts[name], want)
		}
		info, err := os.Stat(mounts[name].HostPath)
		must(t, err)
		if info.Mode().Perm() != 0o777 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		must(t, os.WriteFile(filepath.Join(mounts[name].HostPath, "f"), []byte("x"), 0o644))
	}
	var fs unix.Statfs_t
	must(t, unix.Statfs(mounts["mem"].HostPath, &fs))
	if fs.Type != unix.TMPFS_MAGIC || fs.Blocks*uint64(fs.Bsize) != 1<<20 {
		t.Errorf("type %x, %d bytes", fs.Type, fs.Blocks*uint64(fs.Bsize))
	}
	if err := os.WriteFile(filepath.Join(mounts["mem"].HostPath, "big"), make([]byte, 2<<20), 0o644); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("writing more than the size: %v", err)
	}

	// Again: what is there stays, also the mode that a container gave it.
	must(t, os.Chmod(mounts["disk"].HostPath, 0o700))
	_, err = New(Config{}).Setup(t.Context(), p, dir)
	must(t, err)
	for _, name := range []string{"disk", "mem"} {
		if _, err := os.Stat(filepath.Join(mounts[name].HostPath, "f")); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(mounts["disk"].HostPath); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if m := mountsBelow(t, dir); len(m) != 1 {
		t.Errorf("mounts: %q", m)
	}
	for range 2 { // the second time there is nothing to do
		must(t, New(Config{}).Teardown(t.Context(), dir))
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 || len(mountsBelow(t, dir)) > 0 {
			t.Errorf("left behind: %v, %v, %v", left, mountsBelow(t, dir), err)
		}
	}
	must(t, os.Remove(dir))
	must(t, New(Config{}).Teardown(t.Context(), dir))
}

// TestStateDirBehindSymlink: the mount table knows no symlinks.
func TestStateDirBehindSymlink(t *testing.T) {
	real := podDir(t)
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(filepath.Dir(real), link))
	dir := filepath.Join(link, "pod")
	for range 2 {
		_, err := New(Config{}).Setup(t.Context(), pod(memory("")), dir)
		must(t, err)
	}
	if m := mountsBelow(t, real); len(m) != 1 {
		t.Errorf("mounts: %q", m)
	}
	must(t, New(Config{}).Teardown(t.Context(), dir))
	if m := mountsBelow(t, real); len(m) != 0 {
		t.Errorf("mounts: %q", m)
	}
}

func TestMemorySize(t *testing.T) {
	limited := func(limits ...string) []v1.Container {
		var out []v1.Container
		for _, l := range limits {
			c := v1.Container{}
			if l != "" {
				c.Resources.Limits = v1.ResourceList{"memory": resource.MustParse(l)}
			}
			out = append(out, c)
		}
		return out
	}
	sidecar := limited("4Mi")
	sidecar[0].RestartPolicy = ptr.To(v1.ContainerRestartPolicyAlways)
	for _, tc := range []struct {
		name             string
		size             string
		containers, init []v1.Container
		want             int64
	}{
		{"nothing", "", limited(""), nil, 0},
		{"limit only", "", limited("1Mi", "2Mi"), nil, 3 << 20},
		{"one without limit", "", limited("1Mi", ""), nil, 0},
		{"size only", "5Mi", limited(""), nil, 5 << 20},
		{"size below limit", "1Mi", limited("2Mi"), nil, 1 << 20},
		{"size above limit", "3Mi", limited("2Mi"), nil, 2 << 20},
		{"large init container", "", limited("1Mi"), limited("2Mi"), 2 << 20},
		{"init container without limit", "", limited("1Mi"), limited(""), 0},
		{"sidecar", "", limited("1Mi"), sidecar, 5 << 20},
		{"init after sidecar", "", limited("1Mi"), append(sidecar, limited("2Mi")...), 6 << 20},
	} {
		p := &v1.Pod{Spec: v1.PodSpec{Containers: tc.containers, InitContainers: tc.init}}
		if got := memorySize(memory(tc.size).EmptyDir, p); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestHostPath(t *testing.T) {
	base := t.TempDir()
	at := func(name string) string { return filepath.Join(base, name) }
	must(t, os.Mkdir(at("dir"), 0o755))
	must(t, os.WriteFile(at("file"), nil, 0o644))
	must(t, os.Symlink("dir", at("link")))
	l, err := net.Listen("unix", at("socket"))
	must(t, err)
	defer func() { must(t, l.Close()) }()
	must(t, unix.Mknod(at("char"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	must(t, unix.Mknod(at("block"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 65535))))
	failed := "MountVolume.SetUp failed for volume \"host\" : hostPath type check failed: "
	for _, tc := range []struct {
		name string
		kind v1.HostPathType
		want string // of the error, B for base
	}{
		{"dir", "", ""}, {"file", "", ""}, {"made", "", ""}, {"made", "Directory", ""},
		{"dir", "Directory", ""}, {"link", "Directory", ""}, {"none", "Directory", failed + "B/none is not a directory"}, {"file", "Directory", failed + "B/file is not a directory"},
		{"new/dir", "DirectoryOrCreate", ""}, {"new/dir", "Directory", ""}, {"file", "DirectoryOrCreate", failed + "B/file is not a directory"},
		{"file", "File", ""}, {"none", "File", failed + "B/none is not a file"}, {"dir", "File", failed + "B/dir is not a file"}, {"socket", "File", failed + "B/socket is not a file"},
		{"newfile", "FileOrCreate", ""}, {"newfile", "File", ""}, {"file", "FileOrCreate", ""}, {"dir", "FileOrCreate", failed + "B/dir is not a file"},
		{"no/parent", "FileOrCreate", "MountVolume.SetUp failed for volume \"host\" : making hostPath file: open B/no/parent: no such file or directory"},
		{"socket", "Socket", ""}, {"file", "Socket", failed + "B/file is not a socket file"},
		{"char", "CharDevice", ""}, {"block", "CharDevice", failed + "B/block is not a character device"},
		{"block", "BlockDevice", ""}, {"char", "BlockDevice", failed + "B/char is not a block device"},
		{"file/x", "Directory", failed + "B/file/x is not a directory: stat B/file/x: not a directory"},
		{"dir", "Strange", "MountVolume.SetUp failed for volume \"host\" : Strange is an invalid volume type"},
	} {
		got := ""
		mounts, err := New(Config{}).Setup(t.Context(), pod(host(at(tc.name), tc.kind)), "/nonexistent")
		if err != nil {
			got = strings.ReplaceAll(err.Error(), base, "B")
		} else if mounts["host"] != (Mount{HostPath: at(tc.name)}) {
			t.Errorf("%s %s: %+v", tc.name, tc.kind, mounts)
		}
		if got != tc.want {
			t.Errorf("%s %s: %q, want %q", tc.name, tc.kind, got, tc.want)
		}
	}
	for name, mode := range map[string]os.FileMode{"made": 0o755, "new/dir": 0o755, "newfile": 0o644} {
		if info, err := os.Stat(at(name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// TestHostPathIsCheckedOnce for a pod, as by kubelet: what becomes of it later is
// not a volume's failure.
func TestHostPathIsCheckedOnce(t *testing.T) {
	base, dir := t.TempDir(), podDir(t)
	path := filepath.Join(base, "x")
	m, p := New(Config{}), pod(host(path, v1.HostPathDirectory))
	for _, tc := range []struct {
		there, well bool
	}{{false, false}, {true, true}, {false, true}} {
		if tc.there {
			must(t, os.Mkdir(path, 0o755))
		} else {
			must(t, os.RemoveAll(path))
		}
		mounts, err := m.Setup(t.Context(), p, dir)
		if (err == nil) != tc.well || (mounts["host"].HostPath == path) != tc.well {
			t.Errorf("%+v: %v, %v", tc, mounts, err)
		}
	}
}

// TestHostPathThatDoesNotAnswer: one goroutine is lost to it, not one per try.
func TestHostPathThatDoesNotAnswer(t *testing.T) {
	c := &checker{running: map[checkKey]*check{}}
	block, looks := make(chan struct{}), make(chan struct{}, 10)
	look := func() error { looks <- struct{}{}; <-block; return nil }
	key := checkKey{"/dead", ""}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := c.do(ctx, key, look)
		cancel()
		if want := "looking at /dead, which does not answer: context deadline exceeded"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if len(looks) != 1 {
		t.Errorf("looked %d times at once", len(looks))
	}
	close(block)
	must(t, c.do(t.Context(), key, func() error { return nil }))
}

func TestUnsupportedVolume(t *testing.T) {
	_, err := New(Config{}).Setup(t.Context(), pod(v1.Volume{Name: "v", VolumeSource: v1.VolumeSource{CSI: &v1.CSIVolumeSource{}}}), podDir(t))
	if !errors.Is(err, ErrUnsupported) || err.Error() != `MountVolume.SetUp failed for volume "v" : not supported yet` {
		t.Errorf("got %v", err)
	}
	if _, err := New(Config{}).Setup(t.Context(), pod(v1.Volume{Name: "../x"}), podDir(t)); err == nil || err.Error() != `MountVolume.SetUp failed for volume "../x" : "../x" is no name of a volume` {
		t.Errorf("got %v", err)
	}
}

// TestTeardownStaysInside: what a pod may leave in its volumes, and what must
// survive.
func TestTeardownStaysInside(t *testing.T) {
	dir, outside := podDir(t), t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "precious"), nil, 0o644))
	mounts, err := New(Config{}).Setup(t.Context(), pod(v1.Volume{Name: "disk"}), dir)
	must(t, err)
	disk := mounts["disk"].HostPath
	must(t, os.Symlink(outside, filepath.Join(disk, "link")))
	must(t, os.Symlink("/", filepath.Join(disk, "root")))
	must(t, unix.Mkfifo(filepath.Join(disk, "fifo"), 0o600))
	must(t, os.WriteFile(filepath.Join(disk, "name\nwith newline"), nil, 0))
	for i := range 3000 {
		must(t, os.WriteFile(filepath.Join(disk, "file"+string(rune('a'+i%26))+strings.Repeat("x", i%200)+time.Duration(i).String()), nil, 0o600))
	}
	deep(t, disk, 3000)
	must(t, New(Config{}).Teardown(t.Context(), dir))
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(outside, "precious")); err != nil {
		t.Error(err)
	}

	// The directory of the volumes itself exchanged for a symlink.
	must(t, os.Symlink(outside, filepath.Join(dir, "volumes")))
	must(t, New(Config{}).Teardown(t.Context(), dir))
	if _, err := os.Stat(filepath.Join(outside, "precious")); err != nil {
		t.Error(err)
	}
}

// deep makes n directories one inside of the other, deeper than a path can name.
func deep(t *testing.T, dir string, n int) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	for range n {
		must(t, unix.Mkdirat(fd, "d", 0o700))
		next, err := unix.Openat(fd, "d", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		must(t, unix.Close(fd))
		fd = next
	}
	must(t, unix.Close(fd))
}

// TestTeardownAndMounts: mounts below the volumes go, whatever they are, and
// what is behind them stays.
func TestTeardownAndMounts(t *testing.T) {
	dir, outside := podDir(t), t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "precious"), nil, 0o644))
	mounts, err := New(Config{}).Setup(t.Context(), pod(memory("")), dir)
	must(t, err)
	inner := filepath.Join(mounts["mem"].HostPath, "inner dir")
	must(t, os.Mkdir(inner, 0o755))
	for range 2 { // stacked, and busy
		must(t, unix.Mount(outside, inner, "", unix.MS_BIND, ""))
	}
	busy, err := os.Open(inner)
	must(t, err)
	defer func() { must(t, busy.Close()) }()
	must(t, New(Config{}).Teardown(t.Context(), dir))
	if m := mountsBelow(t, dir); len(m) != 0 {
		t.Errorf("mounts: %q", m)
	}
	if _, err := os.Stat(filepath.Join(outside, "precious")); err != nil {
		t.Error(err)
	}
}

// TestRemoveDoesNotCrossMounts: the second line of defence, without unmounting.
func TestRemoveDoesNotCrossMounts(t *testing.T) {
	dir, outside := podDir(t), t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "precious"), nil, 0o644))
	at := filepath.Join(dir, "volumes", "x")
	must(t, os.MkdirAll(at, 0o755))
	must(t, unix.Mount(outside, at, "", unix.MS_BIND, "")) // the same file system: only the mount tells
	err := removeTree(t.Context(), dir, "volumes")
	if want := at + ": something is mounted there, nothing behind it was removed: unmount it"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := os.Stat(filepath.Join(outside, "precious")); err != nil {
		t.Error(err)
	}
}

// TestTeardownOnFullDisk removes from a file system without a free block.
func TestTeardownOnFullDisk(t *testing.T) {
	dir := podDir(t)
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"))
	mounts, err := New(Config{}).Setup(t.Context(), pod(v1.Volume{Name: "disk"}), dir)
	must(t, err)
	deep(t, mounts["disk"].HostPath, 200)
	if err := os.WriteFile(filepath.Join(mounts["disk"].HostPath, "fill"), make([]byte, 1<<20), 0o644); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the file system is not full: %v", err)
	}
	must(t, New(Config{}).Teardown(t.Context(), dir))
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestTeardownReportsWhatStays(t *testing.T) {
	dir := podDir(t)
	at := filepath.Join(dir, "volumes")
	must(t, os.MkdirAll(filepath.Join(at, "a"), 0o755))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(Config{}).Teardown(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(at, "a")); err != nil {
		t.Error(err)
	}
}
