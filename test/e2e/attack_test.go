package e2e

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// generation is a ConfigMap whose keys prove that they belong together, as
// podtool's whole checks it.
func generation(name string, n int) string {
	kv := []string{fmt.Sprint("only-", n), fmt.Sprint(n)}
	for i := range 6 {
		kv = append(kv, fmt.Sprint("key-", i), fmt.Sprintf("%d\n%s", n, strings.Repeat(string(rune('a'+n%26)), 1+(n*7919+i*104729)%5000)))
	}
	rest := strings.Repeat(fmt.Sprintf("%d\n", n), 1+n*31%1000)
	kv = append(kv, "self", fmt.Sprintf("%x\n%s", sha256.Sum256([]byte(rest)), rest))
	var pairs [][2]string
	for i := 0; i < len(kv); i += 2 {
		pairs = append(pairs, [2]string{kv[i], kv[i+1]})
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	h := sha256.New()
	for _, p := range pairs {
		fmt.Fprintf(h, "%s %d %s", p[0], len(p[1]), p[1])
	}
	return object("ConfigMap", name, append(kv, "sum", fmt.Sprintf("%x", h.Sum(nil)))...)
}

// readWhileUpdated has containers read a volume all the time while its manifest
// is replaced perSecond times a second, and davit killed so many times.
func readWhileUpdated(t *testing.T, d time.Duration, perSecond, kills int) {
	n := node.Start(t, testbed.New(t, testbed.Options{}), node.Options{Level: "info"})
	n.Apply("volume.yaml", generation("volume", 0))
	readers := ""
	for _, v := range []string{"disk", "memory"} {
		readers += fmt.Sprintf("  - {name: %s, image: %q, command: [/bin/sh, -c, podtool whole /v %s >/dev/termination-log 2>&1], volumeMounts: [{name: %s, mountPath: /v}]}\n", v, node.Image, d, v)
	}
	n.Apply("reader.yaml", `apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  volumes: [{name: disk, configMap: {name: volume}}, {name: memory, projected: {sources: [{configMap: {name: volume}}]}}]
  containers:
  - {name: main, image: "`+node.Image+`", command: [/bin/podtool, sleep], volumeMounts: [{name: disk, mountPath: /disk}, {name: memory, mountPath: /memory}]}
`+readers)
	s := look(t, n, "reader", "main")
	before := s.root
	updates, killed, last := 0, 0, ""
	generations := map[string]bool{}
	var said map[string]string
	for began := time.Now(); len(said) < 2; {
		time.Sleep(time.Until(began.Add(time.Duration(updates) * time.Second / time.Duration(perSecond))))
		if killed < kills && time.Since(began) > time.Duration(killed+1)*d/time.Duration(kills+1) {
			killed++
			n.Kill()
			n.Start()
		}
		if time.Since(began) > d+patience {
			t.Fatalf("the readers do not end: %v", n.Pod("reader"))
		}
		updates++
		n.Apply("volume.yaml", generation("volume", updates))
		last = fmt.Sprint("only-", updates)
		if updates%20 == 0 {
			said = endsOf(n.Pod("reader"))
		}
		found, err := filepath.Glob(s.root + "/disk/only-*")
		if err == nil && len(found) > 0 {
			generations[filepath.Base(found[0])] = true
		}
	}
	n.Await()
	for dir, out := range said {
		var whole, late int
		if _, err := fmt.Sscanf(out, "%d whole, %d late", &whole, &late); err != nil || whole < 10 {
			t.Errorf("the reader of %s: %s", dir, out)
		}
		t.Logf("%s: %s", dir, strings.TrimSpace(out))
		s.becomes("/"+dir+"/"+last, strings.TrimPrefix(last, "only-"))
	}
	t.Logf("%d updates of the manifest, at least %d of them seen in the container, %d kills", updates, len(generations), killed)
	if len(generations) < 3 || killed < kills {
		t.Error("the volume was hardly updated, or davit hardly killed")
	}
	if now := look(t, n, "reader", "main").root; now != before {
		t.Errorf("the pod was touched: %s, before %s", now, before)
	}
	noLeaks(t, n)
}

// endsOf returns the termination messages of containers that have ended.
func endsOf(p *v1.Pod) map[string]string {
	said := map[string]string{}
	if p == nil { // davit is away
		return said
	}
	for _, c := range p.Status.ContainerStatuses {
		if end := c.State.Terminated; end != nil {
			said[c.Name] = end.Message
		}
	}
	return said
}

// oftenest is how often in a second a manifest can be replaced so that davit
// reads nearly every one: it waits for 10 ms of quiet, and reads one that gets
// no rest 10 times a second.
const oftenest = 75

// A container never sees a half-updated volume.
func TestReaderSeesWholeVolumes(t *testing.T) { readWhileUpdated(t, 3*time.Second, oftenest, 0) }

// attacked is a pod in which one container exchanges parts of a volume for links
// that lead out of it, and the others mount subPaths there, tell what they see,
// write something and are restarted once.
func attacked(name, outside string, victims int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  restartPolicy: OnFailure
  terminationGracePeriodSeconds: 1
  volumes: [{name: shared, emptyDir: {}}, {name: known, emptyDir: {}}]
  initContainers:
  - name: prepare
    image: "%s"
    command: [/bin/sh, -c, 'for d in first second third; do mkdir -p /shared/$d/b; for f in $d $d/b; do printf inside >/shared/$f/secret; done; done; ln -s third/b /shared/via']
    volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
  - name: attacker
    image: "%s"
    command: [/bin/podtool, swap, /shared, first, "%s", /shared/second, b, "%s/b", /shared/third/b, secret, "%s/secret"]
    volumeMounts: [{name: shared, mountPath: /shared}]
`, name, node.Image, node.Image, outside, strings.Repeat("../", 20)+outside[1:], outside)
	for i := range victims {
		sub, file := []string{"first", "first/b", "second/b", "first/b/secret", "second/b/secret", "third/b/secret", "via/secret"}[i%7], "/seen"
		if !strings.HasSuffix(sub, "secret") {
			file = "/seen/secret"
		}
		if i%7 == 0 && i > 0 { // to be made by davit
			sub, file = fmt.Sprintf("first/new-%d", i), "/etc/hostname"
		}
		fmt.Fprintf(&b, `  - name: victim-%d
    image: "%s"
    command: [/bin/sh, -c, 'cat %s >/dev/termination-log; touch /seen/written 2>/dev/null; [ -e /known/%d ] && exit 0; touch /known/%d; exit 1']
    volumeMounts: [{name: shared, mountPath: /seen, subPath: "%s"}, {name: known, mountPath: /known}]
`, i, node.Image, file, i, i, sub)
	}
	return b.String()
}

// attackSubPaths runs attacked pods, one after the other, for so long, at least
// one, and checks that nobody saw or made anything outside of the volume.
func attackSubPaths(t *testing.T, d time.Duration) {
	const victims, enough = 30, 15
	n := node.Start(t, testbed.New(t, testbed.Options{}), node.Options{Level: "info"})
	outside := n.Bed.Path("outside")
	for _, dir := range []string{outside, filepath.Join(outside, "b")} {
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("outside"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, outside)
	ran, refused := 0, 0
	for end := time.Now().Add(d); ; {
		n.Apply("attacked.yaml", attacked("attacked", outside, victims))
		var o outcome
		p := n.WaitPod("attacked", patience, func(p *v1.Pod) string {
			if o = victimsOf(p); o.ran < enough || o.done+o.refused < victims {
				return fmt.Sprintf("%d ran, %d are done, %d were refused", o.ran, o.done, o.refused)
			}
			return ""
		})
		for _, wrong := range o.wrong {
			t.Error(wrong)
		}
		for _, c := range p.Status.ContainerStatuses {
			if c.Name == "attacker" && (c.State.Running == nil || c.RestartCount > 0) {
				t.Errorf("the attacker gave up: %s", node.Brief(p))
			}
		}
		ran, refused = ran+o.ran, refused+o.refused
		n.Withdraw("attacked.yaml")
		n.WaitPod("attacked", patience, node.Gone)
		if time.Now().After(end) || t.Failed() {
			break
		}
	}
	if now := tree(t, outside); now != before {
		t.Errorf("outside of the volume there is\n%swhere there was\n%s", now, before)
	}
	t.Logf("%d containers ran to their end, %d were refused their subPath", ran, refused)
	if refused == 0 {
		t.Error("the attacker was never in the way: that tests nothing")
	}
	noLeaks(t, n)
}

// outcome is what became of the victims.
type outcome struct {
	ran           int      // attempts
	done, refused int      // victims
	wrong         []string // what must not have happened
}

// victimsOf looks at the victims of a pod. What they saw must be inside.
func victimsOf(p *v1.Pod) outcome {
	var o outcome
	if p == nil {
		return o
	}
	for _, c := range p.Status.ContainerStatuses {
		if c.Name == "attacker" {
			continue
		}
		if w := c.State.Waiting; w != nil && w.Reason == "CreateContainerConfigError" {
			o.refused++
			on := fmt.Sprintf(` for volumeMount "shared" of container %q`, c.Name)
			if w.Message != "failed to prepare subPath"+on && w.Message != "failed to create subPath directory"+on {
				o.wrong = append(o.wrong, fmt.Sprintf("%s waits with %q", c.Name, w.Message))
			}
		}
		for _, end := range []*v1.ContainerStateTerminated{c.State.Terminated, c.LastTerminationState.Terminated} {
			if end == nil {
				continue
			}
			o.ran++
			if end.ExitCode == 0 {
				o.done++
			}
			if end.ExitCode > 1 || end.Message != "inside" && strings.TrimSpace(end.Message) != "attacked-"+node.Name {
				o.wrong = append(o.wrong, fmt.Sprintf("%s ended with %d and saw %q", c.Name, end.ExitCode, end.Message))
			}
		}
	}
	return o
}

// tree lists what is below a directory.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		fmt.Fprintln(&b, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// No container gets out of its volume by a subPath, whatever another one does
// there meanwhile.
func TestSubPathAttack(t *testing.T) { attackSubPaths(t, 0) }
