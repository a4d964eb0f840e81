package manifests

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const web = `# a comment
kind: Pod
apiVersion: v1
metadata: {name: web}
spec:
  containers: [{name: c, image: i:1}]
`

func pod(name, ns, image string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: " + ns + "}\nspec: {containers: [{name: c, image: '" + image + "'}]}\n"
}

func read(t *testing.T, text string) []Object {
	t.Helper()
	objs, problems := Read([]byte(text), "in.yaml", "")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return objs
}

func put(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, dir string) *Dir {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// do applies a text and tells in short what became of it: "created pod/web in x.yaml".
func do(t *testing.T, dir, text string, force bool) string {
	t.Helper()
	d := open(t, dir)
	defer d.Close()
	changes, err := d.Apply(read(t, text), force)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, c := range changes {
		if err := d.Do(c); err != nil {
			t.Fatal(err)
		}
		out = append(out, string(c.Action)+" "+c.ID.String()+" in "+filepath.Base(c.Path))
	}
	return strings.Join(out, ", ")
}

func remove(t *testing.T, dir, kind, ns, name string) (string, error) {
	t.Helper()
	d := open(t, dir)
	defer d.Close()
	c, err := d.Delete(ID{kind, ns, name})
	if err != nil {
		return "", err
	}
	return filepath.Base(c.Path), d.Do(c)
}

func ls(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestApply(t *testing.T) {
	dir := t.TempDir()
	want(t, do(t, dir, web, false), "created pod/web in pod-default-web.yaml")
	want(t, do(t, dir, web, false), "unchanged pod/web in pod-default-web.yaml")
	want(t, do(t, dir, pod("web", "default", "i:1"), false), "unchanged pod/web in pod-default-web.yaml")
	want(t, do(t, dir, pod("web", "default", "i:2"), false), "configured pod/web in pod-default-web.yaml")
	text, err := os.ReadFile(filepath.Join(dir, "pod-default-web.yaml"))
	if err != nil || !strings.HasPrefix(string(text), Mark) {
		t.Errorf("%v: %q", err, text)
	}
	back, problems := Read(text, "x.yaml", "")
	if len(problems) > 0 || len(back) != 1 || string(back[0].content) != string(read(t, pod("web", "default", "i:2"))[0].content) {
		t.Errorf("it does not read back: %v, %v", problems, back)
	}
	info, err := os.Stat(filepath.Join(dir, "pod-default-web.yaml"))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	want(t, ls(t, dir), "pod-default-web.yaml")
}

// Kinds other than pods come first, and secrets are for their owner alone.
func TestSecret(t *testing.T) {
	dir := t.TempDir()
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hidden}\n"
	put(t, dir, aside, "left by a killed apply") // readable by all
	want(t, do(t, dir, web+"---\n"+secret, false), "created secret/s in secret-default-s.yaml, created pod/web in pod-default-web.yaml")
	info, err := os.Stat(filepath.Join(dir, "secret-default-s.yaml"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	want(t, ls(t, dir), "pod-default-web.yaml secret-default-s.yaml")
}

// Whatever text an object holds comes back from its file as it was.
func TestRoundTrip(t *testing.T) {
	for i, value := range []string{"yes", "0123", "1e3", "null", "~", " a", "a: b", "#x", "a\nb\n", "a\n\n", "\ttab", "- x", "'\"",
		"\u007f\u009b", "\u2028\u0085", "日本 ü", "\U0001f600", "{}", "%x", "@x", "|", ""} {
		quoted := strconv.QuoteToASCII(value)
		quoted = strings.NewReplacer(`\x7f`, `\u007f`, `\U0001f600`, `\ud83d\ude00`).Replace(quoted)
		dir := t.TempDir()
		text := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c%d"},"data":{"k":%s}}`, i, quoted)
		name := fmt.Sprintf("configmap/c%d in configmap-default-c%d.yaml", i, i)
		want(t, do(t, dir, text, false), "created "+name)
		want(t, do(t, dir, text, false), "unchanged "+name)
	}
}

func TestListsAndNamespaces(t *testing.T) {
	list := "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n  spec: {containers: [{name: c, image: i}]}\n- metadata: {name: b, namespace: x}\n  spec: {containers: [{name: c, image: i}]}\n"
	objs, problems := Read([]byte(list), "in.yaml", "shop")
	if len(problems) > 0 || len(objs) != 2 || objs[0].ID != (ID{"Pod", "shop", "a"}) || objs[1].ID != (ID{"Pod", "x", "b"}) || objs[0].Line != 4 {
		t.Errorf("%v, %v", objs, problems)
	}
	dir := t.TempDir()
	want(t, do(t, dir, list, false), "created pod/a in pod-default-a.yaml, created pod/b in pod-x-b.yaml")
}

func TestBadInput(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown field": {web + "---\n" + strings.Replace(web, "image", "imgae", 1),
			`in.yaml:13: Pod/default/web: unknown field "spec.containers[0].imgae", did you mean `},
		"empty": {"# nothing\n", "in.yaml:1: there is no object in it"},
		"reported": {web + "---\nkind: Pod\napiVersion: v1\nmetadata: {name: web-n1, annotations: {kubernetes.io/config.hash: x}}\nspec: {containers: [{name: c, image: i}]}\n",
			"in.yaml:8: Pod/default/web-n1: this is a pod as davit reports it"},
	} {
		objs, problems := Read([]byte(c.text), "in.yaml", "")
		if len(objs) != 0 || len(problems) != 1 || !strings.HasPrefix(problems[0].String(), c.want) {
			t.Errorf("%s: %v, %v; want %s", name, objs, problems, c.want)
		}
	}
	dir := t.TempDir()
	want(t, do(t, dir, web+"---\n"+web, false), "in.yaml:9: pod default/web stands in in.yaml:2 already: leave one of them out")
	want(t, ls(t, dir), "")
}

// What somebody else wrote is theirs.
func TestOthersFiles(t *testing.T) {
	dir := t.TempDir()
	mine, both := put(t, dir, "mine.yaml", web), put(t, dir, "both.yaml", pod("a", "default", "i")+"---\n"+pod("b", "default", "i"))
	link := filepath.Join(dir, "link.yaml")
	if err := os.Symlink(put(t, t.TempDir(), "far.yaml", pod("far", "default", "i")), link); err != nil {
		t.Fatal(err)
	}
	want(t, do(t, dir, web, false), "unchanged pod/web in mine.yaml")
	want(t, do(t, dir, pod("web", "default", "i:2"), false),
		"pod default/web stands in "+mine+":2, which davit apply did not write: edit that file, or replace it with --force")
	want(t, do(t, dir, pod("a", "default", "i:2")+"---\n"+pod("new", "default", "i"), true),
		"pod default/a stands in "+both+":1, together with others: edit that file")
	want(t, do(t, dir, pod("far", "default", "i:2"), true), "pod default/far stands in "+link+":1, which is a symbolic link: edit what it leads to")
	want(t, do(t, dir, pod("web", "default", "i:2"), true), "configured pod/web in mine.yaml")
	want(t, do(t, dir, pod("web", "default", "i:3"), false), "configured pod/web in mine.yaml")
	want(t, ls(t, dir), "both.yaml link.yaml mine.yaml")

	put(t, dir, "again.yaml", web)
	want(t, do(t, dir, web, true), "pod default/web stands in several places, "+filepath.Join(dir, "again.yaml")+":2 and "+mine+":2: remove all but one")
	put(t, dir, "torn.yaml", pod("t", "default", "i")+"---\n}{\n")
	if got := do(t, dir, pod("t", "default", "i:2"), true); !strings.Contains(got, "together with others") {
		t.Errorf("a file that does not parse is written over: %s", got)
	}
}

func TestJSON(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "web.json", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},"spec":{"terminationGracePeriodSeconds":9007199254740993,"containers":[{"name":"c","image":"i"}]}}`)
	want(t, do(t, dir, pod("web", "default", "i:2"), true), "configured pod/web in web.json")
	text, err := os.ReadFile(filepath.Join(dir, "web.json"))
	if objs, problems := Read(text, "x", ""); err != nil || len(problems) > 0 || len(objs) != 1 || text[0] != '{' {
		t.Errorf("%v: %s: %v", err, text, problems)
	}
}

// Both names give one file name.
func TestFileNames(t *testing.T) {
	dir := t.TempDir()
	got := do(t, dir, pod("c", "a-b", "i")+"---\n"+pod("b-c", "a", "i"), false)
	if !strings.HasPrefix(got, "created pod/c in pod-a-b-c.yaml, created pod/b-c in pod-a-b-c-") {
		t.Error(got)
	}
	want(t, do(t, dir, pod("b-c", "a", "i")+"---\n"+pod("c", "a-b", "i"), false)[:len("unchanged pod/b-c in pod-a-b-c-")], "unchanged pod/b-c in pod-a-b-c-")
	long := strings.Repeat(strings.Repeat("x", 60)+".", 4) + "yyyyyyyy"
	if got := do(t, dir, pod(long, "namespace", "i"), false); !strings.HasPrefix(got, "created ") {
		t.Error(got)
	}
}

func TestDelete(t *testing.T) {
	dir := t.TempDir()
	do(t, dir, web, false)
	put(t, dir, "both.yaml", pod("a", "default", "i")+"---\n"+pod("b", "default", "i"))
	put(t, dir, "mine.yaml", pod("m", "shop", "i"))
	for _, c := range []struct{ ns, name, file, err string }{
		{"default", "web", "pod-default-web.yaml", ""},
		{"default", "web", "", `pod "web" not found in the manifests of namespace "default"`},
		{"default", "a", "", "pod default/a stands in " + filepath.Join(dir, "both.yaml") + ":1, together with others: take it out of that file"},
		{"default", "m", "", `pod "m" not found in the manifests of namespace "default"; there is one in namespace shop: use -n shop`},
		{"shop", "m", "mine.yaml", ""},
	} {
		file, err := remove(t, dir, "Pod", c.ns, c.name)
		if file != c.file || (err == nil) != (c.err == "") {
			t.Errorf("%s: %s, %v", c.name, file, err)
		} else if err != nil && err.Error() != c.err {
			t.Errorf("%s: %v, want %s", c.name, err, c.err)
		}
	}
	if _, err := remove(t, dir, "Pod", "default", "web"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v is not ErrNotFound", err)
	}
	want(t, ls(t, dir), "both.yaml")
	if _, err := Open(filepath.Join(dir, "no")); err == nil || !strings.Contains(err.Error(), "mkdir -p") {
		t.Errorf("%v", err)
	}
}

// A reader never sees half a file, and a failed write leaves the old one.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	do(t, dir, web, false)
	d := open(t, dir)
	changes, err := d.Apply(read(t, pod("web", "default", "i:2")), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, aside), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, aside), "x", "") // so that it cannot be removed
	if err := d.Do(changes[0]); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	d.Close()
	if err := os.RemoveAll(filepath.Join(dir, aside)); err != nil {
		t.Fatal(err)
	}
	want(t, do(t, dir, web, false), "unchanged pod/web in pod-default-web.yaml")
}
