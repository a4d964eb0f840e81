package source

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/davit-agent/davit/agent/source/fetch"
)

func TestURLRedirects(t *testing.T) {
	w := newWeb(t)
	w.cfg.URL = strings.Replace(w.cfg.URL, "http://", "http://me:hunter2@", 1) + "?q=hunter3"
	w.cfg.Header = map[string]string{"x-token": "hunter4"}
	w.fresh()
	var elsewhere []http.Header
	other := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) {
		elsewhere = append(elsewhere, req.Header.Clone())
		_, _ = io.WriteString(out, manifestOf("b"))
	}))
	t.Cleanup(other.Close)
	w.serve(func(out http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/pods" {
			http.Redirect(out, req, "/there", http.StatusFound)
			return
		}
		_, _ = io.WriteString(out, manifestOf("a"))
	})
	w.turn()
	w.check("the same host", []string{"a-n1"})
	if last := w.asked[len(w.asked)-1]; last.Get("Authorization") == "" || last.Get("X-Token") != "hunter4" {
		t.Errorf("the same host was sent %v", last)
	}
	if got := w.set.List()[0].Origin; !strings.HasSuffix(got, "/pods") {
		t.Errorf("origin %s", got)
	}
	w.serve(func(out http.ResponseWriter, req *http.Request) { http.Redirect(out, req, other.URL, http.StatusFound) })
	w.turn()
	w.check("another host", []string{"b-n1"})
	if len(elsewhere) != 1 || strings.Contains(fmt.Sprint(elsewhere), "hunter") || elsewhere[0].Get("Authorization") != "" {
		t.Errorf("another host was sent %v", elsewhere)
	}
	holds := "; the set received 2026-03-01T12:00:00Z holds"
	w.serve(func(out http.ResponseWriter, req *http.Request) { http.Redirect(out, req, "/pods", http.StatusFound) })
	before := len(w.asked)
	w.turn()
	w.check("for ever", []string{"b-n1"}, "http://H/pods: polling: the server redirects more than 5 times"+holds)
	if n := len(w.asked) - before; n != 6 {
		t.Errorf("asked %d times", n)
	}
	w.serve(func(out http.ResponseWriter, req *http.Request) {
		http.Redirect(out, req, "file:///etc/shadow", http.StatusFound)
	})
	w.turn()
	w.check("to a file", []string{"b-n1"}, "http://H/pods: polling: the server redirects to file, which is not followed"+holds)
}

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.issue(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue signs a certificate; the authority's own signs itself.
func (a *authority) issue(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	c.Subject = pkix.Name{CommonName: "test"}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return out, key
}

func (a *authority) leaf(usage x509.ExtKeyUsage) (certPEM, keyPEM []byte, pair tls.Certificate) {
	a.t.Helper()
	cert, key := a.issue(&x509.Certificate{
		ExtKeyUsage: []x509.ExtKeyUsage{usage}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
	})
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pemOf("CERTIFICATE", cert.Raw), pemOf("EC PRIVATE KEY", der), tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// TestURLTLS: own authorities only, a client certificate, and new ones of both
// while it runs.
func TestURLTLS(t *testing.T) {
	one, two := newAuthority(t), newAuthority(t)
	w := newWeb(t)
	dir := t.TempDir()
	w.cfg.CA, w.cfg.Cert, w.cfg.Key = filepath.Join(dir, "ca"), filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	put := func(path string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Each connection is asked for what the server trusts at that time.
	var current atomic.Pointer[tls.Config]
	w.server.Close()
	w.server = httptest.NewUnstartedServer(w)
	w.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	w.server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current.Load(), nil }}
	serving := func(server, clients *authority) *tls.Config {
		_, _, pair := server.leaf(x509.ExtKeyUsageServerAuth)
		return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: clients.pool(), ClientAuth: tls.RequireAndVerifyClientCert}
	}
	current.Store(serving(one, one))
	w.server.StartTLS()
	t.Cleanup(func() { w.server.Close() })
	w.cfg.URL = w.server.URL + "/pods"
	w.fresh()
	w.body(manifestOf("a"))
	trouble := func(step, want string) {
		t.Helper()
		w.turn()
		if got := w.problems(); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: %q, want %s", step, got, want)
		}
	}
	trouble("no files", "no such file or directory; no set was received yet")
	put(w.cfg.CA, []byte("rubbish"))
	certPEM, keyPEM, _ := one.leaf(x509.ExtKeyUsageClientAuth)
	put(w.cfg.Cert, certPEM)
	put(w.cfg.Key, keyPEM)
	trouble("no authority", "holds no certificate in PEM form")
	put(w.cfg.CA, pemOf("CERTIFICATE", two.cert.Raw))
	trouble("another authority", "certificate signed by unknown authority")
	put(w.cfg.CA, pemOf("CERTIFICATE", one.cert.Raw))
	w.turn()
	w.check("own authority", []string{"a-n1"})

	// The key is exchanged after the certificate; meanwhile the old ones serve.
	otherCert, otherKey, _ := two.leaf(x509.ExtKeyUsageClientAuth)
	put(w.cfg.Cert, otherCert)
	w.body(manifestOf("b"))
	w.turn()
	w.check("half exchanged", []string{"b-n1"})
	put(w.cfg.Key, otherKey)
	trouble("a client that is not trusted", "the set received")
	current.Store(serving(two, two))
	put(w.cfg.CA, pemOf("CERTIFICATE", two.cert.Raw))
	w.body(manifestOf("c"))
	w.turn()
	w.check("all exchanged", []string{"c-n1"})

	plain := httptest.NewServer(w)
	t.Cleanup(plain.Close)
	w.serve(func(out http.ResponseWriter, req *http.Request) { http.Redirect(out, req, plain.URL, http.StatusFound) })
	w.turn()
	w.check("to plain text", []string{"c-n1"}, "https://H/pods: polling: the server redirects from https to http, which is not followed; the set received 2026-03-01T12:00:00Z holds")
}

func TestURLTimeout(t *testing.T) {
	w := newWeb(t)
	at, err := url.Parse(w.cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := fetch.New(fetch.Config{URL: at, MaxBody: 1 << 20, Timeout: 50 * time.Millisecond})
	w.url.fetch = c.Get
	t.Cleanup(c.Close)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	w.serve(func(out http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(out, manifestOf("a")+"---\n") // the client may have gone
		out.(http.Flusher).Flush()
		<-release
	})
	w.turn()
	if got := w.problems(); len(got) != 1 || !strings.Contains(got[0], "the server did not answer in time; no set was received yet") {
		t.Errorf("%q", got)
	}
}

// TestURLRun: when it is polled, and how long it waits after failures.
func TestURLRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewSet("url")
		u, err := NewURL(URLConfig{URL: "http://h/", NodeName: "n1", Dir: t.TempDir(), PollInterval: 20 * time.Second}, slog.New(slog.DiscardHandler), func(s Snapshot) { w.Deliver("url", s) })
		if err != nil {
			t.Fatal(err)
		}
		var times []time.Time
		answers := make(chan error, 64)
		u.fetch = func(context.Context, string, string) (fetch.Answer, error) {
			times = append(times, time.Now())
			return fetch.Answer{Body: []byte(manifestOf("a"))}, <-answers
		}
		for _, e := range []error{nil, nil, errors.New("x"), errors.New("x"), errors.New("x"), &fetch.Refusal{Why: "busy", Pause: 5 * time.Minute}, nil, nil} {
			answers <- e
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- u.Run(ctx) }()
		limits := [][2]time.Duration{{18, 22}, {18, 22}, {500 * time.Millisecond / time.Second, 1}, {1, 2}, {2, 4}, {300, 300}, {18, 22}}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(times) != len(limits)+2 { // the last one waits for its answer
			t.Fatalf("asked %d times", len(times))
		}
		for i, l := range limits {
			if d := times[i+1].Sub(times[i]); d < l[0]*time.Second || d > l[1]*time.Second {
				t.Errorf("pause %d is %v, want %v to %v s", i, d, l[0], l[1])
			}
		}
		cancel()
		answers <- ctx.Err()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(w.List()) != 1 || len(w.Problems()) != 0 {
			t.Errorf("%v %v", w.List(), w.Problems())
		}
	})
}

func TestURLPause(t *testing.T) {
	u := &URL{poll: 10 * time.Second}
	for fails, want := range map[int]time.Duration{0: 11 * time.Second, 1: time.Second, 2: 2 * time.Second, 7: 64 * time.Second, 8: maxRetry, 1000: maxRetry} {
		u.polled.fails = fails
		if got := u.pause(1); got != want {
			t.Errorf("after %d failures %v, want %v", fails, got, want)
		}
		if got := u.pause(0); got < want/2 {
			t.Errorf("after %d failures %v", fails, got)
		}
	}
	u.polled.unread, u.polled.fails = true, 1
	if got := u.pause(1); got != u.poll {
		t.Errorf("after what cannot be read %v", got)
	}
	u.poll, u.polled.fails = time.Hour, 9
	if got := u.pause(1); got != time.Hour {
		t.Errorf("%v", got)
	}
}
