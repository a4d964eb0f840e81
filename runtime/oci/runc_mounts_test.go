package oci_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/davit-agent/davit/runtime/oci"
	"github.com/davit-agent/davit/runtime/oci/facts"
)

// mountTmpfs mounts a tmpfs on a directory that it makes, until the test ends.
func mountTmpfs(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		// Another of the same place may have come out of a container.
		for unix.Unmount(path, unix.MNT_DETACH) == nil {
		}
	})
}

// mountRig has one volume, a shared tmpfs in which m is a directory to mount on,
// at /data, and a directory for signs at /ctl.
func mountRig(t *testing.T, privileged bool, script string, m oci.Mount) *rig {
	t.Helper()
	pod := lookPod("mounts")
	c := &pod.Spec.Containers[0]
	c.Command[2] = script
	c.SecurityContext = &v1.SecurityContext{Privileged: ptr.To(privileged)}
	r := newRig(t, pod)
	for _, applet := range []string{"sleep", "mkdir"} {
		if err := os.Symlink("busybox", filepath.Join(r.dir, "rootfs/bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"ctl", "shared"} {
		if err := os.Mkdir(filepath.Join(r.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	volume := filepath.Join(r.dir, "shared")
	mountTmpfs(t, volume)
	if err := unix.Mount("", volume, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(volume, "m"), 0o755); err != nil {
		t.Fatal(err)
	}
	m.HostPath, m.ContainerPath = volume, "/data"
	r.in.Mounts = []oci.Mount{m, {HostPath: filepath.Join(r.dir, "ctl"), ContainerPath: "/ctl"}}
	return r
}

// await waits for a sign of the container's.
func await(t *testing.T, path string) bool {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return true
		}
		if t.Context().Err() != nil {
			return false
		}
	}
	t.Errorf("the container did not make %s", filepath.Base(path))
	return false
}

// waitForHost shows the file when the host has had a minute at most.
const waitForHost = `echo > /ctl/ready; i=0
while [ ! -e /ctl/go ] && [ $i -lt 1200 ]; do sleep 0.05; i=$((i+1)); done
echo "== seen"; cat /data/m/file`

// What is mounted on the host while the container runs is seen in it as far as
// its mountPropagation says.
func TestRuncHostToContainer(t *testing.T) {
	for mode, want := range map[v1.MountPropagationMode]string{
		v1.MountPropagationNone: "^below$", v1.MountPropagationHostToContainer: "^from the host$",
	} {
		t.Run(string(mode), func(t *testing.T) {
			r := mountRig(t, false, waitForHost, oci.Mount{Propagation: mode})
			m := filepath.Join(r.dir, "shared/m")
			if err := os.WriteFile(filepath.Join(m, "file"), []byte("below\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			host := make(chan error, 1)
			go func() {
				defer close(host)
				if !await(t, r.dir+"/ctl/ready") {
					return
				}
				host <- unix.Mount("tmpfs", m, "tmpfs", 0, "size=1m")
				if err := os.WriteFile(filepath.Join(m, "file"), []byte("from the host\n"), 0o644); err != nil {
					t.Error(err)
				}
				if err := os.WriteFile(r.dir+"/ctl/go", nil, 0o644); err != nil {
					t.Error(err)
				}
			}()
			t.Cleanup(func() {
				for range host { // until it is done
				}
				_ = unix.Unmount(m, unix.MNT_DETACH)
			})
			got, _ := r.run(t)
			if err := <-host; err != nil {
				t.Fatal(err)
			}
			r.expect(t, got, map[string]string{"seen": want})
		})
	}
}

// What a privileged container mounts is seen on the host if its mountPropagation
// is Bidirectional, and stays there.
func TestRuncBidirectional(t *testing.T) {
	for _, mode := range []v1.MountPropagationMode{v1.MountPropagationHostToContainer, v1.MountPropagationBidirectional} {
		t.Run(string(mode), func(t *testing.T) {
			r := mountRig(t, true, `mount -t tmpfs tmpfs /data/m && echo inside > /data/m/file && echo "== seen" && cat /data/m/file`, oci.Mount{Propagation: mode})
			m := filepath.Join(r.dir, "shared/m")
			t.Cleanup(func() { _ = unix.Unmount(m, unix.MNT_DETACH) })
			got, _ := r.run(t)
			r.expect(t, got, map[string]string{"seen": "^inside$"})
			_, err := os.Stat(filepath.Join(m, "file"))
			if seen := err == nil; seen != (mode == v1.MountPropagationBidirectional) {
				t.Errorf("seen on the host: %v (%v)", seen, err)
			}
		})
	}
}

// readOnly holds for the volume itself, recursiveReadOnly for what is mounted in
// it too.
func TestRuncRecursiveReadOnly(t *testing.T) {
	node, err := facts.Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, recursive := range []bool{false, true} {
		if recursive && !node.RecursiveReadOnly {
			t.Logf("this node cannot do it") // Spec says so: TestRefused
			continue
		}
		r := mountRig(t, false, `for d in /data /data/m; do echo "== $d"; (echo x > $d/new) 2>/dev/null && echo writable || echo read-only; done`,
			oci.Mount{ReadOnly: true, RecursiveReadOnly: recursive})
		mountTmpfs(t, filepath.Join(r.dir, "shared/m"))
		got, _ := r.run(t)
		want := map[string]string{"/data": "^read-only$", "/data/m": "^writable$"}
		if recursive {
			want["/data/m"] = "^read-only$"
		}
		r.expect(t, got, want)
	}
}
