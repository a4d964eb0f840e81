package source

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var day = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// web is a URL source, its Set and the server that it asks.
type web struct {
	t      *testing.T
	cfg    URLConfig
	log    bytes.Buffer
	set    *Set
	url    *URL
	said   int // snapshots
	server *httptest.Server

	mu     sync.Mutex
	handle http.HandlerFunc
	asked  []http.Header
}

func newWeb(t *testing.T) *web {
	t.Helper()
	w := &web{t: t}
	w.server = httptest.NewServer(w)
	t.Cleanup(w.server.Close)
	w.cfg = URLConfig{URL: w.server.URL + "/pods", NodeName: "N1", Dir: filepath.Join(t.TempDir(), "sources", "url")}
	w.fresh()
	return w
}

// ServeHTTP answers with what the test set.
func (w *web) ServeHTTP(out http.ResponseWriter, req *http.Request) {
	w.mu.Lock()
	w.asked = append(w.asked, req.Header.Clone())
	handle := w.handle
	w.mu.Unlock()
	handle(out, req)
}

func (w *web) serve(handle http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handle = handle
}

// body serves a text.
func (w *web) body(text string, headers ...string) {
	w.serve(func(out http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			out.Header().Set(headers[i], headers[i+1])
		}
		_, _ = io.WriteString(out, text) // the client may have gone
	})
}

// fresh makes a new Set and source, as a restart of the agent does.
func (w *web) fresh() {
	w.t.Helper()
	w.set = NewSet("url")
	var err error
	w.url, err = NewURL(w.cfg, slog.New(slog.NewTextHandler(&w.log, nil)), func(s Snapshot) { w.said++; w.set.Deliver("url", s) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.url.close)
	w.url.load(day.Add(time.Hour))
}

func (w *web) turn() {
	w.t.Helper()
	w.url.turn(context.Background(), func() time.Time { return day })
}

func (w *web) names() []string {
	out := []string{}
	for _, p := range w.set.List() {
		out = append(out, p.Pod.Name)
	}
	return out
}

var port = regexp.MustCompile(`127\.0\.0\.1:\d+`)

func (w *web) problems() []string {
	out := []string{}
	for _, p := range w.set.Problems() {
		out = append(out, strings.ReplaceAll(port.ReplaceAllString(p.String(), "H"), w.cfg.Dir, "D"))
	}
	return out
}

// check compares the pods and the problems.
func (w *web) check(step string, names []string, problems ...string) {
	w.t.Helper()
	if diff := cmp.Diff(names, w.names()); diff != "" {
		w.t.Errorf("%s: pods (-want +got):\n%s", step, diff)
	}
	if diff := cmp.Diff(append([]string{}, problems...), w.problems()); diff != "" {
		w.t.Errorf("%s: problems (-want +got):\n%s", step, diff)
	}
}

const settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: \"1\"}\n"

func TestURLForms(t *testing.T) {
	indent := func(text string) string {
		return "- " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
	}
	for name, text := range map[string]string{
		"a Pod":     manifestOf("a"),
		"JSON":      `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i"}]}}`,
		"PodList":   "apiVersion: v1\nkind: PodList\nitems:\n" + indent(manifestOf("a")),
		"List":      "apiVersion: v1\nkind: List\nitems:\n" + indent(settings) + indent(manifestOf("a")),
		"documents": settings + "---\n" + manifestOf("a"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t)
			w.body(text)
			w.turn()
			w.check("first", []string{"a-n1"})
			p := w.set.List()[0]
			if p.Origin != w.cfg.URL || p.Line < 1 || p.Pod.Annotations[AnnotationSource] != "http" || p.Pod.Spec.NodeName != "N1" ||
				!regexp.MustCompile("^[0-9a-f]{32}$").MatchString(string(p.Pod.UID)) || !w.set.Settled() {
				t.Errorf("%+v %v", p, p.Pod.ObjectMeta)
			}
			if _, ok := w.set.ConfigMap("default", "settings"); ok != strings.Contains(text, "settings") {
				t.Errorf("the ConfigMap is there: %v", ok)
			}
			w.turn()
			if w.said != 1 {
				t.Errorf("the same set was delivered %d times", w.said)
			}
		})
	}
}

// The UID of a pod depends on its content, the node and the URL, and not on what
// stands beside it or on credentials.
func TestURLIdentity(t *testing.T) {
	w := newWeb(t)
	w.cfg.URL = strings.Replace(w.cfg.URL, "http://", "http://me:hunter2@", 1) + "?token=hunter3#x"
	w.cfg.Header = map[string]string{"X-Token": "hunter4"}
	w.fresh()
	w.body(manifestOf("a"))
	w.turn()
	uid := func() string { return string(w.set.List()[0].Pod.UID) }
	first := uid()
	if got := w.set.List()[0].Origin; got != w.server.URL+"/pods" || got != w.url.Origin() || !FromURL(got) || FromURL("/etc/davit/manifests/a.yaml") {
		t.Errorf("origin %s", got)
	}
	req := http.Request{Header: w.asked[0]}
	if user, password, _ := req.BasicAuth(); user != "me" || password != "hunter2" || req.Header.Get("X-Token") != "hunter4" {
		t.Errorf("sent %v", req.Header)
	}
	w.body(settings + "---\n" + manifestOf("a"))
	w.turn()
	if uid() != first {
		t.Error("a ConfigMap beside it made another pod")
	}
	w.cfg.URL = w.server.URL + "/pods"
	w.fresh()
	w.turn()
	if uid() != first {
		t.Error("credentials made another pod")
	}
	w.body(manifestOf("a", "  hostname: h\n"))
	w.turn()
	if uid() == first {
		t.Error("an edit made no other pod")
	}
	w.serve(func(out http.ResponseWriter, _ *http.Request) { http.Error(out, "no", http.StatusForbidden) })
	w.turn()
	if text := w.log.String() + strings.Join(w.problems(), " "); strings.Contains(text, "hunter") || !strings.Contains(text, "403") {
		t.Errorf("told: %s", text)
	}
}

func TestURLConfigErrors(t *testing.T) {
	for want, cfg := range map[string]URLConfig{
		"parsing the URL of a source: it is not a URL":                                    {URL: "http://me:hun%zzter@h/"},
		"parsing the URL of a source: \"ftp://h/x\" is not of the form https://host/path": {URL: "ftp://me:hunter@h/x?hunter"},
		"parsing the URL of a source: \"http:///x\" is not of the form https://host/path": {URL: "http:///x"},
		"a client certificate of a source needs both its certificate and its key":         {URL: "https://h/", Cert: "/c"},
		"the poll interval of a source is negative: -1s":                                  {URL: "https://h/", PollInterval: -time.Second},
	} {
		if _, err := NewURL(cfg, slog.New(slog.DiscardHandler), nil); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// An answer of 304 costs nothing; what is asked with stands in the last good set.
func TestURLConditions(t *testing.T) {
	w := newWeb(t)
	modified := day.Format(http.TimeFormat)
	w.serve(func(out http.ResponseWriter, req *http.Request) {
		if req.Header.Get("If-None-Match") == `"v1"` && req.Header.Get("If-Modified-Since") == modified {
			out.WriteHeader(http.StatusNotModified)
			return
		}
		out.Header().Set("ETag", `"v1"`)
		out.Header().Set("Last-Modified", modified)
		_, _ = io.WriteString(out, manifestOf("a"))
	})
	for range 3 {
		w.turn()
		w.check("asked", []string{"a-n1"})
	}
	if w.said != 1 || len(w.asked) != 3 || w.asked[0].Get("If-None-Match") != "" || w.asked[2].Get("If-None-Match") != `"v1"` {
		t.Errorf("delivered %d times, asked %v", w.said, w.asked)
	}
	// So it does after a restart, and after an answer that was none.
	w.body("<html>")
	w.turn()
	w.fresh()
	w.turn()
	w.turn()
	if last := w.asked[len(w.asked)-1]; last.Get("If-None-Match") != `"v1"` || last.Get("If-Modified-Since") != modified {
		t.Errorf("asked %v", last)
	}
	// A server that says 304 without having been asked is refused.
	other := newWeb(t)
	other.serve(func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusNotModified) })
	other.turn()
	other.check("304 to all", []string{}, "http://H/pods: polling: the server answered 304 Not Modified (no content type); no set was received yet, pods that run from it are kept")
}

func compressed(t *testing.T, write func(io.Writer)) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	write(z)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// zeros writes n MiB of spaces, which YAML and JSON skip.
func zeros(out io.Writer, n int) int {
	block := bytes.Repeat([]byte(" "), 1<<20)
	for i := range n {
		if _, err := out.Write(block); err != nil {
			return i
		}
	}
	return n
}

// TestURLBadAnswers: whatever comes, the set that was there holds.
func TestURLBadAnswers(t *testing.T) {
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: *hunter2}\n"
	var sent atomic.Int64
	text := func(body string, headers ...string) http.HandlerFunc {
		return func(out http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				out.Header().Set(headers[i], headers[i+1])
			}
			_, _ = io.WriteString(out, body) // the client may have gone
		}
	}
	hijack := func(answer string) http.HandlerFunc {
		return func(out http.ResponseWriter, _ *http.Request) {
			conn, _, err := out.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, answer) // the client may have gone
			_ = conn.Close()
		}
	}
	damaged := compressed(t, func(z io.Writer) { _, _ = io.WriteString(z, manifestOf("b")) })
	damaged = damaged[:len(damaged)-8] + "xxxx" + damaged[len(damaged)-4:] // its checksum
	page := "<!DOCTYPE html>\n<html><head><title>Please log in</title></head><body>and more of the page</body></html>"
	for _, tc := range []struct {
		name   string
		handle http.HandlerFunc
		want   string // of the first problem, "; the set ... holds" aside
	}{
		{"HTML", text(page, "Content-Type", "text/html; charset=utf-8"),
			`what came is not manifests (text/html; charset=utf-8, beginning with "<!DOCTYPE html> <html><head><title>Please log in</title></he...")`},
		{"HTML without a type", text("<p>hello</p>", "Content-Type", ""), `what came is not manifests (no content type, beginning with "<p>hello</p>")`},
		{"words", text("all is well", "Content-Type", "text/plain"), `what came is not manifests (text/plain, beginning with "all is well")`},
		{"binary", text("\x00\x01\x02\xff", "Content-Type", "image/png"), `what came is not manifests (image/png, beginning with "\x00\x01\x02?")`},
		{"a Secret that is no YAML", text(secret, "Content-Type", "text/plain"), `what came is not manifests (text/plain)`},
		{"nothing", text("", "Content-Type", "text/yaml"), `there is no object in the answer; no pods at all is a PodList with "items": [] (text/yaml)`},
		{"only comments", text("# nothing\n---\n", "Content-Type", "text/yaml"), `there is no object in the answer; no pods at all is a PodList with "items": [] (text/yaml, beginning with "# nothing ---")`},
		{"a list without items", text(`{"apiVersion":"v1","kind":"PodList"}`, "Content-Type", "a/b"), `there is no object in the answer; no pods at all is a PodList with "items": [] (a/b)`},
		{"404", func(out http.ResponseWriter, _ *http.Request) { http.Error(out, page, http.StatusNotFound) },
			`polling: the server answered 404 Not Found (text/plain; charset=utf-8, beginning with "<!DOCTYPE html> <html><head><title>Please log in</title></he...")`},
		{"500", func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusInternalServerError) },
			"polling: the server answered 500 Internal Server Error (no content type)"},
		{"206", func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(http.StatusPartialContent) },
			"polling: the server answered 206 Partial Content (no content type)"},
		{"1 GB that is announced", func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("Content-Length", "1073741824")
			sent.Store(int64(zeros(out, 1024)))
		}, "polling: the answer has 1073741824 bytes, at most 16777216 are read"},
		{"1 GB that is not", func(out http.ResponseWriter, _ *http.Request) { sent.Store(int64(zeros(out, 1024))) },
			"polling: the answer has more than 16777216 bytes"},
		{"128 MiB, compressed", text(compressed(t, func(z io.Writer) { zeros(z, 128) }), "Content-Encoding", "gzip"),
			"polling: the answer has more than 16777216 bytes"},
		{"not compressed after all", text(manifestOf("b"), "Content-Encoding", "gzip"), "polling: the answer says that it is compressed with gzip and is not"},
		{"damaged", text(damaged, "Content-Encoding", "gzip"), "polling: the compressed answer is damaged"},
		{"compressed otherwise", text(manifestOf("b"), "Content-Encoding", "br"), `polling: the answer is compressed with "br", davit knows gzip only`},
		{"cut off", hijack("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + manifestOf("b")), "polling: reading the answer, 87 bytes came: unexpected EOF"},
		{"perhaps cut off", hijack("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + manifestOf("b")),
			"polling: the server ends its answer by closing the connection, so that a part cannot be told from the whole: have it send Content-Length, or JSON"},
		{"no HTTP", hijack("SSH-2.0-OpenSSH\r\n"), `polling: net/http: HTTP/1.x transport connection broken: malformed HTTP response "SSH-2.0-OpenSSH"`},
		{"no answer", hijack(""), "polling: EOF"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWeb(t)
			w.body(manifestOf("a") + "---\n" + settings)
			w.turn()
			w.check("good", []string{"a-n1"})
			sent.Store(0)
			w.serve(tc.handle)
			for range 2 {
				w.turn()
				got := w.problems()
				if len(got) == 0 || !strings.HasSuffix(got[0], "; the set received 2026-03-01T12:00:00Z holds") || !strings.Contains(got[0], tc.want) {
					t.Errorf("problems %q, want %q", got, tc.want)
				}
				if all := strings.Join(got, " ") + w.log.String(); strings.Contains(all, "hunter2") {
					t.Error("a secret is told: " + all)
				}
				if _, ok := w.set.ConfigMap("default", "settings"); !slices.Equal(w.names(), []string{"a-n1"}) || !ok {
					t.Errorf("pods %q", w.names())
				}
			}
			if n := sent.Load(); n > 256 {
				t.Errorf("%d MiB were taken", n)
			}
			if w.said != 2 {
				t.Errorf("delivered %d times", w.said)
			}
			w.body(manifestOf("c"))
			w.turn()
			w.check("good again", []string{"c-n1"})
		})
	}
}

func TestURLGoodAnswers(t *testing.T) {
	w := newWeb(t)
	w.body(compressed(t, func(z io.Writer) { _, _ = io.WriteString(z, manifestOf("a")) }), "Content-Encoding", "gzip")
	w.turn()
	w.check("compressed", []string{"a-n1"})
	for i, empty := range []string{`{"apiVersion":"v1","kind":"PodList","items":[]}`, "apiVersion: v1\nkind: List\nitems: []\n", `{"apiVersion":"v1","kind":"PodList","items":null}`} {
		w.body(empty)
		w.turn()
		w.check("an empty list", []string{})
		if !w.set.Settled() || w.set.Keep("u", "default", "a-n1", w.url.Origin()) {
			t.Errorf("%s does not remove pods", empty)
		}
		w.body(manifestOf(fmt.Sprint("b", i)))
		w.turn()
	}
	// As JSON a body may end with the connection.
	w.serve(func(out http.ResponseWriter, _ *http.Request) {
		conn, _, err := out.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\n\r\n"+`{"apiVersion":"v1","kind":"PodList","items":[]}`)
		_ = conn.Close()
	})
	w.turn()
	w.check("HTTP/1.0", []string{})
}

// A set of which a part is bad is taken but for that part, which stays as it was.
func TestURLPartlyBroken(t *testing.T) {
	w := newWeb(t)
	w.body(manifestOf("a")+"---\n"+manifestOf("b")+"---\n"+settings, "ETag", `"1"`)
	w.turn()
	w.check("good", []string{"a-n1", "b-n1"})
	origin := "http://H/pods"
	bad := []string{
		origin + ":10: Pod/default/b: unknown field \"spec.hostnam\", did you mean \"hostname\"?",
		origin + ": 2 objects that it defined before it was broken are kept as they were",
	}
	w.body(manifestOf("c")+"---\n"+"apiVersion: v1\nkind: Pod\nmetadata: {name: b}\nspec: {hostnam: h, containers: [{name: c, image: i}]}\n---\n"+settings, "ETag", `"2"`)
	w.turn()
	w.check("broken", []string{"a-n1", "b-n1", "c-n1"}, bad...)
	if !w.set.Broken(w.url.Origin()) || !w.set.Keep("x", "default", "x-n1", w.url.Origin()) {
		t.Error("the set does not count as broken")
	}
	uids := list(w.set)
	// What was wanted is wanted by the next process with no server, and the whole
	// answer is asked for.
	w.serve(func(out http.ResponseWriter, req *http.Request) {
		if req.Header.Get("If-None-Match") != "" {
			t.Error("the next process asks for what is new to a broken set")
		}
		out.WriteHeader(http.StatusBadGateway)
	})
	w.fresh()
	w.turn()
	if diff := cmp.Diff(uids, list(w.set)); diff != "" || !w.set.Broken(w.url.Origin()) {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	w.body(settings)
	w.turn()
	w.check("whole again", []string{})
}
