package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/agent/server/wire"
)

func manifest(name, image string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec: {containers: [{name: c, image: '" + image + "'}]}\n"
}

func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestApply(t *testing.T) {
	n := serveNode(t)
	src := t.TempDir()
	one, two := put(t, filepath.Join(src, "one.yaml"), manifest("one", "i:1")), put(t, filepath.Join(src, "two.yml"), manifest("two", "i:1"))
	put(t, filepath.Join(src, "notes.txt"), "no manifest")
	n.says(t,
		says{args: "apply -f " + one + " --dry-run", out: "pod/one created (dry run)\n"},
		says{args: "apply -f " + one, out: "pod/one created\n"},
		says{args: "apply -f " + src, out: "pod/one unchanged\npod/two created\n"},
		says{args: "apply -n shop -f " + two, out: "pod/two created\n"},
	)
	put(t, one, manifest("one", "i:2"))
	n.says(t, says{args: "apply -f " + one + " -f " + two, out: "pod/one configured\npod/two unchanged\n"})
	if out, _, code := davit(t, n.socket, manifest("three", "i"), "apply", "-f", "-"); out != "pod/three created\n" || code != 0 {
		t.Errorf("stdin: %q, %d", out, code)
	}
	files, err := filepath.Glob(filepath.Join(n.dir, "*"))
	if got := strings.ReplaceAll(strings.Join(files, " "), n.dir+"/", ""); err != nil || got != "pod-default-one.yaml pod-default-three.yaml pod-default-two.yaml pod-shop-two.yaml" {
		t.Errorf("%v: %s", err, got)
	}
}

// One bad object keeps all others from being written.
func TestApplyRefuses(t *testing.T) {
	n := serveNode(t)
	src := t.TempDir()
	good, bad := put(t, filepath.Join(src, "good.yaml"), manifest("good", "i")), put(t, filepath.Join(src, "bad.yaml"), manifest("bad", "i")+"---\n"+strings.Replace(manifest("x", "i"), "image", "imgae", 1))
	theirs := put(t, filepath.Join(n.dir, "theirs.yaml"), manifest("web", "i:1"))
	web := put(t, filepath.Join(src, "web.yaml"), manifest("web", "i:2"))
	n.says(t,
		says{args: "apply", code: 2, errs: "apply what?"},
		says{args: "apply x", code: 2, errs: `unknown command "x"`},
		says{args: "apply -f " + good + " -f " + bad, code: 1, errs: bad + `:9: Pod/default/x: unknown field "spec.containers[0].imgae", did you mean`},
		says{args: "apply -f " + src + "/none.yaml", code: 1, errs: "reading " + src + "/none.yaml: no such file or directory"},
		says{args: "apply -f " + good + " -f " + web, code: 1, errs: "nothing is written: pod default/web stands in " + theirs + ":1, which davit apply did not write: edit that file, or replace it with --force"},
		says{args: "apply -f " + t.TempDir(), code: 1, errs: "there is no *.yaml"},
		says{args: "apply -f " + web + " --force", out: "pod/web configured\n"},
	)
	files, err := filepath.Glob(filepath.Join(n.dir, "*"))
	if err != nil || len(files) != 1 || files[0] != theirs {
		t.Errorf("%v: %v", err, files)
	}
}

// madeOf is a pod as the daemon makes it of a manifest.
func madeOf(name, uid string, phase v1.PodPhase, ready v1.ConditionStatus) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name + "-n1", UID: types.UID(uid), Annotations: map[string]string{"kubernetes.io/config.hash": uid}},
		Spec:   v1.PodSpec{NodeName: "n1", Containers: []v1.Container{{Name: "c"}}},
		Status: v1.PodStatus{Phase: phase, Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: ready}}}}
}

// soon does something once a file of the manifest directory is there, or gone.
func (n *node) soon(t *testing.T, name string, there bool, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 600 {
			if _, err := os.Stat(filepath.Join(n.dir, name)); (err == nil) == there {
				time.Sleep(300 * time.Millisecond) // so that somebody waits
				do()
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	t.Cleanup(func() { <-done })
}

func TestApplyWaits(t *testing.T) {
	n := serveNode(t)
	n.table.Set(madeOf("a", "old", v1.PodRunning, v1.ConditionTrue)) // is not what is waited for
	file := put(t, filepath.Join(t.TempDir(), "a.yaml"), manifest("a", "i"))
	n.soon(t, "pod-default-a.yaml", true, func() {
		n.table.Set(madeOf("a", "new", v1.PodPending, v1.ConditionFalse))
		time.Sleep(300 * time.Millisecond)
		n.table.Set(madeOf("a", "new", v1.PodRunning, v1.ConditionTrue))
	})
	n.says(t,
		says{args: "apply --wait -f " + file, out: "pod/a created\npod/a is Ready\n"},
		says{args: "apply --wait -f " + file, out: "pod/a unchanged\npod/a is Ready\n"},
	)
	n.table.Delete("old")
	n.table.Delete("new")
	n.table.Set(madeOf("a", "never", v1.PodPending, v1.ConditionFalse))
	n.explain("never", wire.Explanation{Pod: &lifecycle.Explanation{Why: "it \x1bwaits"}})
	n.says(t, says{args: "apply --wait --timeout 300ms -f " + file, code: 1, out: "pod/a unchanged\n", errs: `error: pod/a is not Ready after 300ms: it \x1bwaits`})
	n.table.Set(madeOf("a", "never", v1.PodFailed, v1.ConditionFalse))
	n.says(t, says{args: "apply --wait -f " + file, code: 1, out: "pod/a unchanged\n", errs: "pod default/a-n1 has failed: see 'davit explain pod a-n1 -n default'"})
	n.table.Delete("never")
	n.complain(wire.Problem{File: filepath.Join(n.dir, "pod-default-a.yaml"), Line: 4, Message: "no"})
	n.says(t, says{args: "apply --wait -f " + file, code: 1, out: "pod/a unchanged\n", errs: "pod-default-a.yaml:4: no"})
}

func TestDelete(t *testing.T) {
	n := serveNode(t)
	src := put(t, filepath.Join(t.TempDir(), "a.yaml"), manifest("a", "i")+"---\n"+manifest("b", "i"))
	both := put(t, filepath.Join(n.dir, "both.yaml"), manifest("x", "i")+"---\n"+manifest("y", "i"))
	n.explain("u1", wire.Explanation{Origin: "http://far/pods", Pod: &lifecycle.Explanation{}})
	n.table.Set(madeOf("a", "ua", v1.PodRunning, v1.ConditionTrue))
	n.says(t,
		says{args: "apply -f " + src, out: "pod/a created\npod/b created\n"},
		says{args: "delete", code: 2, errs: "delete what?"},
		says{args: "delete pod", code: 2, errs: "delete which pod?"},
		says{args: "delete node n1", code: 2, errs: "nodes cannot be deleted"},
		says{args: "delete pod a -f " + src, code: 2, errs: "names and -f cannot be given together"},
		says{args: "delete pod x", code: 1, errs: "pod default/x stands in " + both + ":1, together with others: take it out of that file"},
		says{args: "delete pod a none", code: 1, errs: `pod "none" not found in the manifests of namespace "default"`},
		says{args: "delete pod none --ignore-not-found"},
		says{args: "delete pod web", code: 1, errs: "pod default/web-n1 does not come from the manifest directory " + n.dir + " but from http://far/pods: remove it there"},
		says{args: "delete pod a-n1 --dry-run", out: "pod \"a\" deleted (dry run) from default namespace\n"},
	)
	var gone atomic.Bool
	n.soon(t, "pod-default-a.yaml", false, func() { gone.Store(true); n.table.Delete("ua") })
	n.says(t, says{args: "delete pod/a-n1", out: "pod \"a\" deleted from default namespace\n"})
	if !gone.Load() {
		t.Error("delete does not wait for its pod")
	}
	n.says(t,
		says{args: "delete -f " + src, code: 1, errs: `pod "a" not found`},
		says{args: "delete --ignore-not-found -f " + src, out: "pod \"b\" deleted from default namespace\n"},
	)
	if files, err := os.ReadDir(n.dir); err != nil || len(files) != 1 {
		t.Errorf("%v: %v", err, files)
	}
}
