package hooks

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/davit-agent/davit/agent/lifecycle"
)

// desk notes the requests that it gets.
type desk struct {
	*httptest.Server
	mu     sync.Mutex
	seen   []string
	closed chan struct{} // one for each connection that ended
}

func newDesk(t *testing.T, tls bool) *desk {
	d := &desk{closed: make(chan struct{}, 1000)}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		var lines []string
		for k, v := range r.Header {
			lines = append(lines, k+": "+strings.Join(v, ","))
		}
		slices.Sort(lines)
		d.mu.Lock()
		d.seen = append(d.seen, strings.Join(append([]string{r.Method + " " + r.URL.RequestURI() + " " + r.Host + " " + r.Proto}, lines...), "\n"))
		d.mu.Unlock()
		switch r.URL.Path {
		case "/500":
			w.WriteHeader(http.StatusInternalServerError)
		case "/to":
			http.Redirect(w, r, r.URL.Query().Get("url"), http.StatusFound)
		case "/circle":
			http.Redirect(w, r, "/circle", http.StatusFound)
		case "/hangs":
			<-r.Context().Done()
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		case "/breaks":
			panic(http.ErrAbortHandler)
		}
	})
	d.Server = httptest.NewUnstartedServer(mux)
	d.Config.ErrorLog = log.New(io.Discard, "", 0) // of what is asked in the wrong way
	d.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			d.closed <- struct{}{}
		}
	}
	if tls {
		d.EnableHTTP2 = true
		d.StartTLS()
	} else {
		d.Start()
	}
	t.Cleanup(d.Close)
	return d
}

func (d *desk) port() int { return d.Listener.Addr().(*net.TCPAddr).Port }

// asked returns the requests since the last call, PORT in place of the port.
func (d *desk) asked() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() { d.seen = nil }()
	return strings.ReplaceAll(strings.Join(d.seen, "\n\n"), fmt.Sprintf(":%d", d.port()), ":PORT")
}

func get(edit func(*v1.HTTPGetAction)) v1.LifecycleHandler {
	g := &v1.HTTPGetAction{Port: intstr.FromString("web"), Path: "/"}
	if edit != nil {
		edit(g)
	}
	return v1.LifecycleHandler{HTTPGet: g}
}

// run runs a hook to its end and returns why it failed, PORT in place of the
// port of the server.
func (q *quay) run(t *testing.T, h v1.LifecycleHandler, port int, deadline time.Time) string {
	t.Helper()
	r := hookOf("u", t.Name(), lifecycle.PreStop, h)
	r.Container.Ports[0].ContainerPort = int32(port)
	r.Deadline = deadline
	q.Begin(r)
	defer q.Release("u", "")
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if s := q.Seen("u"); s[0].Done {
			return strings.ReplaceAll(s[0].Failure, fmt.Sprintf(":%d", port), ":PORT")
		}
	}
	t.Fatal("the hook does not end")
	return ""
}

func TestHTTP(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	q := newQuay(t)
	q.cfg.Lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "pod.test" {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	d := newDesk(t, false)
	const usual = "\nAccept-Encoding: gzip\nAccept: */*\nUser-Agent: kube-lifecycle/1.36"
	for name, c := range map[string]struct {
		edit     func(*v1.HTTPGetAction)
		deadline time.Duration
		asked    string
		want     string
	}{
		"plain":         {nil, 0, "GET / 127.0.0.1:PORT HTTP/1.1" + usual, ""},
		"any answer":    {func(g *v1.HTTPGetAction) { g.Path = "/500" }, 0, "GET /500 127.0.0.1:PORT HTTP/1.1" + usual, ""},
		"a query":       {func(g *v1.HTTPGetAction) { g.Path = "/a?b=c" }, 0, "GET /a?b=c 127.0.0.1:PORT HTTP/1.1" + usual, ""},
		"a long answer": {func(g *v1.HTTPGetAction) { g.Path = "/endless" }, 0, "GET /endless 127.0.0.1:PORT HTTP/1.1" + usual, ""},
		"elsewhere": {func(g *v1.HTTPGetAction) { g.Path = "/to?url=http://example.invalid/" }, 0,
			"GET /to?url=http://example.invalid/ 127.0.0.1:PORT HTTP/1.1" + usual, ""},
		"in circles": {func(g *v1.HTTPGetAction) { g.Path = "/circle" }, 0, "", "HTTP lifecycle hook (/circle)" + where + `Get "/circle": stopped after 10 redirects`},
		"headers": {func(g *v1.HTTPGetAction) {
			g.Host = "pod.test"
			g.HTTPHeaders = []v1.HTTPHeader{{Name: "host", Value: "h.test"}, {Name: "User-Agent", Value: "me"}, {Name: "Accept"}}
		}, 0, "GET / h.test HTTP/1.1\nAccept-Encoding: gzip\nUser-Agent: me", ""},
		"no such host": {func(g *v1.HTTPGetAction) { g.Host = "no.test" }, 0, "", "HTTP lifecycle hook (/)" + where +
			`Get "http://no.test:PORT/": dial tcp: lookup no.test: no such host`},
		"no such port": {func(g *v1.HTTPGetAction) { g.Port = intstr.FromString("x") }, 0, "", "HTTP lifecycle hook (/)" + where +
			`strconv.Atoi: parsing "x": invalid syntax`},
		"a number": {func(g *v1.HTTPGetAction) { g.Port = intstr.FromString(strconv.Itoa(d.port())) }, 0, "GET / 127.0.0.1:PORT HTTP/1.1" + usual, ""},
		"refused": {func(g *v1.HTTPGetAction) { g.Port = intstr.FromInt32(1) }, 0, "", "HTTP lifecycle hook (/)" + where +
			`Get "http://127.0.0.1:1/": dial tcp 127.0.0.1:1: connect: connection refused`},
		"breaks": {func(g *v1.HTTPGetAction) { g.Path = "/breaks" }, 0, "GET /breaks 127.0.0.1:PORT HTTP/1.1" + usual, "HTTP lifecycle hook (/breaks)" + where +
			`Get "http://127.0.0.1:PORT/breaks": EOF`},
		"hangs": {func(g *v1.HTTPGetAction) { g.Path = "/hangs" }, time.Second, "GET /hangs 127.0.0.1:PORT HTTP/1.1" + usual, "HTTP lifecycle hook (/hangs)" + where +
			`Get "http://127.0.0.1:PORT/hangs": context deadline exceeded`},
	} {
		t.Run(name, func(t *testing.T) {
			var deadline time.Time
			if c.deadline != 0 {
				deadline = time.Now().Add(c.deadline)
			}
			if got := q.run(t, get(c.edit), d.port(), deadline); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if got := d.asked(); c.asked != "" && got != c.asked {
				t.Errorf("asked\n%s\nwant\n%s", got, c.asked)
			}
		})
	}
	r := hookOf("u", "x", lifecycle.PreStop, get(nil))
	r.PodIP = netip.Addr{}
	if got := q.handle(t.Context(), r, r.Container.Lifecycle.PreStop); !strings.HasSuffix(got, "the pod has no address") {
		t.Errorf("no address: %s", got)
	}
	if len(q.events) != 0 {
		t.Errorf("events %q", q.events)
	}
}

// HTTPS is not verified; where there is only plain HTTP, that does, without the
// credentials.
func TestHTTPS(t *testing.T) {
	q := newQuay(t)
	edit := func(path string) v1.LifecycleHandler {
		return get(func(g *v1.HTTPGetAction) {
			g.Scheme, g.Path = v1.URISchemeHTTPS, path
			g.HTTPHeaders = []v1.HTTPHeader{{Name: "Authorization", Value: "Basic x"}, {Name: "X-A", Value: "1"}}
		})
	}
	const always = "\nAccept-Encoding: gzip\nAccept: */*"
	tls := newDesk(t, true)
	if got := q.run(t, edit("/"), tls.port(), time.Time{}); got != "" {
		t.Errorf("HTTPS: %s", got)
	}
	select {
	case <-tls.closed:
	case <-time.After(time.Minute):
		t.Error("the connection outlives its hook")
	}
	if got, want := tls.asked(), "GET / 127.0.0.1:PORT HTTP/1.1"+always+"\nAuthorization: Basic x\nUser-Agent: kube-lifecycle/1.36\nX-A: 1"; got != want {
		t.Errorf("asked\n%s\nwant\n%s", got, want)
	}
	if len(q.events) != 0 {
		t.Errorf("events %q", q.events)
	}
	plain := newDesk(t, false)
	if got := q.run(t, edit("/"), plain.port(), time.Time{}); got != "" {
		t.Errorf("fallback: %s", got)
	}
	if got, want := plain.asked(), "GET / 127.0.0.1:PORT HTTP/1.1"+always+"\nUser-Agent: kube-lifecycle/1.36\nX-A: 1"; got != want {
		t.Errorf("asked\n%s\nwant\n%s", got, want)
	}
	want := fmt.Sprintf("p/ Warning LifecycleHTTPFallback request to HTTPS lifecycle hook 127.0.0.1:%d got HTTP response, retry with HTTP succeeded", plain.port())
	if !slices.Equal(q.events, []string{want}) {
		t.Errorf("events %q, want %q", q.events, want)
	}
	// If that fails, too, the first failure is told.
	if got, want := q.run(t, edit("/breaks"), plain.port(), time.Time{}), "HTTP lifecycle hook (/breaks)"+where+
		`Get "https://127.0.0.1:PORT/breaks": http: server gave HTTP response to HTTPS client`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
