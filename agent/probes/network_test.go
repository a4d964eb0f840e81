package probes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/davit-agent/davit/network/ns"
)

// asks is a probe of a pod at 127.0.0.1.
func asks(p *v1.Probe) subject {
	if p.TimeoutSeconds == 0 {
		p.TimeoutSeconds = 30
	}
	return subject{
		pod: podOf(), ip: netip.MustParseAddr("127.0.0.1"), id: "a", kind: readiness, spec: p,
		container: &v1.Container{Name: "c", Ports: []v1.ContainerPort{{Name: "other", ContainerPort: 1}, {Name: "web"}}},
	}
}

func (s subject) at(port int) subject {
	s.container.Ports[1].ContainerPort = int32(port)
	return s
}

func httpGet(edit func(*v1.HTTPGetAction)) *v1.Probe {
	get := &v1.HTTPGetAction{Port: intstr.FromString("web"), Path: "/"}
	if edit != nil {
		edit(get)
	}
	return &v1.Probe{ProbeHandler: v1.ProbeHandler{HTTPGet: get}}
}

func portOfServer(t testing.TB, url string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(url[strings.Index(url, "//")+2:])
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// expect probes and compares what is found; PORT in the message is the port.
func (w *ward) expect(t *testing.T, s subject, want verdict, message string) {
	t.Helper()
	a := w.try(t.Context(), s)
	got, said := a.verdict, a.output
	if a.err != nil {
		said = "error: " + a.err.Error()
	}
	said = strings.ReplaceAll(said, fmt.Sprintf(":%d", s.container.Ports[1].ContainerPort), ":PORT")
	if got != want || said != message {
		t.Errorf("%s %q\nwant %s %q", got, said, want, message)
	}
}

// clinic answers by path.
func clinic(elsewhere string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		w.WriteHeader(code)
		if code != http.StatusNotModified {
			io.WriteString(w, "a secret")
		}
	})
	mux.HandleFunc("/to", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", strings.ReplaceAll(r.URL.Query().Get("url"), "ELSEWHERE", elsewhere))
		w.WriteHeader(http.StatusFound)
		io.WriteString(w, "see there")
	})
	mux.HandleFunc("/hops", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		if n > 0 {
			http.Redirect(w, r, fmt.Sprintf("/hops?n=%d", n-1), http.StatusFound)
		}
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		lines := []string{r.Method + " " + r.URL.RequestURI() + " " + r.Host + " " + r.Proto}
		for k, v := range r.Header {
			lines = append(lines, k+": "+strings.Join(v, ","))
		}
		slices.Sort(lines[1:])
		io.WriteString(w, strings.Join(lines, "\n"))
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat("x", 1000)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/breaks", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/hangs", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	return mux
}

func TestHTTP(t *testing.T) {
	// The node's proxies are not asked.
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	w := newWard(t)
	w.cfg.Lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "pod.test" {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")}, nil
	}
	dial := w.dial
	w.dial = func(ctx context.Context, uid string, addr netip.AddrPort) (net.Conn, error) {
		if addr.Addr().Is4In6() {
			t.Errorf("dialled %s", addr)
		}
		return dial(ctx, uid, addr)
	}
	other := httptest.NewServer(clinic(""))
	t.Cleanup(other.Close)
	server := httptest.NewServer(clinic(other.URL))
	t.Cleanup(server.Close)
	port := portOfServer(t, server.URL)
	const says = "HTTP probe failed with statuscode: "
	for path, c := range map[string]struct {
		want    verdict
		message string
	}{
		"/":                               {success, "ok"},
		"":                                {success, "ok"},
		"/status/204":                     {success, ""},
		"/status/299":                     {success, "a secret"},
		"/status/304":                     {warning, "Probe terminated redirects, Response body: "},
		"/status/399":                     {warning, "Probe terminated redirects, Response body: a secret"},
		"/status/400":                     {failure, says + "400"},
		"/status/500":                     {failure, says + "500"},
		"/missing":                        {failure, says + "404"},
		"/to?url=/":                       {success, "ok"},
		"/to?url=/status/503":             {failure, says + "503"},
		"/to?url=ELSEWHERE/status/200":    {success, "a secret"}, // another port of the same host
		"/to?url=http://example.invalid/": {warning, "Probe terminated redirects, Response body: see there"},
		"/hops?n=9":                       {success, ""},
		"/hops?n=10":                      {failure, `Get "/hops?n=0": stopped after 10 redirects`},
		"/endless":                        {success, strings.Repeat("x", 10240)},
		"/breaks":                         {failure, "error: unexpected EOF"},
		"/%zz":                            {failure, says + "404"},
	} {
		t.Run(path, func(t *testing.T) {
			w.expect(t, asks(httpGet(func(g *v1.HTTPGetAction) { g.Path = path })).at(port), c.want, c.message)
		})
	}
	for name, c := range map[string]struct {
		edit    func(*v1.HTTPGetAction)
		want    verdict
		message string
	}{
		"a number":         {func(g *v1.HTTPGetAction) { g.Port = intstr.FromInt32(int32(port)) }, success, "ok"},
		"a number as text": {func(g *v1.HTTPGetAction) { g.Port = intstr.FromString(strconv.Itoa(port)) }, success, "ok"},
		"no such name":     {func(g *v1.HTTPGetAction) { g.Port = intstr.FromString("x") }, unknown, `error: strconv.Atoi: parsing "x": invalid syntax`},
		"no such port":     {func(g *v1.HTTPGetAction) { g.Port = intstr.FromInt32(65536) }, unknown, "error: invalid port number: 65536"},
		"port 0":           {func(g *v1.HTTPGetAction) { g.Port = intstr.FromInt32(0) }, unknown, "error: invalid port number: 0"},
		"upper case":       {func(g *v1.HTTPGetAction) { g.Scheme = v1.URISchemeHTTP }, success, "ok"},
		"a host":           {func(g *v1.HTTPGetAction) { g.Host = "127.0.0.1" }, success, "ok"},
		"a host name":      {func(g *v1.HTTPGetAction) { g.Host = "pod.test" }, success, "ok"},
		"no such host":     {func(g *v1.HTTPGetAction) { g.Host = "no.test" }, failure, `Get "http://no.test:PORT/": dial tcp: lookup no.test: no such host`},
		"refused":          {func(g *v1.HTTPGetAction) { g.Port = intstr.FromString("other") }, failure, `Get "http://127.0.0.1:1/": dial tcp 127.0.0.1:1: connect: connection refused`},
		"bad header": {func(g *v1.HTTPGetAction) { g.HTTPHeaders = []v1.HTTPHeader{{Name: "a b", Value: "x"}} }, failure,
			`Get "http://127.0.0.1:PORT/": net/http: invalid header field name "a b"`},
		"plain for TLS": {func(g *v1.HTTPGetAction) { g.Scheme = v1.URISchemeHTTPS }, failure,
			`Get "https://127.0.0.1:PORT/": http: server gave HTTP response to HTTPS client`},
	} {
		t.Run(name, func(t *testing.T) {
			w.expect(t, asks(httpGet(c.edit)).at(port), c.want, c.message)
		})
	}
}

func TestHTTPRequest(t *testing.T) {
	w := newWard(t)
	server := httptest.NewServer(clinic(""))
	t.Cleanup(server.Close)
	for name, c := range map[string]struct {
		headers []v1.HTTPHeader
		path    string
		want    string
	}{
		"as it is": {nil, "/echo", "GET /echo 127.0.0.1:PORT HTTP/1.1\nAccept: */*\nConnection: close\nUser-Agent: kube-probe/1.36"},
		"own": {[]v1.HTTPHeader{{Name: "host", Value: "a.test"}, {Name: "user-agent", Value: "me"}, {Name: "X-A", Value: "1"}, {Name: "x-a", Value: "2"}},
			"/echo?a=b&c", "GET /echo?a=b&c a.test HTTP/1.1\nAccept: */*\nConnection: close\nUser-Agent: me\nX-A: 1,2"},
		"none": {[]v1.HTTPHeader{{Name: "accept"}, {Name: "User-Agent"}},
			"/to?url=/echo", "GET /echo 127.0.0.1:PORT HTTP/1.1\nConnection: close\nReferer: http://127.0.0.1:PORT/to?url=/echo"},
		"a redirect keeps them": {[]v1.HTTPHeader{{Name: "Host", Value: "a.test"}, {Name: "Accept", Value: "text/html"}},
			"/to?url=/echo", "GET /echo a.test HTTP/1.1\nAccept: text/html\nConnection: close\nReferer: http://127.0.0.1:PORT/to?url=/echo\nUser-Agent: kube-probe/1.36"},
	} {
		t.Run(name, func(t *testing.T) {
			w.expect(t, asks(httpGet(func(g *v1.HTTPGetAction) { g.Path, g.HTTPHeaders = c.path, c.headers })).at(portOfServer(t, server.URL)), success, c.want)
		})
	}
}

func TestHTTPS(t *testing.T) {
	w := newWard(t)
	server := httptest.NewUnstartedServer(clinic(""))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the plain request
	server.StartTLS()
	t.Cleanup(server.Close)
	port := portOfServer(t, server.URL)
	tls := func(path string) subject {
		return asks(httpGet(func(g *v1.HTTPGetAction) { g.Scheme, g.Path = v1.URISchemeHTTPS, path })).at(port)
	}
	// Nobody knows the certificate's issuer.
	w.expect(t, tls("/echo"), success, "GET /echo 127.0.0.1:PORT HTTP/2.0\nAccept: */*\nUser-Agent: kube-probe/1.36")
	w.expect(t, tls("/status/500"), failure, "HTTP probe failed with statuscode: 500")
	w.expect(t, asks(httpGet(nil)).at(port), failure, "HTTP probe failed with statuscode: 400") // plain, to a TLS port
}

func TestHTTPTimeout(t *testing.T) {
	w := newWard(t)
	server := httptest.NewServer(clinic(""))
	t.Cleanup(server.Close)
	s := asks(httpGet(func(g *v1.HTTPGetAction) { g.Path = "/hangs" })).at(portOfServer(t, server.URL))
	s.spec.TimeoutSeconds = 1
	const late = `context deadline exceeded (Client.Timeout exceeded while awaiting headers)`
	w.expect(t, s, failure, `Get "http://127.0.0.1:PORT/hangs": `+late)
	// The same while connecting; whatever the dialer says when it is told to stop.
	w.dial = func(ctx context.Context, _ string, _ netip.AddrPort) (net.Conn, error) {
		<-ctx.Done()
		return nil, errors.New("never mind")
	}
	w.expect(t, s, failure, `Get "http://127.0.0.1:PORT/hangs": `+late)
}

// No connection outlives its probe, and none is broken off.
func TestConnectionsEnd(t *testing.T) {
	w := newWard(t)
	states := make(chan http.ConnState, 100)
	server := httptest.NewUnstartedServer(clinic(""))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) { states <- s }
	server.Start()
	t.Cleanup(server.Close)
	w.expect(t, asks(httpGet(nil)).at(portOfServer(t, server.URL)), success, "ok")
	for closed, late := false, time.After(time.Minute); !closed; {
		select {
		case s := <-states:
			closed = s == http.StateClosed
		case <-late:
			t.Fatal("the connection outlives its probe")
		}
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w.expect(t, asks(tcpSocket("")).at(l.Addr().(*net.TCPAddr).Port), success, "")
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if b, err := io.ReadAll(conn); err != nil || len(b) != 0 {
		t.Errorf("the server reads %q, %v; want its end", b, err)
	}
}

func tcpSocket(host string) *v1.Probe {
	return &v1.Probe{ProbeHandler: v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromString("web"), Host: host}}}
}

func TestTCP(t *testing.T) {
	w := newWard(t)
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	port := l.Addr().(*net.TCPAddr).Port
	s := asks(tcpSocket("")).at(port)
	s.ip = netip.MustParseAddr("::1")
	w.expect(t, s, success, "")
	w.expect(t, asks(tcpSocket("::1")).at(port), success, "")
	w.expect(t, s.at(2), failure, "dial tcp [::1]:PORT: connect: connection refused")
	s.spec.TCPSocket.Port = intstr.FromString("none")
	w.expect(t, s, unknown, `error: strconv.Atoi: parsing "none": invalid syntax`)
	s = asks(tcpSocket(""))
	s.ip = netip.Addr{}
	w.expect(t, s.at(port), unknown, "error: the pod has no address yet")

	s = asks(tcpSocket("")).at(port)
	s.spec.TimeoutSeconds = 1
	w.dial = func(ctx context.Context, _ string, _ netip.AddrPort) (net.Conn, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("connecting: %w", ctx.Err())
	}
	w.expect(t, s, failure, "dial tcp 127.0.0.1:PORT: i/o timeout")

	// What is said once nobody wants the connection any more is no fault.
	w.dial = func(ctx context.Context, _ string, _ netip.AddrPort) (net.Conn, error) {
		<-ctx.Done()
		return nil, errors.New("never mind")
	}
	w.expect(t, s, failure, "dial tcp 127.0.0.1:PORT: i/o timeout")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	line := w.line(s)
	if _, err := line.dial(ctx, "tcp", "127.0.0.1:1"); !errors.Is(err, context.Canceled) || line.broken() != nil {
		t.Errorf("cancelled: %v, %v", err, line.broken())
	}
}

// What is wrong on this side says nothing about the pod, whatever the probe.
func TestOwnFault(t *testing.T) {
	w := newWard(t)
	var mu sync.Mutex
	dials := 0
	w.dial = func(_ context.Context, uid string, _ netip.AddrPort) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		dials++
		return nil, fmt.Errorf("pod %s has no sandbox", uid)
	}
	for i, p := range []*v1.Probe{httpGet(nil), tcpSocket(""), grpcProbe("")} {
		start := time.Now()
		found, message := w.probe(t.Context(), asks(p).at(80))
		mu.Lock()
		if found != errored || message != "Readiness probe errored and resulted in unknown state: pod u has no sandbox" || dials != 3*(i+1) {
			t.Errorf("%v: %v %q after %d dials in all", p.ProbeHandler, found, message, dials)
		}
		mu.Unlock()
		if took := time.Since(start); took > 20*time.Second { // timeouts are 30 s
			t.Errorf("%v: waited %s for nothing", p.ProbeHandler, took)
		}
	}
	if len(w.counts) != 0 {
		t.Errorf("counted %v", w.counts)
	}
}

// A probe comes from inside the pod: what listens there on the loopback device
// is reached, and the words of a failure are kubelet's all the same.
func TestFromInside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pod")
	if err := ns.Create(dir, ns.Options{Kinds: []ns.Kind{ns.Net}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "net")
	var l net.Listener
	if err := ns.Do(path, func() (err error) { l, err = net.Listen("tcp", "127.0.0.1:0"); return err }); err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: clinic("")}}
	server.Start()
	t.Cleanup(server.Close)
	port := l.Addr().(*net.TCPAddr).Port
	w := newWard(t)
	w.dial = func(ctx context.Context, uid string, addr netip.AddrPort) (net.Conn, error) {
		if uid != "u" {
			t.Errorf("dial in pod %q", uid)
		}
		return ns.DialTCP(ctx, path, addr)
	}
	w.expect(t, asks(httpGet(nil)).at(port), success, "ok")
	w.expect(t, asks(httpGet(func(g *v1.HTTPGetAction) { g.Host = "localhost" })).at(port), success, "ok")
	w.expect(t, asks(tcpSocket("")).at(port), success, "")
	w.expect(t, asks(tcpSocket("")).at(1), failure, "dial tcp 127.0.0.1:PORT: connect: connection refused")
	w.expect(t, asks(tcpSocket("192.0.2.1")).at(1), failure, "dial tcp 192.0.2.1:PORT: connect: network is unreachable")
	w.expect(t, asks(grpcProbe("")).at(1).within(1), failure, `timeout: failed to connect service "127.0.0.1:PORT" within 1s: context deadline exceeded`)
	w = newWard(t)
	w.dial = func(ctx context.Context, _ string, addr netip.AddrPort) (net.Conn, error) {
		return ns.DialTCP(ctx, filepath.Join(dir, "gone"), addr)
	}
	if a := w.try(t.Context(), asks(httpGet(nil)).at(port)); a.verdict != unknown || a.err == nil {
		t.Errorf("without a namespace: %+v", a)
	}
}

func (s subject) within(seconds int32) subject {
	s.spec.TimeoutSeconds = seconds
	return s
}
