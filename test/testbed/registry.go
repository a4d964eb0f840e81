package testbed

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// RegistryOptions say what a Registry is like. The zero value speaks plain HTTP
// with everybody.
type RegistryOptions struct {
	TLS bool // with a certificate for 127.0.0.1 that CA signs
	// User and Password are asked for where User is set: by Basic, or with
	// Token by way of a token server on the same host, as Docker's token
	// authentication specifies it.
	User, Password string
	Token          bool
	// IdentityToken is a refresh token that the token server takes too.
	IdentityToken string
	// Latency is added to each request.
	Latency time.Duration
	// Address to listen on; "" is a free port of 127.0.0.1.
	Address string
	// Listener, if set, is used instead: one of Bed.Listen serves the node.
	Listener net.Listener
}

// Registry is an image registry on loopback, in the network namespace of the
// test, with faults that can be switched on.
type Registry struct {
	Host string // 127.0.0.1:<port>
	CA   []byte // PEM, with TLS

	o     RegistryOptions
	inner http.Handler
	token string

	mu    sync.Mutex
	fault Fault
	seen  []Request
}

// Request is a request as the registry saw it.
type Request struct {
	Method, Path, Query string
	Header              http.Header
}

// Fault may answer a request instead of the registry; it calls next to have
// the registry answer.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// NewRegistry starts a registry that ends with the test.
func NewRegistry(t testing.TB, o RegistryOptions) *Registry {
	t.Helper()
	r := &Registry{o: o, token: rand.Text(), inner: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	srv := httptest.NewUnstartedServer(r)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not trust it, or hang up
	if o.Listener != nil {
		srv.Listener.Close()
		srv.Listener = o.Listener
	} else if o.Address != "" {
		l, err := net.Listen("tcp", o.Address)
		if err != nil {
			t.Fatalf("starting a registry: %v", err)
		}
		srv.Listener.Close()
		srv.Listener = l
	}
	if o.TLS {
		srv.StartTLS()
		r.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	} else {
		srv.Start()
	}
	t.Cleanup(func() {
		srv.CloseClientConnections() // stalled ones do not end by themselves
		srv.Close()
	})
	r.Host = srv.Listener.Addr().String()
	return r
}

// Push stores an image under <repository>:<tag> and returns its full name and
// digest. It needs no credentials and is not seen by faults.
func (r *Registry) Push(t testing.TB, repoTag string, img v1.Image) (ref, digest string) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	repo, _, _ := strings.Cut(repoTag, ":")
	for _, l := range layers {
		d, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		rc, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(rc)
		if err != nil {
			t.Fatal(err)
		}
		rc.Close()
		r.PutBlob(t, repo, d.String(), data)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	id, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	r.PutBlob(t, repo, id.String(), config)
	manifest, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	mediaType, err := img.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	return r.PutManifest(t, repoTag, string(mediaType), manifest)
}

// PushIndex stores an index, whose images must be there.
func (r *Registry) PushIndex(t testing.TB, repoTag string, idx v1.ImageIndex) (ref, digest string) {
	t.Helper()
	data, err := idx.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	mediaType, err := idx.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	return r.PutManifest(t, repoTag, string(mediaType), data)
}

// PutBlob stores a blob of a repository.
func (r *Registry) PutBlob(t testing.TB, repo, digest string, data []byte) {
	t.Helper()
	r.put(t, http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+digest, "application/octet-stream", data)
}

// PutManifest stores a manifest as it is, whatever it claims.
func (r *Registry) PutManifest(t testing.TB, repoTag, mediaType string, manifest []byte) (ref, digest string) {
	t.Helper()
	repo, tag, ok := strings.Cut(repoTag, ":")
	if !ok {
		t.Fatalf("%q has no tag", repoTag)
	}
	r.put(t, http.MethodPut, "/v2/"+repo+"/manifests/"+tag, mediaType, manifest)
	return r.Host + "/" + repoTag, fmt.Sprintf("sha256:%x", sha256.Sum256(manifest))
}

// put asks the registry itself, past faults and the network.
func (r *Registry) put(t testing.TB, method, path, contentType string, data []byte) {
	t.Helper()
	req := httptest.NewRequest(method, path, bytes.NewReader(data))
	req.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	r.inner.ServeHTTP(w, req)
	if w.Code != http.StatusCreated {
		t.Fatalf("%s %s at the test's registry: %d %s", method, path, w.Code, w.Body)
	}
}

// Break has a fault see every request from now on; nil mends the registry.
func (r *Registry) Break(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = f
}

// Requests returns the requests since the last call.
func (r *Registry) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

// ServeHTTP implements http.Handler.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.seen = append(r.seen, Request{req.Method, req.URL.Path, req.URL.RawQuery, req.Header.Clone()})
	fault := r.fault
	r.mu.Unlock()
	if r.o.Latency > 0 {
		time.Sleep(r.o.Latency)
	}
	next := http.HandlerFunc(r.serve)
	if fault != nil {
		fault(w, req, next)
		return
	}
	next(w, req)
}

func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	switch {
	case req.URL.Path == "/token":
		r.serveToken(w, req)
		return
	case r.o.User == "":
	case r.o.Token && req.Header.Get("Authorization") != "Bearer "+r.token:
		scheme := "http"
		if r.o.TLS {
			scheme = "https"
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+scheme+"://"+r.Host+`/token",service="test"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
		return
	case !r.o.Token:
		if user, password, ok := req.BasicAuth(); !ok || user != r.o.User || password != r.o.Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
			return
		}
	}
	r.inner.ServeHTTP(w, req)
}

func (r *Registry) serveToken(w http.ResponseWriter, req *http.Request) {
	user, password, _ := req.BasicAuth()
	if req.Method == http.MethodPost {
		user, password = req.PostFormValue("username"), req.PostFormValue("password")
	}
	refreshed := r.o.IdentityToken != "" && req.PostFormValue("refresh_token") == r.o.IdentityToken
	if !refreshed && (user != r.o.User || password != r.o.Password) {
		http.Error(w, `{"details":"incorrect username or password"}`, http.StatusUnauthorized)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"token": r.token, "access_token": r.token, "expires_in": 300})
}

// Token is what the token server hands out.
func (r *Registry) Token() string { return r.token }
