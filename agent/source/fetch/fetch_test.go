package fetch

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func get(t *testing.T, cfg Config, handle http.HandlerFunc) (Answer, error) {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	cfg.URL, cfg.Timeout = u, time.Minute
	c := New(cfg)
	t.Cleanup(c.Close)
	return c.Get(context.Background(), "", "")
}

// TestBound: a body of just the bound is read, one of a byte more is not, both
// ways that a length may be told.
func TestBound(t *testing.T) {
	const most = 1000
	for _, n := range []int{most, most + 1} {
		body := strings.Repeat("x", n)
		for name, handle := range map[string]http.HandlerFunc{
			"length": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(n))
				_, _ = io.WriteString(w, body) // the client may have gone
			},
			"chunks": func(w http.ResponseWriter, _ *http.Request) {
				w.(http.Flusher).Flush()
				_, _ = io.WriteString(w, body)
			},
			"gzip": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				_, _ = io.WriteString(z, body)
				_ = z.Close()
			},
		} {
			a, err := get(t, Config{MaxBody: most}, handle)
			var refused *Refusal
			if n == most && (err != nil || string(a.Body) != body) || n > most && (!errors.As(err, &refused) || len(a.Body) != 0) {
				t.Errorf("%s of %d bytes: %d came, %v", name, n, len(a.Body), err)
			}
		}
	}
}

func TestNoFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	for _, cfg := range []Config{{CA: path}, {Cert: path, Key: path}} {
		if _, err := get(t, cfg, nil); err == nil || !strings.Contains(err.Error(), "none: no such file or directory") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{"7": 7 * time.Second, " 1 ": time.Second, "99999999": maxWait, "-1": 0, "": 0, "Wed, 21 Oct 2026 07:28:00 GMT": 0} {
		if got := retryAfter(value); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

// TestDescribe: the first words of what may be a manifest are not told.
func TestDescribe(t *testing.T) {
	for body, want := range map[string]string{
		"":                                " (a/b)",
		"<p>apiVersion Secret</p>":        ` (a/b, beginning with "<p>apiVersion Secret</p>")`,
		"password: x\nkind: Secret":       " (a/b)",
		"apiVersion: v1\nkind: Pod":       " (a/b)",
		" a\n\tb\x00\xff":                 " (a/b, beginning with \"a b\\x00?\")",
		strings.Repeat("ä", 4*FirstWords): ` (a/b, beginning with "` + strings.Repeat("ä", FirstWords/2) + `...")`,
	} {
		if got := Describe("a/b", []byte(body)); got != want {
			t.Errorf("%q: %s, want %s", body, got, want)
		}
	}
	if got := Describe("", nil); got != " (no content type)" {
		t.Error(got)
	}
}
