package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// origin is a web server for a URL source: it says one text, with its ETag.
type origin struct {
	mu          sync.Mutex
	text        string
	contentType string
	flood       bool // 1 GiB instead of the text
	unchanged   int  // answers of 304
	server      *http.Server
}

// ServeHTTP implements http.Handler.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if user, password, _ := r.BasicAuth(); user != "node" || password != "hunter2" {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	if o.flood {
		block := bytes.Repeat([]byte("# nothing but comments\n"), 1<<12)
		for sent := 0; sent < 1<<30; sent += len(block) {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
		return
	}
	etag := fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256([]byte(o.text))))
	if r.Header.Get("If-None-Match") == etag {
		o.unchanged++
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("ETag", etag)
	w.Header().Set("Content-Type", o.contentType)
	_, _ = io.WriteString(w, o.text)
}

// says replaces the text by documents.
func (o *origin) says(documents ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text, o.contentType = strings.Join(documents, "---\n"), "application/yaml"
}

// errs answers with a page of a proxy.
func (o *origin) errs(page string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text, o.contentType = page, "text/html"
}

func (o *origin) floods(on bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flood = on
}

// confirmed waits until davit has asked again and was told that nothing changed.
func (o *origin) confirmed(t *testing.T) {
	t.Helper()
	count := func() int {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.unchanged
	}
	before := count()
	testbed.Poll(t, patience, func() string {
		if count() == before {
			return "davit did not ask with the ETag that it got"
		}
		return ""
	})
}

// serve begins to serve on a listener; gone ends it with all its connections.
func (o *origin) serve(l net.Listener) {
	o.server = &http.Server{Handler: o, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go o.server.Serve(l)
}

func (o *origin) gone(t *testing.T) {
	t.Helper()
	if err := o.server.Close(); err != nil {
		t.Error(err)
	}
}

// polling makes a node that polls a web server on its loopback.
func polling(t *testing.T) (*node.Node, *origin, string) {
	t.Helper()
	bed := testbed.New(t, testbed.Options{})
	o := &origin{}
	o.says("apiVersion: v1\nkind: PodList\nitems: []\n")
	l := bed.Listen(t, "127.0.0.1:0")
	o.serve(l)
	t.Cleanup(func() { _ = o.server.Close() })
	addr := l.Addr().String()
	n := node.Start(t, bed, node.Options{Config: fmt.Sprintf("source: {manifests: %s, url: \"http://node:hunter2@%s/pods\", pollInterval: 1s}\n", bed.Path("manifests"), addr)})
	return n, o, addr
}

// colored is a pod whose only container has the ConfigMap conf as a volume and
// in its environment.
func colored(name string) string {
	pod := strings.Replace(podtool(name, "Always", "sleep"), "spec:\n", "spec:\n  volumes: [{name: conf, configMap: {name: conf}}]\n", 1)
	return strings.Replace(pod, "command:", "volumeMounts: [{name: conf, mountPath: /conf}], envFrom: [{configMapRef: {name: conf}}], command:", 1)
}

// Pods and a ConfigMap from a URL: they follow what it says, and stay when it
// says nonsense, or nothing.
func TestURLSource(t *testing.T) {
	n, o, addr := polling(t)
	conf := func(color string) string { return object("ConfigMap", "conf", "COLOR", color) }
	n.Apply("local.yaml", podtool("local", "Always", "sleep"))
	o.says(conf("blue"), colored("web"), colored("other"))
	local := ids(n.WaitPod("local", patience, node.Ready))
	web := ids(n.WaitPod("web", patience, node.Ready))
	n.WaitPod("other", patience, node.Ready)
	s := look(t, n, "web", "main")
	s.is("/conf/COLOR", "blue")
	o.confirmed(t)

	o.says(conf("green"), colored("web"), colored("third"))
	n.WaitPod("other", patience, node.Gone)
	n.WaitPod("third", patience, node.Ready)
	t.Logf("the volume has the new text after %v more", s.becomes("/conf/COLOR", "green"))
	third := ids(n.Pod("third"))
	same := func(when string) {
		t.Helper()
		for name, before := range map[string]string{"local": local, "web": web, "third": third} {
			if now := ids(n.Pod(name)); now != before {
				t.Errorf("%s: %s was touched:\n%s\n%s", when, name, before, now)
			}
		}
	}
	o.errs("<!DOCTYPE html><html><body>502 Bad Gateway</body></html>")
	problem(t, n, addr, "text/html", "502 Bad Gateway", "holds")
	same("the server answers with a page")
	o.says("")
	problem(t, n, addr, "no object in the answer")
	same("the server answers with nothing")
	o.floods(true)
	problem(t, n, addr, "more than 16777216 bytes", "holds")
	same("the server answers without an end")
	o.floods(false)

	// Nobody answers, and davit begins anew: the set of before holds, for new
	// containers as well.
	o.gone(t)
	problem(t, n, addr, "connection refused")
	n.Kill()
	n.Start()
	n.Await()
	problem(t, n, addr, "connection refused", "stored by an earlier run")
	same("the server is gone and davit was killed")
	if err := syscall.Kill(containerPid(t, n, "web", "main"), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	n.WaitPod("web", patience, func(p *v1.Pod) string {
		if p == nil || p.Status.ContainerStatuses[0].RestartCount != 1 {
			return "not restarted"
		}
		return node.Ready(p)
	})
	if env := environ(t, n, "web", "main"); env["COLOR"] != "green" {
		t.Errorf("a container that started without the server has COLOR=%q", env["COLOR"])
	}
	web = ids(n.Pod("web"))

	o.says(conf("red"), colored("web"), colored("third"))
	o.serve(n.Bed.Listen(t, addr))
	look(t, n, "third", "main").becomes("/conf/COLOR", "red")
	same("the server is back")
	o.says("apiVersion: v1\nkind: PodList\nitems: []\n")
	n.WaitPod("web", patience, node.Gone)
	n.WaitPod("third", patience, node.Gone)
	if now := ids(n.Pod("local")); now != local {
		t.Errorf("the local pod was touched:\n%s\n%s", local, now)
	}
	text, err := os.ReadFile(n.Log)
	if err != nil || strings.Contains(string(text), "hunter2") {
		t.Errorf("the URL's password is in davit's log, or %v", err)
	}
	noLeaks(t, n)
}

// A name that the directory and the URL both claim belongs to who had it first,
// over a restart too; the other is told, and gets it when it is free.
func TestNameFromTwoSources(t *testing.T) {
	n, o, addr := polling(t)
	of := func(name, by string) string {
		return podtool(name, "Always", "sleep", map[string]string{"url": "1h", "file": "2h"}[by])
	}
	runs := func(name, by string) {
		t.Helper()
		n.WaitPod(name, patience, func(p *v1.Pod) string {
			if why := node.Ready(p); why != "" {
				return why
			}
			if got, want := p.Spec.Containers[0].Args[1], map[string]string{"url": "1h", "file": "2h"}[by]; got != want {
				return "it is not that of the " + by
			}
			return ""
		})
	}
	n.Apply("first.yaml", of("first", "file"))
	runs("first", "file")
	o.says(of("first", "url"), of("second", "url"))
	runs("second", "url")
	n.Apply("second.yaml", of("second", "file"))
	told := func() {
		t.Helper()
		problem(t, n, addr, "Pod/default/first", "first.yaml")
		problem(t, n, "second.yaml", "Pod/default/second", addr)
	}
	told()
	first, second := ids(n.Pod("first")), ids(n.Pod("second"))
	n.Kill()
	n.Start()
	n.Await()
	told()
	if a, b := ids(n.Pod("first")), ids(n.Pod("second")); a != first || b != second {
		t.Errorf("the pods were touched:\n%s\n%s\n%s\n%s", first, a, second, b)
	}
	n.Withdraw("first.yaml")
	runs("first", "url")
	o.says(of("first", "url"))
	runs("second", "file")
	if out, _, code := n.CLI("get", "problems"); code != 0 || strings.Contains(out, "metadata.name") {
		t.Errorf("problems that are solved: exit %d\n%s", code, out)
	}
	noLeaks(t, n)
}

// Over TLS with an authority of its own, a client's certificate and a header.
func TestURLSourceTLS(t *testing.T) {
	bed := testbed.New(t, testbed.Options{})
	client := clientCertificate(t, bed)
	clients := x509.NewCertPool()
	clients.AddCert(client)
	o := &origin{}
	o.says(podtool("web", "Always", "sleep"))
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Token") != "hunter3" {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		r.SetBasicAuth("node", "hunter2")
		o.ServeHTTP(w, r)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Listener.Close()
	srv.Listener = bed.Listen(t, "127.0.0.1:0")
	srv.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	ca := bed.Path("ca.pem")
	write := func(path string, block *pem.Block) {
		t.Helper()
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(ca, &pem.Block{Type: "CERTIFICATE", Bytes: client.Raw}) // not that of the server
	n := node.Start(t, bed, node.Options{Config: fmt.Sprintf("source: {manifests: %s, url: \"%s/pods\", urlCA: %s, urlCert: %s, urlKey: %s, urlHeaders: {X-Token: hunter3}, pollInterval: 1s}\n",
		bed.Path("manifests"), srv.URL, ca, bed.Path("client.pem"), bed.Path("client.key"))})
	problem(t, n, srv.Listener.Addr().String(), "certificate signed by unknown authority")
	write(ca, &pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	n.WaitPod("web", patience, node.Ready)
	if out, _, _ := n.CLI("get", "problems"); out != "" {
		t.Errorf("problems that are solved:\n%s", out)
	}
	text, err := os.ReadFile(n.Log)
	if err != nil || strings.Contains(string(text), "hunter3") {
		t.Errorf("the header is in davit's log, or %v", err)
	}
	noLeaks(t, n)
}

// clientCertificate writes client.pem and client.key into the bed's directory and
// returns the certificate, which is its own authority.
func clientCertificate(t *testing.T, bed *testbed.Bed) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"client.pem": {Type: "CERTIFICATE", Bytes: der}, "client.key": {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(bed.Path(name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
