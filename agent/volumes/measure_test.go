package volumes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

func limited(name, size string) v1.Volume {
	return v1.Volume{Name: name, VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{SizeLimit: ptr.To(resource.MustParse(size))}}}
}

func TestMeasure(t *testing.T) {
	dir, outside := podDir(t), t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "large"), make([]byte, 4<<20), 0o600))
	p := pod(limited("disk", "1Mi"), memory("8Mi"), v1.Volume{Name: "free"}, host(outside, ""))
	mounts, err := New(Config{}).Setup(t.Context(), p, dir)
	must(t, err)
	disk := mounts["disk"].HostPath
	usage := func() map[string]Usage {
		used, err := Measure(t.Context(), p, dir)
		must(t, err)
		return used
	}
	empty := usage()
	if len(empty) != 3 || empty["disk"].Inodes != 1 || OverLimit(p, empty) != "" {
		t.Errorf("%+v", empty)
	}
	// What does not count: what links lead to, what is mounted, holes.
	must(t, os.Symlink(outside, filepath.Join(disk, "link")))
	must(t, os.Mkdir(filepath.Join(disk, "mount"), 0o755))
	must(t, unix.Mount(outside, filepath.Join(disk, "mount"), "", unix.MS_BIND, ""))
	sparse, err := os.Create(filepath.Join(disk, "sparse"))
	must(t, err)
	must(t, errors.Join(sparse.Truncate(1<<30), sparse.Close()))
	must(t, os.MkdirAll(filepath.Join(disk, "a/b"), 0o700))
	must(t, os.WriteFile(filepath.Join(disk, "a/b/f"), make([]byte, 512<<10), 0o600))
	for i := range 10 {
		must(t, os.Link(filepath.Join(disk, "a/b/f"), filepath.Join(disk, fmt.Sprint("f", i))))
	}
	must(t, os.WriteFile(filepath.Join(mounts["mem"].HostPath, "f"), make([]byte, 2<<20), 0o600))
	used := usage()
	if n := used["disk"].Bytes; n < 512<<10 || n > 600<<10 {
		t.Errorf("disk: %d bytes", n)
	}
	if n := used["disk"].Inodes; n != 1+1+1+1+2+1 {
		t.Errorf("disk: %d inodes", n)
	}
	if n := used["mem"].Bytes; n < 2<<20 || n > 2<<20+64<<10 {
		t.Errorf("memory: %d bytes", n)
	}
	if msg := OverLimit(p, used); msg != "" || used["disk"].Partial {
		t.Errorf("%q, %+v", msg, used)
	}

	deep(t, disk, 1000)
	must(t, os.WriteFile(filepath.Join(disk, "a/b/more"), make([]byte, 1<<20), 0o600))
	used = usage()
	if used["disk"].Partial || used["disk"].Inodes != 7+1+1000 {
		t.Errorf("%+v", used["disk"])
	}
	if msg := OverLimit(p, used); msg != `Usage of EmptyDir volume "disk" exceeds the limit "1Mi". ` {
		t.Errorf("%q", msg)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cut, err := Measure(ctx, p, dir)
	if err != nil || !cut["disk"].Partial {
		t.Errorf("%+v, %v", cut, err)
	}
	must(t, New(Config{}).Teardown(t.Context(), dir))
	if used, err := Measure(t.Context(), p, dir); err != nil || len(used) > 0 {
		t.Errorf("%v, %v", used, err)
	}
}

// TestMeasureWhileMoved: directories that are moved about while it is measured
// end neither the walk nor the process.
func TestMeasureWhileMoved(t *testing.T) {
	dir := podDir(t)
	p := pod(v1.Volume{Name: "disk"})
	mounts, err := New(Config{}).Setup(t.Context(), p, dir)
	must(t, err)
	disk := mounts["disk"].HostPath
	for _, top := range []string{"x", "y"} {
		must(t, os.Mkdir(filepath.Join(disk, top), 0o700))
		deep(t, filepath.Join(disk, top), 200)
	}
	done := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(done)
		far := strings.Repeat("/d", 100)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, disk+"/x"+far, unix.AT_FDCWD, disk+"/y"+far, unix.RENAME_EXCHANGE)
				_ = unix.Rename(disk+"/x"+far, disk+"/away")
				_ = unix.Rename(disk+"/away", disk+"/x"+far)
			}
		}
	}()
	for range 200 {
		u, err := Measure(t.Context(), p, dir)
		must(t, err)
		if n := u["disk"].Inodes; n < 3 || n > 700 {
			t.Errorf("%d inodes", n)
		}
	}
	close(stop)
	<-done
}

func TestHugePages(t *testing.T) {
	huge := func(medium, size string) v1.Volume {
		v := limited("huge", size)
		v.EmptyDir.Medium = v1.StorageMedium(medium)
		return v
	}
	requests := func(p *v1.Pod, names ...string) *v1.Pod {
		p.Spec.Containers[0].Resources.Requests = v1.ResourceList{}
		for _, n := range names {
			p.Spec.Containers[0].Resources.Requests[v1.ResourceName(n)] = resource.MustParse("2Mi")
		}
		return p
	}
	failed := `MountVolume.SetUp failed for volume "huge" : `
	for _, tc := range []struct {
		medium   string
		requests []string
		want     string
	}{
		{"HugePages", nil, failed + "medium HugePages: hugePages storage requested, but there is no resource request for huge pages"},
		{"HugePages-2Mi", []string{"cpu", "hugepages-1Gi"}, failed + "medium HugePages-2Mi: hugePages storage requested, but there is no resource request for huge pages"},
		{"HugePages", []string{"hugepages-2Mi", "hugepages-1Gi"}, failed + "medium: HugePages can't be used if container requests multiple huge page sizes"},
		{"HugePages-3Mi", []string{"hugepages-3Mi"}, failed + "medium HugePages-3Mi: this node has no huge pages of 3Mi: choose one of "},
		{"Tape", nil, failed + `unknown storage medium "Tape": use "", Memory or HugePages`},
	} {
		_, err := New(Config{}).Setup(t.Context(), requests(pod(huge(tc.medium, "2Mi")), tc.requests...), podDir(t))
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", tc.medium, err, tc.want)
		}
	}
	if _, err := os.Stat(hugePages + "/hugepages-2048kB"); err != nil {
		return // the error above is all that such a node has to show
	}
	for _, medium := range []string{"HugePages", "HugePages-2Mi"} {
		dir := podDir(t)
		p := requests(pod(huge(medium, "4Mi")), "hugepages-2Mi")
		for range 2 {
			mounts, err := New(Config{}).Setup(t.Context(), p, dir)
			must(t, err)
			var st unix.Statfs_t
			must(t, unix.Statfs(mounts["huge"].HostPath, &st))
			if st.Type != unix.HUGETLBFS_MAGIC || st.Bsize != 2<<20 {
				t.Errorf("type %x, block size %d", st.Type, st.Bsize)
			}
		}
		if len(mountsBelow(t, dir)) != 1 {
			t.Errorf("mounts: %q", mountsBelow(t, dir))
		}
		must(t, New(Config{}).Teardown(t.Context(), dir))
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}
