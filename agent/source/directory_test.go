package source

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

func manifestOf(name string, more ...string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec:\n  containers: [{name: c, image: i}]\n" + strings.Join(more, "")
}

// rig is a Directory that runs on a real directory.
type rig struct {
	t   *testing.T
	dir string
	set *Set
	d   *Directory
	end func()
}

// newRig makes a directory with these files and a source that does not run yet.
func newRig(t *testing.T, files map[string]string) *rig {
	t.Helper()
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "manifests")}
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		r.write(name, text)
	}
	r.fresh()
	return r
}

// fresh makes a new Set and Directory, as a restart of the agent does.
func (r *rig) fresh() {
	r.set = NewSet("dir")
	r.d = NewDirectory(r.dir, "N1", slog.New(slog.DiscardHandler), func(s Snapshot) { r.set.Deliver("dir", s) })
}

func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.d.Run(ctx) }()
	ended := false
	r.end = func() {
		if !ended {
			ended = true
			cancel()
			if err := <-done; err != nil {
				r.t.Error(err)
			}
		}
	}
	r.t.Cleanup(r.end)
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// write puts a file into place by rename.
func (r *rig) write(name, text string) {
	r.t.Helper()
	tmp := filepath.Join(filepath.Dir(r.dir), "tmp")
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(tmp, r.path(name)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) names() []string {
	out := []string{}
	for _, p := range r.set.List() {
		out = append(out, p.Pod.Name)
	}
	return out
}

func (r *rig) problems() string {
	var out []string
	for _, p := range r.set.Problems() {
		out = append(out, strings.ReplaceAll(p.String(), r.dir, "D"))
	}
	return strings.Join(out, "\n")
}

// until polls until the pods and problems are these.
func (r *rig) until(names []string, problems ...string) {
	r.t.Helper()
	want := strings.Join(problems, "\n")
	deadline := time.Now().Add(30 * time.Second)
	for !slices.Equal(r.names(), names) || r.problems() != want {
		if time.Now().After(deadline) {
			r.t.Fatalf("pods %q, want %q; problems:\n%s\nwant:\n%s", r.names(), names, r.problems(), want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// never fails when, within a while, a pod goes missing.
func (r *rig) never(missing string, d time.Duration) {
	r.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if !slices.Contains(r.names(), missing) {
			r.t.Fatalf("%s is gone; problems: %s", missing, r.problems())
		}
	}
}

func TestIdentity(t *testing.T) {
	r := newRig(t, map[string]string{"a.yaml": manifestOf("web"), "b.yaml": strings.Replace(manifestOf("own"), "{name: own}", "{name: own, uid: my-uid, namespace: ns}", 1)})
	r.run()
	r.until([]string{"web-n1", "own-n1"})
	web, own := r.set.List()[0], r.set.List()[1]
	uid := string(web.Pod.UID)
	if !regexp.MustCompile("^[0-9a-f]{32}$").MatchString(uid) {
		t.Errorf("UID %q", uid)
	}
	if web.Pod.Namespace != "default" || web.Pod.Spec.NodeName != "N1" || web.Origin != r.path("a.yaml") || web.Line != 1 || web.Pod.Status.Phase != v1.PodPending {
		t.Errorf("%+v", web)
	}
	notes := web.Pod.Annotations
	if _, err := time.Parse(time.RFC3339Nano, notes[AnnotationSeen]); err != nil || notes[AnnotationHash] != uid || notes[AnnotationSource] != "file" {
		t.Errorf("annotations %v: %v", notes, err)
	}
	if diff := cmp.Diff([]v1.Toleration{{Operator: "Exists", Effect: "NoExecute"}}, web.Pod.Spec.Tolerations); diff != "" {
		t.Error(diff)
	}
	if own.Pod.UID != "my-uid" || own.Pod.Namespace != "ns" {
		t.Errorf("%+v", own.Pod.ObjectMeta)
	}
	// A comment is no edit, another command is, and so is another file.
	r.write("a.yaml", "# c\n"+manifestOf("web"))
	r.write("c.yaml", manifestOf("sign")) // shows that a.yaml was looked at
	r.until([]string{"sign-n1", "web-n1", "own-n1"})
	if got := r.set.List()[1].Pod; string(got.UID) != uid || got.Annotations[AnnotationSeen] != notes[AnnotationSeen] {
		t.Errorf("a comment made another pod: %v", got.ObjectMeta)
	}
	r.write("a.yaml", manifestOf("web", "  hostname: h\n"))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if got := r.set.List(); len(got) == 3 && string(got[1].Pod.UID) != uid {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("an edit made no other pod")
		}
	}
	r.end()
	// The same content gives the same UID to the next process.
	r.write("a.yaml", manifestOf("web"))
	r.fresh()
	r.run()
	r.until([]string{"sign-n1", "web-n1", "own-n1"})
	if got := string(r.set.List()[1].Pod.UID); got != uid {
		t.Errorf("UID %s after a restart, was %s", got, uid)
	}
}

func TestFilesThatCount(t *testing.T) {
	r := newRig(t, map[string]string{
		"a.yaml": manifestOf("a"), "b.yml": manifestOf("b"), "c.json": `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"c"},"spec":{"containers":[{"name":"c","image":"i"}]}}`,
		"d.yaml~": manifestOf("d"), ".e.yaml": manifestOf("e"), "f.txt": manifestOf("f"), ".g.yaml.swp": manifestOf("g"), "#h.yaml": manifestOf("h"), "i.yaml.bak": manifestOf("i"),
		"list.yaml": "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(manifestOf("l")), "\n", "\n  ") + "\n---\n" + manifestOf("m"),
	})
	if err := os.Mkdir(r.path("dir.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.path("dir.yaml/x.yaml"), []byte(manifestOf("x")), 0o644); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.until([]string{"a-n1", "b-n1", "c-n1", "l-n1", "m-n1"})
}

func TestChanges(t *testing.T) {
	r := newRig(t, nil)
	r.run()
	for deadline := time.Now().Add(30 * time.Second); !r.set.Synced(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an empty directory is not synced")
		}
	}
	r.write("a.yaml", manifestOf("a"))
	r.until([]string{"a-n1"})
	r.write("b.yaml", manifestOf("b"))
	r.until([]string{"a-n1", "b-n1"})
	if err := os.Rename(r.path("b.yaml"), r.path("c.yaml")); err != nil {
		t.Fatal(err)
	}
	r.write("a.yaml", manifestOf("z"))
	r.until([]string{"b-n1", "z-n1"})
	if got, _ := filepath.Rel(r.dir, r.set.List()[0].Origin); got != "c.yaml" {
		t.Errorf("origin %s", got)
	}
	if err := os.Remove(r.path("a.yaml")); err != nil {
		t.Fatal(err)
	}
	r.until([]string{"b-n1"})
}

func TestBadFileHidesNothing(t *testing.T) {
	r := newRig(t, map[string]string{"a.yaml": manifestOf("a"), "b.yaml": manifestOf("b") + "---\n" + manifestOf("c") + "---\n" + manifestOf("d")})
	r.run()
	r.until([]string{"a-n1", "b-n1", "c-n1", "d-n1"})
	uid := r.set.List()[1].Pod.UID
	bad := "D/b.yaml:11: Pod/default/c: unknown field \"spec.hostnam\", did you mean \"hostname\"?"
	// c is broken, b is edited, d is not there any more: c and d are kept.
	r.write("b.yaml", manifestOf("b", "  hostname: h\n")+"---\n"+manifestOf("c", "  hostnam: h\n"))
	r.until([]string{"a-n1", "b-n1", "c-n1", "d-n1"}, strings.Replace(bad, ":11:", ":13:", 1), "D/b.yaml: 2 objects that it defined before it was broken are kept as they were")
	if r.set.List()[1].Pod.UID == uid {
		t.Error("the good document of a broken file was not taken")
	}
	if !r.set.Broken(r.path("b.yaml")) || r.set.Broken(r.path("a.yaml")) {
		t.Error("Broken is wrong")
	}
	// Not even YAML, empty, a dangling link, a FIFO: all is kept.
	r.write("b.yaml", "{{{")
	r.until([]string{"a-n1", "b-n1", "c-n1", "d-n1"}, "D/b.yaml:1: this is not valid JSON: invalid character '{'", "D/b.yaml: 3 objects that it defined before it was broken are kept as they were")
	r.write("b.yaml", "# nothing\n")
	r.until([]string{"a-n1", "b-n1", "c-n1", "d-n1"}, "D/b.yaml:1: there is no object in this file: remove the file if that is meant", "D/b.yaml: 3 objects that it defined before it was broken are kept as they were")
	if err := os.Remove(r.path("b.yaml")); err != nil {
		t.Fatal(err)
	}
	r.until([]string{"a-n1"})
}

func TestUnreadableFiles(t *testing.T) {
	r := newRig(t, map[string]string{"a.yaml": manifestOf("a"), "b.yaml": manifestOf("b")})
	r.run()
	r.until([]string{"a-n1", "b-n1"})
	link := filepath.Join(filepath.Dir(r.dir), "link")
	if err := os.Symlink("/nonexistent/x", link); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link, r.path("a.yaml")); err != nil {
		t.Fatal(err)
	}
	r.until([]string{"a-n1", "b-n1"}, "D/a.yaml: reading the manifest: it is a symbolic link to a file that does not exist; what it last defined is kept")
	if err := os.Symlink("a.yaml", link); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link, r.path("a.yaml")); err != nil {
		t.Fatal(err)
	}
	r.until([]string{"a-n1", "b-n1"}, "D/a.yaml: reading the manifest: too many levels of symbolic links; what it last defined is kept")
	mkfifo(t, link)
	if err := os.Rename(link, r.path("a.yaml")); err != nil {
		t.Fatal(err)
	}
	r.until([]string{"a-n1", "b-n1"}, "D/a.yaml: reading the manifest: it is not a regular file; what it last defined is kept")
	r.write("a.yaml", manifestOf("a"))
	r.until([]string{"a-n1", "b-n1"})
}

// TestDirectoryComesAndGoes: what cannot be read is not empty.
func TestDirectoryComesAndGoes(t *testing.T) {
	r := newRig(t, map[string]string{"a.yaml": manifestOf("a")})
	away := r.dir + ".away"
	gone := "D: the manifest directory does not exist: create it; pods that run from it are kept until then"
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(r.dir, away)
	r.run()
	r.until([]string{}, gone)
	if r.set.Synced() {
		t.Error("synced without a directory")
	}
	move(away, r.dir)
	r.until([]string{"a-n1"})
	if !r.set.Synced() {
		t.Error("not synced")
	}
	move(r.dir, away)
	r.until([]string{"a-n1"}, gone)
	if err := os.WriteFile(r.dir, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r.until([]string{"a-n1"}, "D: reading the manifest directory: not a directory; pods that run from it are kept")
	if err := os.Remove(r.dir); err != nil {
		t.Fatal(err)
	}
	// It comes back with other content, and inotify works on the new one.
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.until([]string{})
	r.write("b.yaml", manifestOf("b"))
	r.until([]string{"b-n1"})
	// Removed and made at once, it is another directory under the same name.
	if err := os.RemoveAll(r.dir); err != nil {
		t.Fatal(err)
	}
	move(away, r.dir)
	r.until([]string{"a-n1"})
}

// TestMountedVolume swaps ..data as kubelet does in ConfigMap volumes.
func TestMountedVolume(t *testing.T) {
	r := newRig(t, nil)
	for i, name := range []string{"a", "b"} {
		if err := os.Mkdir(r.path(fmt.Sprint("..", i)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.path(fmt.Sprintf("..%d/pod.yaml", i)), []byte(manifestOf(name)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	swap := func(to string) {
		if err := os.Symlink(to, r.path("..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(r.path("..tmp"), r.path("..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("..0")
	if err := os.Symlink("..data/pod.yaml", r.path("pod.yaml")); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.until([]string{"a-n1"})
	swap("..1")
	r.until([]string{"b-n1"})
}

// TestPartialWrites: a file that is held open is not read while it is written,
// although what is in it is a valid manifest at several moments.
func TestPartialWrites(t *testing.T) {
	r := newRig(t, map[string]string{"a.yaml": manifestOf("a")})
	r.run()
	r.until([]string{"a-n1"})
	f, err := os.OpenFile(r.path("a.yaml"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{manifestOf("half"), "---\n", manifestOf("b")} {
		r.never("a-n1", 200*time.Millisecond)
		if _, err := f.WriteString(part); err != nil {
			t.Fatal(err)
		}
	}
	r.never("a-n1", 200*time.Millisecond)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r.until([]string{"b-n1", "half-n1"})
	// One that stays open is read after a while.
	f, err = os.OpenFile(r.path("c.yaml"), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString(manifestOf("c")); err != nil {
		t.Fatal(err)
	}
	r.until([]string{"b-n1", "c-n1", "half-n1"})
}

func TestDuplicateNames(t *testing.T) {
	r := newRig(t, map[string]string{"b.yaml": manifestOf("p")})
	r.run()
	r.until([]string{"p-n1"})
	old := "D/%s:1: Pod/default/p-n1: metadata.name: the name of pod default/p-n1 is taken by D/%s:1, which was there first: change or remove one of them"
	// The one that was there first keeps the name, also when it is edited.
	r.write("a.yaml", manifestOf("p", "  hostname: other\n"))
	r.until([]string{"p-n1"}, fmt.Sprintf(old, "a.yaml", "b.yaml"))
	r.write("b.yaml", manifestOf("p", "  hostname: edited\n"))
	for deadline := time.Now().Add(30 * time.Second); r.set.List()[0].Pod.Spec.Hostname != "edited"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the edit is not seen")
		}
	}
	r.until([]string{"p-n1"}, fmt.Sprintf(old, "a.yaml", "b.yaml"))
	r.end()

	// After a restart the records say who had it, else the older file has it.
	r.fresh()
	r.d.Hold("default", "p-n1", r.path("b.yaml"))
	r.run()
	r.until([]string{"p-n1"}, fmt.Sprintf(old, "a.yaml", "b.yaml"))
	r.end()
	r.fresh()
	r.run()
	r.until([]string{"p-n1"}, fmt.Sprintf(old, "b.yaml", "a.yaml"))
	r.end()

	// A name that a broken file holds goes to nobody else.
	r.write("b.yaml", "x: [")
	r.fresh()
	r.d.Hold("default", "p-n1", r.path("b.yaml"))
	r.run()
	r.until([]string{}, "D/b.yaml:1: this is not valid YAML: did not find expected node content",
		"D/a.yaml:1: Pod/default/p-n1: metadata.name: the name is that of a pod from D/b.yaml, which cannot be read now: repair or remove that file")
	if !r.set.Keep("u", "default", "p-n1", r.path("b.yaml")) {
		t.Error("the pod of the broken file is not kept")
	}
	if err := os.Remove(r.path("b.yaml")); err != nil {
		t.Fatal(err)
	}
	r.until([]string{"p-n1"})
	if r.set.List()[0].Origin != r.path("a.yaml") {
		t.Error("the name is not given on")
	}
	r.write("c.yaml", manifestOf("q")+"---\n"+manifestOf("q"))
	r.until([]string{"p-n1", "q-n1"}, "D/c.yaml:7: Pod/default/q-n1: metadata.name: the name of pod default/q-n1 is taken by D/c.yaml:1, which was there first: change or remove one of them")
}

func TestNodeNameMakesNameTooLong(t *testing.T) {
	r := newRig(t, map[string]string{"a.yaml": manifestOf(strings.Repeat("a", 252))})
	r.run()
	r.until([]string{}, fmt.Sprintf("D/a.yaml:3: Pod/default/%s-n1: metadata.name: with the node's name it becomes %q: must be no more than 253 characters", strings.Repeat("a", 252), strings.Repeat("a", 252)+"-n1"))
}

func TestManyFiles(t *testing.T) {
	files := map[string]string{}
	const n = 3000
	for i := range n {
		files[fmt.Sprintf("f%04d.yaml", i)] = manifestOf(fmt.Sprintf("p%04d", i))
	}
	r := newRig(t, files)
	r.run()
	deadline := time.Now().Add(2 * time.Minute)
	for len(r.set.List()) < n {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d pods", len(r.set.List()), n)
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.write("f0000.yaml", "kaputt")
	for !r.set.Broken(r.path("f0000.yaml")) {
		if time.Now().After(deadline) {
			t.Fatal("a change among many files is not seen")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if len(r.set.List()) != n {
		t.Errorf("%d pods", len(r.set.List()))
	}
}

func TestTooManyFiles(t *testing.T) {
	r := newRig(t, nil)
	for i := range maxFiles + 1 {
		if err := os.WriteFile(r.path(fmt.Sprintf("%05d.yaml", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	names, problems := r.d.list()
	if len(names) != maxFiles || len(problems) != 1 || !strings.HasSuffix(problems[0].Message, "the manifest directory has 10001 manifests, only the first 10000 by name are read: put several pods into one file") {
		t.Errorf("%d names, %v", len(names), problems)
	}
}
