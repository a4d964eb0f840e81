package source

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

const password = "apiVersion: v1\nkind: Secret\nmetadata: {name: pw}\nstringData: {pw: hunter2}\n"

// down makes the server answer nothing.
func (w *web) down() {
	w.serve(func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusServiceUnavailable) })
}

const downText = "http://H/pods: polling: the server answered 503 Service Unavailable (no content type); "

func TestURLStored(t *testing.T) {
	w := newWeb(t)
	w.down()
	w.turn()
	w.check("nothing yet", []string{}, downText+"no set was received yet, pods that run from it are kept")
	if w.set.Synced() || !w.set.Keep("u", "default", "x-n1", w.url.Origin()) {
		t.Error("synced without anything")
	}
	w.body(manifestOf("a") + "---\n" + password + "---\n" + settings)
	w.turn()
	uid := list(w.set)
	// The next process runs it with the server away.
	w.down()
	w.fresh()
	if w.said != 2 {
		t.Error("delivered before the server was asked")
	}
	w.turn()
	stale := downText + "the set received 2026-03-01T12:00:00Z (stored by an earlier run, 1h0m0s old when davit started) holds"
	w.check("stored", []string{"a-n1"}, stale)
	if diff := cmp.Diff(uid, list(w.set)); diff != "" || !w.set.Settled() {
		t.Errorf("UIDs (-want +got):\n%s", diff)
	}
	if s, ok := w.set.Secret("default", "pw"); !ok || string(s.Data["pw"]) != "hunter2" {
		t.Errorf("%v", s)
	}
	if p := w.set.List()[0]; p.Line != 1 || p.Origin != w.url.Origin() {
		t.Errorf("%+v", p)
	}
	if o, ok := w.set.Object("ConfigMap", "default", "settings"); !ok || o.Line != 12 || o.Origin != w.url.Origin() {
		t.Errorf("%+v", o)
	}
	if strings.Contains(w.log.String(), "hunter2") {
		t.Error("a secret is in the log")
	}
	// It is nobody else's to read.
	for path, mode := range map[string]fs.FileMode{w.cfg.Dir: 0o700, filepath.Join(w.cfg.Dir, storeName): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if entries, err := os.ReadDir(w.cfg.Dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if err := Forget(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Error(err)
	}
	// Another URL's set it is not.
	w.cfg.URL += "2"
	w.fresh()
	w.turn()
	w.check("another URL", []string{}, strings.Replace(downText, "/pods", "/pods2", 1)+"no set was received yet, pods that run from it are kept")
	if w.set.Synced() {
		t.Error("synced by another URL's set")
	}
	if err := Forget(w.cfg.Dir); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(w.cfg.Dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// A set that cannot be stored is used all the same, and an older one is not left
// in its place.
func TestURLNotStored(t *testing.T) {
	w := newWeb(t)
	w.body(manifestOf("a"))
	w.turn()
	w.check("stored", []string{"a-n1"})
	// A directory in the way of the temporary file: as root nothing else fails.
	tmp := filepath.Join(w.cfg.Dir, storeName+".tmp")
	if err := os.MkdirAll(filepath.Join(tmp, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.body(manifestOf("b"))
	w.turn()
	w.check("not stored", []string{"b-n1"}, "http://H/pods: warning: storing the set: remove D/set.json.tmp: directory not empty; after a restart of davit its pods are known only once the server answers")
	if _, err := os.Stat(filepath.Join(w.cfg.Dir, storeName)); !os.IsNotExist(err) {
		t.Errorf("the older set: %v", err)
	}
	if !w.set.Settled() {
		t.Error("a warning makes the set broken")
	}
	if err := os.RemoveAll(tmp); err != nil {
		t.Fatal(err)
	}
	w.body(manifestOf("c"))
	w.turn()
	w.check("stored again", []string{"c-n1"})
}

// A stored file that is damaged, or has what this davit does not take, does no
// harm.
func TestURLDamagedStore(t *testing.T) {
	w := newWeb(t)
	path := filepath.Join(w.cfg.Dir, storeName)
	if err := os.MkdirAll(w.cfg.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.fresh()
	}
	w.down()
	for _, text := range []string{"", "{", "hunter2", `{"origin":1}`, `{"items":"hunter2"}`} {
		put(text)
		w.turn()
		w.check(text, []string{}, downText+"no set was received yet, pods that run from it are kept", "http://H/pods: warning: reading the stored set: D/set.json is damaged")
		if w.set.Synced() {
			t.Errorf("%q: synced", text)
		}
	}
	put(fmt.Sprintf(`{"origin":%q,"received":"2026-03-01T12:00:00Z","etag":"\"x\"","items":[{"line":3,"kind":"Pod","object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i"}]}}},{"line":9,"kind":"Pod","object":{"apiVersion":"v9","kind":"Pod"}},{"line":10,"object":null},{"line":11}]}`, w.url.origin))
	w.turn()
	if got := w.names(); len(got) != 1 || got[0] != "a-n1" || !w.set.Broken(w.url.origin) || w.asked[len(w.asked)-1].Get("If-None-Match") != "" {
		t.Errorf("pods %q, problems %q", got, w.problems())
	}
	if got := w.problems(); len(got) < 2 || got[1] != `http://H/pods:9: Pod: not supported: kind Pod of apiVersion "v9", write "apiVersion: v1"` {
		t.Errorf("problems %q", got)
	}
}

// TestURLOlder: a mirror that lags changes nothing; a server that was set back
// does, after a while.
func TestURLOlder(t *testing.T) {
	w := newWeb(t)
	stamp := func(hours int) string { return day.Add(time.Duration(hours) * time.Hour).Format(http.TimeFormat) }
	w.body(manifestOf("new"), "Last-Modified", stamp(2))
	w.turn()
	w.check("new", []string{"new-n1"})
	lag := "http://H/pods: the server gives an older set (Last-Modified " + stamp(1) + ", the one that holds is of " + stamp(2) + "): it is taken if 3 polls in a row give it"
	lag = strings.Replace(lag, ", the one that holds is of "+stamp(2)+")", ") than the one that holds ("+stamp(2)+")", 1)
	for range 3 { // mirrors that take turns
		w.body(manifestOf("old"), "Last-Modified", stamp(1))
		w.turn()
		w.check("a mirror", []string{"new-n1"}, lag)
		w.turn()
		w.check("the mirror again", []string{"new-n1"}, lag)
		w.body(manifestOf("new"), "Last-Modified", stamp(2))
		w.turn()
		w.check("the other mirror", []string{"new-n1"})
	}
	// So it is after a restart.
	w.fresh()
	w.body(manifestOf("old"), "Last-Modified", stamp(1))
	w.turn()
	w.turn()
	w.check("after a restart", []string{"new-n1"}, lag)
	w.turn()
	w.check("set back", []string{"old-n1"})
	if !strings.Contains(w.log.String(), "the server went back to an older set") {
		t.Errorf("log: %s", w.log.String())
	}
	w.body(manifestOf("other"), "Last-Modified", "rubbish")
	w.turn()
	w.check("no time", []string{"other-n1"})
}

func TestURLImmutable(t *testing.T) {
	w := newWeb(t)
	w.body(settings + "immutable: true\n")
	w.turn()
	w.body(strings.Replace(settings, "\"1\"", "\"2\"", 1) + "immutable: true\n")
	w.turn()
	w.check("edited", []string{}, "http://H/pods:4: ConfigMap/default/settings: data: Forbidden: field is immutable when `immutable` is set: what it held is kept; give the object another name, or remove it before it is made anew")
	get := func() string {
		c, _ := w.set.ConfigMap(v1.NamespaceDefault, "settings")
		return c.Data["a"]
	}
	if get() != "1" {
		t.Errorf("a is %s", get())
	}
	w.down()
	w.fresh()
	w.turn()
	if get() != "1" {
		t.Errorf("after a restart a is %s", get())
	}
	w.body(manifestOf("a"))
	w.turn()
	w.body(strings.Replace(settings, "\"1\"", "\"2\"", 1) + "immutable: true\n")
	w.turn()
	w.check("made anew", []string{})
	if get() != "2" {
		t.Errorf("made anew a is %s", get())
	}
}

// Items of a list that leave out their kind come back as what they were.
func TestURLStoredList(t *testing.T) {
	w := newWeb(t)
	w.body(`{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"a","labels":{"x":"<\u00e4\n"}},"spec":{"containers":[{"name":"c","image":"i","args":["<&>","\u2028"]}]}}]}`)
	w.turn()
	w.check("labels", []string{}, `http://H/pods:1: Pod/default/a: metadata.labels: Invalid value: "<ä\n": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`)
	w.body(`{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"a"},"spec":{"terminationGracePeriodSeconds":1e1,"containers":[{"name":"c","image":"i","args":["<&>","\u2028"]}]}}]}`)
	w.turn()
	uids := list(w.set)
	w.down()
	w.fresh()
	w.turn()
	if diff := cmp.Diff(uids, list(w.set)); diff != "" || len(uids) != 1 {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if args := w.set.List()[0].Pod.Spec.Containers[0].Args; args[0] != "<&>" || args[1] != "\u2028" {
		t.Errorf("%q", args)
	}
}

// What cannot be read is told of again after the server was away meanwhile.
func TestURLTroubleComesBack(t *testing.T) {
	w := newWeb(t)
	page := `http://H/pods: what came is not manifests (text/html; charset=utf-8, beginning with "<html>"); no set was received yet, pods that run from it are kept`
	for range 2 {
		w.body("<html>")
		for range 2 {
			w.turn()
			got := w.problems()
			if len(got) == 0 || got[0] != page {
				t.Errorf("%q", got)
			}
		}
		w.down()
		w.turn()
		w.check("away", []string{}, downText+"no set was received yet, pods that run from it are kept")
	}
	if w.set.Synced() {
		t.Error("synced by a page")
	}
}

// TestURLAndDirectory runs both sources as the agent does.
func TestURLAndDirectory(t *testing.T) {
	w := newWeb(t)
	r := newRig(t, map[string]string{"a.yaml": manifestOf("a") + "---\n" + configOf("settings", "dir")})
	r.set = NewSet("dir", "url")
	w.cfg.PollInterval = 10 * time.Millisecond
	u, err := NewURL(w.cfg, slog.New(slog.DiscardHandler), func(s Snapshot) { r.set.Deliver("url", s) })
	if err != nil {
		t.Fatal(err)
	}
	w.body(manifestOf("b"))
	r.run()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- u.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	r.until([]string{"a-n1", "b-n1"})
	w.body(manifestOf("a") + "---\n" + configOf("settings", "url") + "---\n" + manifestOf("c"))
	taken := ", which was there first: change or remove one of them"
	r.until([]string{"a-n1", "c-n1"},
		w.cfg.URL+":1: Pod/default/a-n1: metadata.name: the name of pod default/a-n1 is taken by D/a.yaml:1"+taken,
		w.cfg.URL+":7: ConfigMap/default/settings: metadata.name: the name of ConfigMap default/settings is taken by D/a.yaml:7"+taken)
	if r.value() != "dir" {
		t.Errorf("value %s", r.value())
	}
	if err := os.Remove(r.path("a.yaml")); err != nil {
		t.Fatal(err)
	}
	r.untilValue("url")
	r.until([]string{"a-n1", "c-n1"})
	if got := r.set.List()[0].Origin; got != w.cfg.URL {
		t.Errorf("origin %s", got)
	}
}

// FuzzStored: whatever stands in the stored file, it is taken or refused.
func FuzzStored(f *testing.F) {
	for _, s := range []string{
		"", "{}", `{"origin":"http://h/","items":null}`, `{"origin":"http://h/","broken":true,"items":[{"line":-1,"kind":"Pod","object":{}}]}`,
		`{"origin":"http://h/","received":"x"}`, `{"origin":"http://h/","items":[{"line":1,"kind":"Secret","object":{"metadata":{"name":"a"},"data":{"a":"aGk="}}},{"kind":"\"","object":[]}]}`,
	} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	r := reader{nodeName: "n1", scheme: schemeURL, sources: true}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, storeName), data, 0o600); err != nil {
			t.Fatal(err)
		}
		set, err := store{dir}.load("http://h/")
		if err != nil || set == nil {
			return
		}
		for _, e := range r.text(set, day).entries {
			if origin, _ := e.where(); origin != "http://h/" || len(e.source) == 0 {
				t.Errorf("%+v", e)
			}
		}
	})
}
