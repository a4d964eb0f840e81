package volumes

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// objects are those of namespace "ns"; it counts look-ups.
type objects struct {
	configMaps map[string]*v1.ConfigMap
	secrets    map[string]*v1.Secret
	lookups    int
}

func (o *objects) ConfigMap(namespace, name string) (*v1.ConfigMap, bool) {
	o.lookups++
	cm, ok := o.configMaps[name]
	return cm, ok && namespace == "ns"
}

func (o *objects) Secret(namespace, name string) (*v1.Secret, bool) {
	o.lookups++
	s, ok := o.secrets[name]
	return s, ok && namespace == "ns"
}

func world() (*objects, *Maker) {
	o := &objects{configMaps: map[string]*v1.ConfigMap{}, secrets: map[string]*v1.Secret{}}
	return o, maker(o)
}

func maker(o *objects) *Maker {
	return New(Config{
		Objects: o,
		Field: func(pod *v1.Pod, ref *v1.ObjectFieldSelector) (string, error) {
			if ref.FieldPath != "metadata.labels" {
				return "", fmt.Errorf("unsupported fieldPath: %v", ref.FieldPath)
			}
			return fmt.Sprint(pod.Labels), nil
		},
		Resource: func(_ *v1.Pod, container string, ref *v1.ResourceFieldSelector, allocatable v1.ResourceList) (string, error) {
			return container + " " + ref.Resource + " " + allocatable.Cpu().String(), nil
		},
		Allocatable: func() v1.ResourceList { return nil },
	})
}

func (o *objects) setConfigMap(name string, data ...string) *v1.ConfigMap {
	cm := &v1.ConfigMap{Data: map[string]string{}}
	for i := 0; i < len(data); i += 2 {
		cm.Data[data[i]] = data[i+1]
	}
	o.configMaps[name] = cm
	return cm
}

func (o *objects) setSecret(name string, data ...string) *v1.Secret {
	s := &v1.Secret{Data: map[string][]byte{}}
	for i := 0; i < len(data); i += 2 {
		s.Data[data[i]] = []byte(data[i+1])
	}
	o.secrets[name] = s
	return s
}

func ofConfigMap(name string) v1.Volume {
	return v1.Volume{Name: name, VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: name}}}}
}

func ofSecret(name string) v1.Volume {
	return v1.Volume{Name: name, VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: name}}}
}

func ofFields(name string) v1.Volume {
	return v1.Volume{Name: name, VolumeSource: v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{Items: []v1.DownwardAPIVolumeFile{
		{Path: "labels", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
		{Path: "cpu", ResourceFieldRef: &v1.ResourceFieldSelector{ContainerName: "c", Resource: "limits.cpu"}},
	}}}}
}

// ofAll is projected from the ConfigMap, the Secret and the fields of that name.
func ofAll(name string) v1.Volume {
	return v1.Volume{Name: name, VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{DefaultMode: ptr.To(int32(0o400)), Sources: []v1.VolumeProjection{
		{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: v1.LocalObjectReference{Name: name}}},
		{Secret: &v1.SecretProjection{LocalObjectReference: v1.LocalObjectReference{Name: name}}},
		{DownwardAPI: &v1.DownwardAPIProjection{Items: ofFields("").DownwardAPI.Items}},
	}}}}
}

func inNS(volumes ...v1.Volume) *v1.Pod {
	p := pod(volumes...)
	p.ObjectMeta = metav1.ObjectMeta{Namespace: "ns", Name: "p", Labels: map[string]string{"app": "x"}}
	return p
}

func expectFile(t *testing.T, path, want string) {
	t.Helper()
	if data, err := os.ReadFile(path); err != nil || string(data) != want {
		t.Errorf("%s: %q, %v; want %q", filepath.Base(path), data, err, want)
	}
}

func expectNone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v", path, err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestFiles: each kind in kubelet's place, on the kind of file system that it is
// to be on, read-only.
func TestFiles(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := podDir(t)
	o, m := world()
	o.setConfigMap("cm", "a", "A")
	o.setSecret("sec", "pw", "geheim")
	o.setConfigMap("all", "a", "A")
	o.setSecret("all", "pw", "geheim")
	mounts, err := m.Setup(t.Context(), inNS(ofConfigMap("cm"), ofSecret("sec"), ofFields("fields"), ofAll("all")), dir)
	must(t, err)
	for _, tc := range []struct {
		name, kind string
		memory     bool
		files      map[string]string
	}{
		{"cm", "configmap", false, map[string]string{"a": "A"}},
		{"sec", "secret", true, map[string]string{"pw": "geheim"}},
		{"fields", "downward-api", true, map[string]string{"labels": "map[app:x]", "cpu": "c limits.cpu 0"}},
		{"all", "projected", true, map[string]string{"a": "A", "pw": "geheim", "labels": "map[app:x]", "cpu": "c limits.cpu 0"}},
	} {
		path := filepath.Join(dir, "volumes/kubernetes.io~"+tc.kind, tc.name)
		if want := (Mount{HostPath: path, ReadOnly: true}); mounts[tc.name] != want {
			t.Errorf("%+v, want %+v", mounts[tc.name], want)
		}
		for name, content := range tc.files {
			expectFile(t, filepath.Join(path, name), content)
			mode := fs.FileMode(0o644)
			if tc.name == "all" {
				mode = 0o400
			}
			if info, err := os.Stat(filepath.Join(path, name)); err != nil || info.Mode() != mode {
				t.Errorf("%s/%s: %v, want %v", tc.name, name, info.Mode(), mode)
			}
		}
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != 0o777 || info.Mode()&fs.ModeSetgid != 0 {
			t.Errorf("%s: %v", tc.name, info.Mode())
		}
		var st unix.Statfs_t
		must(t, unix.Statfs(path, &st))
		if memory := st.Type == unix.TMPFS_MAGIC; memory != tc.memory {
			t.Errorf("%s: in memory %v", tc.name, memory)
		}
	}
	if len(mountsBelow(t, dir)) != 3 {
		t.Errorf("mounts: %q", mountsBelow(t, dir))
	}
	must(t, m.Teardown(t.Context(), dir))
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 || len(mountsBelow(t, dir)) > 0 {
		t.Errorf("left behind: %v, %v, %v", left, mountsBelow(t, dir), err)
	}
}

// TestFSGroup owns all that is made, but no hostPath.
func TestFSGroup(t *testing.T) {
	dir, hostDir := podDir(t), t.TempDir()
	o, m := world()
	o.setConfigMap("cm", "a", "A")
	o.setSecret("sec", "pw", "geheim")
	p := inNS(ofConfigMap("cm"), ofSecret("sec"), ofFields("fields"), v1.Volume{Name: "disk"}, memory("1Mi"), host(hostDir, ""))
	p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: ptr.To(int64(4711)), FSGroupChangePolicy: ptr.To(v1.FSGroupChangeOnRootMismatch)}
	for range 2 {
		mounts, err := m.Setup(t.Context(), p, dir)
		must(t, err)
		for name, mode := range map[string]fs.FileMode{
			"cm": fs.ModeDir | fs.ModeSetgid | 0o777, "sec": fs.ModeDir | fs.ModeSetgid | fs.ModeSticky | 0o777,
			"fields": fs.ModeDir | fs.ModeSetgid | fs.ModeSticky | 0o777, "disk": fs.ModeDir | fs.ModeSetgid | 0o777,
			"mem": fs.ModeDir | fs.ModeSetgid | fs.ModeSticky | 0o777, "sec/pw": 0o644,
		} {
			volume, file, _ := strings.Cut(name, "/")
			info, err := os.Stat(filepath.Join(mounts[volume].HostPath, file))
			must(t, err)
			if info.Mode() != mode || info.Sys().(*syscall.Stat_t).Gid != 4711 {
				t.Errorf("%s: %v, gid %d; want %v", name, info.Mode(), info.Sys().(*syscall.Stat_t).Gid, mode)
			}
		}
	}
	if info, err := os.Stat(hostDir); err != nil || info.Sys().(*syscall.Stat_t).Gid != 0 {
		t.Errorf("hostPath: %v", err)
	}
}

func TestFilesUpdate(t *testing.T) {
	dir := podDir(t)
	o, m := world()
	o.setConfigMap("cm", "a", "A", "old", "O")
	o.setSecret("all", "pw", "1")
	o.setConfigMap("all")
	p := inNS(ofConfigMap("cm"), ofAll("all"))
	setup := func() map[string]Mount {
		mounts, err := m.Setup(t.Context(), p, dir)
		must(t, err)
		return mounts
	}
	mounts := setup()
	cm, all := mounts["cm"].HostPath, mounts["all"].HostPath
	before := generation(t, cm)

	setup()
	o.setConfigMap("cm", "a", "A", "old", "O") // another object of the same content
	setup()
	if now := generation(t, cm); now != before {
		t.Errorf("it was written again: %s, %s", before, now)
	}
	m = maker(o) // another process
	setup()
	if now := generation(t, cm); now != before {
		t.Errorf("a restart wrote it again: %s, %s", before, now)
	}

	o.setConfigMap("cm", "a", "A2", "new", "N")
	o.setSecret("all", "pw", "2")
	p.Labels["app"] = "y"
	setup()
	expectFile(t, filepath.Join(cm, "a"), "A2")
	expectFile(t, filepath.Join(cm, "new"), "N")
	expectNone(t, filepath.Join(cm, "old"))
	expectFile(t, filepath.Join(all, "pw"), "2")
	expectFile(t, filepath.Join(all, "labels"), "map[app:y]")
	eventually(t, "what was replaced is removed", func() bool {
		_, err := os.Lstat(filepath.Join(cm, before))
		found, globErr := filepath.Glob(filepath.Join(all, "..2*"))
		must(t, globErr)
		return errors.Is(err, fs.ErrNotExist) && len(found) == 1
	})
	expectFile(t, filepath.Join(all, "pw"), "2")

	// What is broken keeps its content and keeps nobody from an update.
	delete(o.secrets, "all")
	o.setConfigMap("cm", "a", "A3")
	mounts, err := m.Setup(t.Context(), p, dir)
	if want := `MountVolume.SetUp failed for volume "all" : secret "all" not found`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if len(mounts) != 1 {
		t.Errorf("mounts: %v", mounts)
	}
	expectFile(t, filepath.Join(cm, "a"), "A3")
	expectFile(t, filepath.Join(all, "pw"), "2")

	// A tmpfs that somebody unmounted, as after a reboot.
	o.setSecret("all", "pw", "2")
	must(t, unix.Unmount(all, unix.MNT_DETACH))
	setup()
	expectFile(t, filepath.Join(all, "pw"), "2")
	var st unix.Statfs_t
	must(t, unix.Statfs(all, &st))
	if st.Type != unix.TMPFS_MAGIC {
		t.Error("a secret lies on disk")
	}
}

// generation is the name of what ..data points to.
func generation(t *testing.T, dir string) string {
	t.Helper()
	name, err := os.Readlink(filepath.Join(dir, "..data"))
	must(t, err)
	return name
}

func TestFilesImmutable(t *testing.T) {
	dir := podDir(t)
	o, m := world()
	o.setConfigMap("cm", "a", "A").Immutable = ptr.To(true)
	o.setSecret("sec", "pw", "1").Immutable = ptr.To(true)
	p := inNS(ofConfigMap("cm"), ofSecret("sec"))
	for i := range 3 {
		mounts, err := m.Setup(t.Context(), p, dir)
		must(t, err)
		expectFile(t, filepath.Join(mounts["cm"].HostPath, "a"), "A")
		expectFile(t, filepath.Join(mounts["sec"].HostPath, "pw"), "1")
		if o.lookups != 2 {
			t.Errorf("after %d times: %d look-ups", i+1, o.lookups)
		}
		o.setConfigMap("cm", "a", "changed")
		delete(o.secrets, "sec")
	}
}

func TestFilesOptional(t *testing.T) {
	dir := podDir(t)
	o, m := world()
	v := ofConfigMap("cm")
	v.ConfigMap.Optional = ptr.To(true)
	p := inNS(v)
	for _, want := range []bool{false, true, false} {
		if want {
			o.setConfigMap("cm", "a", "A")
		} else {
			delete(o.configMaps, "cm")
		}
		mounts, err := m.Setup(t.Context(), p, dir)
		must(t, err)
		if _, err := os.Stat(filepath.Join(mounts["cm"].HostPath, "a")); (err == nil) != want {
			t.Errorf("there: %v, want %v", err, want)
		}
	}
}

// While it is not known what objects there are, those that seem to be gone take
// nothing away, and a new volume has to do without.
func TestFilesUnsettled(t *testing.T) {
	dir := podDir(t)
	o, m := world()
	settled := true
	m.c.Settled = func() bool { return settled }
	v, other := ofConfigMap("cm"), ofConfigMap("other")
	v.ConfigMap.Optional, other.ConfigMap.Optional = ptr.To(true), ptr.To(true)
	has := func(want string, p *v1.Pod) {
		t.Helper()
		mounts, err := m.Setup(t.Context(), p, dir)
		must(t, err)
		data, _ := os.ReadFile(filepath.Join(mounts["cm"].HostPath, "a"))
		if string(data) != want {
			t.Errorf("it holds %q, want %q", data, want)
		}
	}
	o.setConfigMap("cm", "a", "A")
	has("A", inNS(v))
	settled = false
	delete(o.configMaps, "cm")
	has("A", inNS(v, other))
	m = maker(o) // davit was restarted
	m.c.Settled = func() bool { return settled }
	has("A", inNS(v, other))
	o.setConfigMap("cm", "a", "B")
	has("B", inNS(v, other))
	delete(o.configMaps, "cm")
	settled = true
	has("", inNS(v, other))
}

// TestFilesMessages are kubelet's; all volumes that fail are named.
func TestFilesMessages(t *testing.T) {
	dir := podDir(t)
	o, m := world()
	o.setConfigMap("cm", "a", "geheim")
	key := ofConfigMap("cm")
	key.ConfigMap.Items = []v1.KeyToPath{{Key: "k", Path: "k"}}
	p := inNS(ofConfigMap("none"), key, ofSecret("sec"), v1.Volume{Name: "disk"})
	mounts, err := m.Setup(t.Context(), p, dir)
	want := `MountVolume.SetUp failed for volume "none" : configmap "none" not found
MountVolume.SetUp failed for volume "cm" : configmap references non-existent config key: k
MountVolume.SetUp failed for volume "sec" : secret "sec" not found`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if len(mounts) != 1 || mounts["disk"].HostPath == "" {
		t.Errorf("mounts: %v", mounts)
	}
	if len(mountsBelow(t, dir)) != 0 {
		t.Errorf("mounts: %q", mountsBelow(t, dir))
	}
}

// TestSecretOnNoDisk: nothing of it is in the directory below the tmpfs, before
// and after.
func TestSecretOnNoDisk(t *testing.T) {
	dir := podDir(t)
	o, m := world()
	o.setSecret("sec", "pw", "geheim")
	p := inNS(ofSecret("sec"))
	mounts, err := m.Setup(t.Context(), p, dir)
	must(t, err)
	path := mounts["sec"].HostPath
	must(t, unix.Unmount(path, unix.MNT_DETACH))
	if left, err := os.ReadDir(path); err != nil || len(left) > 0 {
		t.Errorf("below the mount: %v, %v", left, err)
	}
}

// TestNestedMountpoints: a volume that is mounted inside of a read-only one
// needs a directory there.
func TestNestedMountpoints(t *testing.T) {
	dir := podDir(t)
	o, m := world()
	o.setConfigMap("cm", "a", "A")
	p := inNS(ofConfigMap("cm"), v1.Volume{Name: "disk"}, v1.Volume{Name: "other"})
	mount := func(name, path string) v1.VolumeMount { return v1.VolumeMount{Name: name, MountPath: path} }
	p.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{
		mount("disk", "/etc/conf/cache/deep/x"), mount("cm", "/etc/conf"), mount("other", "/etc/conf/cache"), mount("disk", "/etc/config"), mount("other", "/etc/conf/..data/x"),
	}
	sub := mount("cm", "/one")
	sub.SubPath = "a"
	p.Spec.InitContainers = []v1.Container{{Name: "i", VolumeMounts: []v1.VolumeMount{mount("cm", "/"), mount("disk", "/var/lib"), sub, mount("disk", "/one/two")}}}
	mounts, err := m.Setup(t.Context(), p, dir)
	must(t, err)
	for _, name := range []string{"cache", "var/lib", "one"} {
		if info, err := os.Lstat(filepath.Join(mounts["cm"].HostPath, name)); err != nil || !info.IsDir() {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"cache/deep", "one/two", "two", "ig"} {
		expectNone(t, filepath.Join(mounts["cm"].HostPath, name))
	}
	expectFile(t, filepath.Join(mounts["cm"].HostPath, "a"), "A")
}

// TestLargeConfigMap: as large as an API server allows, and cheap when nothing
// changes.
func TestLargeConfigMap(t *testing.T) {
	dir := podDir(t)
	o, m := world()
	cm := o.setConfigMap("cm")
	for i := range 10000 {
		cm.Data[fmt.Sprint("key", i)] = "v"
	}
	cm.BinaryData = map[string][]byte{"bin": bytes.Repeat([]byte{0, 255}, 512<<10)}
	p := inNS(ofConfigMap("cm"))
	mounts, err := m.Setup(t.Context(), p, dir)
	must(t, err)
	path := mounts["cm"].HostPath
	found, err := os.ReadDir(path)
	must(t, err)
	if len(found) != 10001+2 {
		t.Errorf("%d entries", len(found))
	}
	expectFile(t, filepath.Join(path, "bin"), string(cm.BinaryData["bin"]))
	if allocs := testing.AllocsPerRun(10, func() { _, _ = m.Setup(t.Context(), p, dir) }); allocs > 200 {
		t.Errorf("%v allocations for nothing", allocs)
	}
	must(t, m.Teardown(t.Context(), dir))
}
