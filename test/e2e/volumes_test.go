package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// object is a manifest of a ConfigMap or Secret with alternating keys and values.
func object(kind, name string, keysAndValues ...string) string {
	field := "data"
	if kind == "Secret" {
		field = "stringData"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: %s\nmetadata: {name: %s}\n%s:\n", kind, name, field)
	for i := 0; i+1 < len(keysAndValues); i += 2 {
		fmt.Fprintf(&b, "  %q: %q\n", keysAndValues[i], keysAndValues[i+1])
	}
	return b.String()
}

// containerPid returns a process of a container that runs: the first one, if
// nothing is executed in it at the moment.
func containerPid(t *testing.T, n *node.Node, pod, container string) int {
	t.Helper()
	var pid int
	testbed.Poll(t, patience, func() string {
		p := n.Pod(pod)
		if p == nil {
			return "there is no pod " + pod
		}
		for _, c := range p.Status.ContainerStatuses {
			if c.Name != container || c.State.Running == nil {
				continue
			}
			pids := podProcesses(t, strings.TrimPrefix(c.ContainerID, "containerd://"))
			if len(pids) == 0 {
				continue
			}
			pid = pids[0]
			// A moment after the start it may still be runc's init.
			if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && !strings.HasPrefix(string(comm), "runc") {
				return ""
			}
		}
		return "container " + container + " does not run: " + node.Brief(p)
	})
	return pid
}

// seen is for files in a container, read through the root of one of its
// processes: what the container sees, without the time that an exec takes.
type seen struct {
	t    *testing.T
	root string
}

func look(t *testing.T, n *node.Node, pod, container string) seen {
	t.Helper()
	return seen{t, fmt.Sprintf("/proc/%d/root", containerPid(t, n, pod, container))}
}

// is fails unless the files, alternating with their content, are so.
func (s seen) is(filesAndContent ...string) {
	s.t.Helper()
	for i := 0; i+1 < len(filesAndContent); i += 2 {
		if data, err := os.ReadFile(s.root + filesAndContent[i]); err != nil || string(data) != filesAndContent[i+1] {
			s.t.Errorf("%s: %q, %v, want %q", filesAndContent[i], data, err, filesAndContent[i+1])
		}
	}
}

// becomes waits until a file has a content; "" is for a file that is not there.
// It returns how long that took.
func (s seen) becomes(file, content string) time.Duration {
	s.t.Helper()
	began := time.Now()
	testbed.Poll(s.t, patience, func() string {
		data, err := os.ReadFile(s.root + file)
		if os.IsNotExist(err) && content == "" || err == nil && string(data) == content {
			return ""
		}
		return fmt.Sprintf("%s: %q, %v, want %q", file, data, err, content)
	})
	return time.Since(began)
}

// Every kind of volume that is made of files, with its modes and owners.
func TestVolumesOfFiles(t *testing.T) {
	n := start(t, "")
	binary := string([]byte{0, 1, 0xff, '\n'})
	n.Apply("settings.yaml", object("ConfigMap", "settings", "color", "blue", "size", "12\n")+
		"binaryData: {raw: "+base64.StdEncoding.EncodeToString([]byte(binary))+"}\n")
	n.Apply("key.yaml", object("Secret", "key", "password", "hunter2"))
	pod := func(name, security string) string {
		return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: web, tier: "back"}, annotations: {note: "two\nlines"}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: %s
  volumes:
  - {name: config, configMap: {name: settings}}
  - {name: items, configMap: {name: settings, defaultMode: 0440, items: [{key: color, path: deep/er/color}, {key: size, path: size, mode: 0600}]}}
  - {name: secret, secret: {secretName: key, defaultMode: 0400}}
  - {name: open, secret: {secretName: key}}
  - name: down
    downwardAPI:
      items:
      - {path: name, fieldRef: {fieldPath: metadata.name}}
      - {path: labels, fieldRef: {fieldPath: metadata.labels}}
      - {path: note, fieldRef: {fieldPath: "metadata.annotations['note']"}}
      - {path: memory, resourceFieldRef: {containerName: main, resource: limits.memory, divisor: 1Mi}}
  - name: all
    projected:
      defaultMode: 0444
      sources:
      - configMap: {name: settings, items: [{key: color, path: c/color}]}
      - secret: {name: key}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
      - configMap: {name: absent, optional: true}
  - {name: none, secret: {secretName: absent, optional: true}}
  - {name: empty, emptyDir: {}}
  containers:
  - name: main
    image: "%s"
    command: [/bin/podtool, sleep]
    resources: {limits: {memory: 64Mi}}
    volumeMounts: [{name: config, mountPath: /v/config}, {name: items, mountPath: /v/items}, {name: secret, mountPath: /v/secret},
      {name: open, mountPath: /v/open}, {name: down, mountPath: /v/down}, {name: all, mountPath: /v/all}, {name: none, mountPath: /v/none},
      {name: empty, mountPath: /v/empty}]
`, name, security, node.Image)
	}
	n.Apply("plain.yaml", pod("plain", "{}"))
	n.Apply("grouped.yaml", pod("grouped", "{runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000}"))
	n.WaitPod("plain", patience, node.Ready)
	look(t, n, "plain", "main").is("/v/config/color", "blue", "/v/config/size", "12\n", "/v/config/raw", binary,
		"/v/items/deep/er/color", "blue", "/v/items/size", "12\n", "/v/secret/password", "hunter2",
		"/v/down/name", "plain-"+node.Name, "/v/down/labels", "app=\"web\"\ntier=\"back\"", "/v/down/note", "two\nlines", "/v/down/memory", "64",
		"/v/all/c/color", "blue", "/v/all/password", "hunter2", "/v/all/namespace", "default")
	script := `cd /v; stat -L -c '%a %u:%g %n' config/color items/deep/er/color items/size secret/password open/password down/name all/c/color all/password
stat -c '%a %u:%g %n' empty; ls -A none | grep -v '^\.\.'
for v in secret open down all; do stat -f -c "%T $v" $v/..data; done
for v in config items secret down all; do touch $v/new 2>/dev/null && echo "$v was written"; done
id -u; id -G; cat secret/password; touch empty/made; stat -c '%u:%g %n' empty/made`
	for name, want := range map[string]string{
		"plain": `644 0:0 config/color
440 0:0 items/deep/er/color
600 0:0 items/size
400 0:0 secret/password
644 0:0 open/password
644 0:0 down/name
444 0:0 all/c/color
444 0:0 all/password
777 0:0 empty
tmpfs secret
tmpfs open
tmpfs down
tmpfs all
0
0
hunter20:0 empty/made
`,
		"grouped": `644 0:2000 config/color
440 0:2000 items/deep/er/color
640 0:2000 items/size
440 0:2000 secret/password
644 0:2000 open/password
644 0:2000 down/name
444 0:2000 all/c/color
444 0:2000 all/password
2777 0:2000 empty
tmpfs secret
tmpfs open
tmpfs down
tmpfs all
1000
1000 2000
hunter21000:2000 empty/made
`} {
		n.WaitPod(name, patience, node.Ready)
		if got := execIn(t, n, name, "main", "/bin/sh", "-c", script); got != want {
			t.Errorf("%s:\n%swant\n%s", name, got, want)
		}
		if out := execIn(t, n, name, "main", "/bin/cat", "/proc/self/mountinfo"); strings.Count(out, " /v/") != 8 || strings.Count(out, " ro,") < 7 {
			t.Errorf("%s: mounts:\n%s", name, out)
		}
	}
	log, err := os.ReadFile(n.Log)
	if err != nil || strings.Contains(string(log), "hunter2") {
		t.Errorf("the password is in davit's log, or %v", err)
	}
	noLeaks(t, n)
}

// Containers see a changed ConfigMap or Secret at once and do not restart, also
// when davit was killed and the change came while it was away; what is immutable
// and what cannot be read stays.
func TestVolumesFollowTheirObjects(t *testing.T) {
	n := start(t, "")
	set := func(generation string) {
		n.Apply("settings.yaml", object("ConfigMap", "settings", "g", generation))
		n.Apply("key.yaml", object("Secret", "key", "g", generation))
	}
	fixed := func(generation string) string {
		return object("ConfigMap", "fixed", "g", generation) + "immutable: true\n"
	}
	set("1")
	n.Apply("fixed.yaml", fixed("1"))
	n.Apply("follower.yaml", `apiVersion: v1
kind: Pod
metadata: {name: follower}
spec:
  terminationGracePeriodSeconds: 1
  volumes:
  - {name: config, configMap: {name: settings}}
  - {name: secret, secret: {secretName: key}}
  - {name: all, projected: {sources: [{configMap: {name: settings, items: [{key: g, path: config}]}}, {secret: {name: key, items: [{key: g, path: secret}]}}]}}
  - {name: fixed, configMap: {name: fixed}}
  - {name: maybe, configMap: {name: maybe, optional: true}}
  - {name: scratch, emptyDir: {}}
  containers:
  - name: main
    image: "`+node.Image+`"
    command: [/bin/podtool, sleep]
    volumeMounts: [{name: config, mountPath: /config}, {name: secret, mountPath: /secret}, {name: all, mountPath: /all}, {name: fixed, mountPath: /fixed},
      {name: maybe, mountPath: /maybe}, {name: config, mountPath: /once, subPath: g}, {name: scratch, mountPath: /config/deep/scratch}]
`)
	before := ids(n.WaitPod("follower", patience, node.Ready))
	s := look(t, n, "follower", "main")
	s.is("/config/g", "1", "/secret/g", "1", "/all/config", "1", "/all/secret", "1", "/fixed/g", "1", "/once", "1")
	execIn(t, n, "follower", "main", "/bin/podtool", "write", "/config/deep/scratch/file", "kept") // a mount inside of the volume
	follow := func(generation, how string) {
		t.Helper()
		began := time.Now()
		for _, file := range []string{"/config/g", "/secret/g", "/all/config", "/all/secret"} {
			s.becomes(file, generation)
		}
		t.Logf("%s: all volumes have it after %v", how, time.Since(began))
		s.is("/config/deep/scratch/file", "kept", "/once", "1") // a subPath is that of the container's start
	}
	set("2")
	follow("2", "an update")
	n.Apply("maybe.yaml", object("ConfigMap", "maybe", "late", "here"))
	s.becomes("/maybe/late", "here")
	n.Withdraw("maybe.yaml")
	s.becomes("/maybe/late", "")

	n.Apply("fixed.yaml", fixed("2"))
	problem(t, n, "fixed.yaml", "immutable")
	s.is("/fixed/g", "1")
	n.Kill()
	set("3")
	n.Start()
	follow("3", "an update while davit was away")
	n.Await()
	set("4")
	follow("4", "an update after that")
	n.Withdraw("settings.yaml")
	if err := os.WriteFile(filepath.Join(n.Manifests, "key.yaml"), []byte("kind: Secret\nstringData: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	problem(t, n, "key.yaml", "YAML")
	time.Sleep(time.Second)
	s.is("/config/g", "4", "/secret/g", "4", "/all/config", "4", "/all/secret", "4")
	if now := ids(n.Pod("follower")); now != before {
		t.Errorf("the pod was touched:\n%s\n%s", before, now)
	}

	// The next container has the new subPath.
	set("5")
	follow("5", "an update that mends all")
	if err := syscall.Kill(containerPid(t, n, "follower", "main"), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	n.WaitPod("follower", patience, func(p *v1.Pod) string {
		if p == nil || p.Status.ContainerStatuses[0].RestartCount != 1 {
			return "not restarted"
		}
		return node.Ready(p)
	})
	look(t, n, "follower", "main").is("/once", "5", "/config/g", "5")
	noLeaks(t, n)
}

// problem waits until davit get problems has a line with all the words.
func problem(t *testing.T, n *node.Node, words ...string) {
	t.Helper()
	testbed.Poll(t, patience, func() string {
		out, stderr, code := n.CLI("get", "problems")
	lines:
		for line := range strings.Lines(out) {
			for _, w := range words {
				if !strings.Contains(line, w) {
					continue lines
				}
			}
			return ""
		}
		return fmt.Sprintf("no problem with %q: exit %d\n%s%s", words, code, out, stderr)
	})
}

// What volumes lack is told in kubelet's words, and pods start when it is there.
func TestVolumesThatAreWaitedFor(t *testing.T) {
	n := start(t, "")
	dir := n.Bed.Path("not-yet")
	touch(t, dir)
	n.Apply("partial.yaml", object("ConfigMap", "partial", "a", "A"))
	for name, c := range map[string]struct{ volume, want string }{
		"config": {"configMap: {name: later}", `MountVolume.SetUp failed for volume "v" : configmap "later" not found`},
		"secret": {"secret: {secretName: later}", `MountVolume.SetUp failed for volume "v" : secret "later" not found`},
		"item":   {"configMap: {name: partial, items: [{key: b, path: b}]}", `MountVolume.SetUp failed for volume "v" : configmap references non-existent config key: b`},
		"host":   {"hostPath: {path: " + dir + ", type: Directory}", `MountVolume.SetUp failed for volume "v" : hostPath type check failed: ` + dir + ` is not a directory`},
	} {
		manifest := strings.Replace(podtool(name, "Always", "sleep"), "spec:\n", "spec:\n  volumes: [{name: v, "+c.volume+"}]\n", 1)
		n.Apply(name+".yaml", strings.Replace(manifest, "command:", "volumeMounts: [{name: v, mountPath: /v}], command:", 1))
		n.WaitPod(name, patience, waiting("ContainerCreating", c.want))
		if out, _, code := n.CLI("explain", "pod", name); code != 0 || !strings.Contains(out, c.want) {
			t.Errorf("explain pod %s: exit %d\n%s", name, code, out)
		}
	}
	n.Restart()
	n.WaitPod("config", patience, waiting("ContainerCreating", `configmap "later" not found`))
	n.Apply("later.yaml", object("ConfigMap", "later", "a", "A")+"---\n"+object("Secret", "later", "a", "A"))
	n.Apply("partial.yaml", object("ConfigMap", "partial", "a", "A", "b", "B"))
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config", "secret", "item", "host"} {
		p := n.WaitPod(name, patience, node.Ready)
		if c := p.Status.ContainerStatuses[0]; c.RestartCount != 0 {
			t.Errorf("%s: %s", name, node.Brief(p))
		}
	}
	noLeaks(t, n)
}

// A place in a volume, by a name that the environment completes.
func TestSubPathExpr(t *testing.T) {
	n := start(t, "")
	n.Apply("config.yaml", object("ConfigMap", "config", "a", "A", "b", "B"))
	n.Apply("subs.yaml", `apiVersion: v1
kind: Pod
metadata: {name: subs}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: data, emptyDir: {}}, {name: config, configMap: {name: config}}]
  containers:
  - name: part
    image: "`+node.Image+`"
    command: [/bin/podtool, sleep]
    env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: BOTH, value: "of-$(NAME)"}]
    volumeMounts: [{name: data, mountPath: /mine, subPathExpr: "logs/$(BOTH)"}, {name: config, mountPath: /etc/app/b.conf, subPath: b}]
  - name: whole
    image: "`+node.Image+`"
    command: [/bin/podtool, sleep]
    volumeMounts: [{name: data, mountPath: /all, readOnly: true}]
  - name: lost
    image: "`+node.Image+`"
    command: [/bin/podtool, sleep]
    volumeMounts: [{name: data, mountPath: /mine, subPathExpr: "$(NOBODY)"}]
`)
	look(t, n, "subs", "part").is("/etc/app/b.conf", "B")
	execIn(t, n, "subs", "part", "/bin/podtool", "write", "/mine/file", "mine")
	look(t, n, "subs", "whole").is("/all/logs/of-subs-"+node.Name+"/file", "mine")
	n.WaitPod("subs", patience, func(p *v1.Pod) string {
		if p != nil && strings.Contains(node.Brief(p), `lost restarts=0 waiting CreateContainerConfigError "missing value for NOBODY"`) {
			return ""
		}
		return "lost waits for something else: " + node.Brief(p)
	})
	noLeaks(t, n)
}

// Read-only mounts, with and without what is mounted below, and mounts that come
// to the host or to the container later.
func TestMountModes(t *testing.T) {
	bed := testbed.New(t, testbed.Options{})
	dir := bed.Path("shared")
	mount := func(source, target, kind string, flags uintptr) {
		t.Helper()
		if err := syscall.Mount(source, target, kind, flags, ""); err != nil {
			t.Fatalf("mounting %s: %v", target, err)
		}
	}
	for _, d := range []string{"", "/below", "/late", "/out"} {
		if err := os.Mkdir(dir+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	umount := func() {
		for _, d := range []string{"/out", "/late", "/below", ""} {
			_ = syscall.Unmount(dir+d, syscall.MNT_DETACH)
		}
	}
	t.Cleanup(umount)
	mount(dir, dir, "", syscall.MS_BIND)
	mount("", dir, "", syscall.MS_SHARED)
	mount("davit-test", dir+"/below", "tmpfs", 0)
	n := node.Start(t, bed, node.Options{})
	n.Apply("modes.yaml", `apiVersion: v1
kind: Pod
metadata: {name: modes}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: host, hostPath: {path: `+dir+`, type: Directory}}]
  containers:
  - name: main
    image: "`+node.Image+`"
    command: [/bin/podtool, sleep]
    securityContext: {privileged: true}
    volumeMounts:
    - {name: host, mountPath: /rw}
    - {name: host, mountPath: /ro, readOnly: true}
    - {name: host, mountPath: /rro, readOnly: true, recursiveReadOnly: Enabled}
    - {name: host, mountPath: /in, mountPropagation: HostToContainer}
    - {name: host, mountPath: /both, mountPropagation: Bidirectional}
`)
	private := bed.Path("private")
	if err := os.Mkdir(private, 0o755); err != nil {
		t.Fatal(err)
	}
	mount(private, private, "", syscall.MS_BIND)
	t.Cleanup(func() { _ = syscall.Unmount(private, syscall.MNT_DETACH) })
	mount("", private, "", syscall.MS_PRIVATE)
	manifest := strings.Replace(podtool("private", "Always", "sleep"), "spec:\n", "spec:\n  volumes: [{name: v, hostPath: {path: "+private+"}}]\n", 1)
	n.Apply("private.yaml", strings.Replace(manifest, "command:", "volumeMounts: [{name: v, mountPath: /v, mountPropagation: HostToContainer}], command:", 1))
	n.WaitPod("private", patience, waiting("CreateContainerError", fmt.Sprintf("path %q is mounted on %q but it is not a shared or slave mount", private, private)))

	p := n.WaitPod("modes", patience, node.Ready)
	got := execIn(t, n, "modes", "main", "/bin/sh", "-c", "for d in rw rw/below ro ro/below rro rro/below; do touch /$d/file 2>/dev/null && echo $d; done; :")
	if want := "rw\nrw/below\nro/below\n"; got != want {
		t.Errorf("what can be written:\n%swant\n%s", got, want)
	}
	for _, m := range p.Status.ContainerStatuses[0].VolumeMounts {
		if r := m.RecursiveReadOnly; m.MountPath == "/rro" && (r == nil || *r != v1.RecursiveReadOnlyEnabled) {
			t.Errorf("the status says of /rro: %+v", m)
		}
	}
	mount("davit-test", dir+"/late", "tmpfs", 0)
	touch(t, dir+"/late/file")
	execIn(t, n, "modes", "main", "/bin/mount", "-t", "tmpfs", "davit-test", "/both/out")
	got = execIn(t, n, "modes", "main", "/bin/sh", "-c", "touch /both/out/file; cd /; ls -d */late/file")
	if want := "both/late/file\nin/late/file\n"; got != want {
		t.Errorf("what was mounted on the host later is in\n%swant\n%s", got, want)
	}
	if _, err := os.Stat(dir + "/out/file"); err != nil {
		t.Errorf("what the container mounted is not on the host: %v", err)
	}
	for _, name := range []string{"modes", "private"} {
		n.Withdraw(name + ".yaml")
		n.WaitPod(name, patience, node.Gone)
	}
	umount()
	if err := syscall.Unmount(private, 0); err != nil {
		t.Error(err)
	}
	noLeaks(t, n)
}
