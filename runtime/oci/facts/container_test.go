package facts

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/davit-agent/davit/runtime/oci"
)

func write(t *testing.T, content string, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSeccompProfile(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	outside, root := write(t, `{"secret": true}`, dir, "outside.json"), filepath.Join(dir, "seccomp")
	write(t, "good", root, "good.json")
	write(t, "deep", root, "profiles/deep.json")
	write(t, string(bytes.Repeat([]byte("x"), maxProfile)), root, "long.json")
	write(t, string(bytes.Repeat([]byte("x"), maxProfile+1)), root, "toolong.json")
	for name, to := range map[string]string{"inside.json": "profiles/deep.json", "up.json": "../outside.json", "abs.json": outside, "out": dir, "absin.json": root + "/good.json"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(root, "fifo.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"good.json": "good", "profiles/deep.json": "deep", "inside.json": "deep", "profiles/../good.json": "good", "long.json": strings.Repeat("x", maxProfile)} {
		if got, err := seccompProfile(root, name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"none.json":         "open " + root + "/none.json: no such file or directory; put it below " + root + " on the node, or change localhostProfile",
		"none/none.json":    "no such file or directory",
		"../outside.json":   "path escapes from parent",
		"up.json":           "path escapes from parent",
		"abs.json":          "path escapes from parent",
		"absin.json":        "path escapes from parent",
		"out/outside.json":  "path escapes from parent",
		outside:             "path escapes from parent",
		"profiles":          "it is not a plain file",
		"fifo.json":         "it is not a plain file",
		"toolong.json":      "it has more than 1048576 bytes",
		"good.json/x":       "not a directory",
		"a\x00b":            "invalid argument",
		"profiles/deep.js*": "no such file or directory",
	} {
		got, err := seccompProfile(root, name)
		var e *oci.Error
		if err == nil || !errors.As(err, &e) || oci.Reason(err) != "CreateContainerError" || !strings.Contains(err.Error(), want) ||
			!strings.HasPrefix(err.Error(), "cannot load seccomp profile ") || got != nil {
			t.Errorf("%q: %q, %v, want %s", name, got, err, want)
		}
	}
	if _, err := seccompProfile(filepath.Join(dir, "nothing"), "x.json"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("without a directory: %v", err)
	}
}

func TestForContainer(t *testing.T) {
	root := t.TempDir()
	write(t, "cri-containerd.apparmor.d (enforce)\nmy profile (complain)\n/usr/bin/x (enforce)\nhalf\n", root, "sys/kernel/security/apparmor/profiles")
	write(t, "{}", root, "seccomp/a.json")
	node := oci.Node{AppArmor: oci.AppArmor{Enabled: true}, SeccompLocalhost: oci.SeccompLocalhost{Root: filepath.Join(root, "seccomp")}}
	pod := &v1.Pod{}
	got, err := forContainer(root, node, pod, &v1.Container{})
	if err != nil {
		t.Fatal(err)
	}
	want := node
	want.AppArmor.Loaded = []string{"cri-containerd.apparmor.d", "my profile", "/usr/bin/x"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	local := &v1.SecurityContext{SeccompProfile: &v1.SeccompProfile{Type: "Localhost", LocalhostProfile: ptr.To("a.json")}}
	if got, err = forContainer(root, oci.Node{SeccompLocalhost: node.SeccompLocalhost}, pod, &v1.Container{SecurityContext: local}); err != nil {
		t.Fatal(err)
	}
	if string(got.SeccompLocalhost.Profile) != "{}" || got.Devices != nil || got.AppArmor.Loaded != nil {
		t.Errorf("%+v", got)
	}
	if got, err = ForContainer(oci.Node{}, pod, &v1.Container{SecurityContext: &v1.SecurityContext{Privileged: ptr.To(true)}}); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(got.Devices, func(d specs.LinuxDevice) bool { return d.Path == "/dev/null" }) {
		t.Errorf("a privileged container has no /dev/null: %v", got.Devices)
	}
	if names, err := appArmorProfiles(t.TempDir()); err != nil || names != nil {
		t.Errorf("without securityfs: %v, %v", names, err)
	}
}

func TestSELinux(t *testing.T) {
	root := t.TempDir()
	if got := selinux(root); got != (oci.SELinux{}) {
		t.Errorf("without a kernel's: %+v", got)
	}
	write(t, "1", root, "sys/fs/selinux/enforce")
	if got := selinux(root); got != (oci.SELinux{Enabled: true}) {
		t.Errorf("without a policy: %+v", got)
	}
	write(t, "# SELINUXTYPE=none\nSELINUX=enforcing\nSELINUXTYPE=targeted\n", root, "etc/selinux/config")
	write(t, "process = \"system_u:system_r:container_t:s0\"\ncontent = \"x\"\nfile = \"system_u:object_r:container_file_t:s0\"\n", root, "etc/selinux/targeted/contexts/lxc_contexts")
	want := oci.SELinux{Enabled: true, Process: "system_u:system_r:container_t:s0", File: "system_u:object_r:container_file_t:s0"}
	if got := selinux(root); got != want {
		t.Errorf("%+v", got)
	}
	write(t, "SELINUXTYPE=../targeted\n", root, "etc/selinux/config")
	if got := selinux(root); got != (oci.SELinux{Enabled: true}) {
		t.Errorf("a policy elsewhere: %+v", got)
	}
}
