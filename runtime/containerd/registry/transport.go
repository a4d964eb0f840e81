package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// Tries is how often a request is sent that is answered by 429 or 5xx.
	Tries = 4
	// firstPause doubles with each try.
	firstPause = 500 * time.Millisecond
	// maxPause is the longest Retry-After that is waited for; whoever asks for
	// more is asked again by a later pull.
	maxPause = 30 * time.Second

	maxRedirects = 10
	// MaxDocument bounds manifests, indexes and configurations: as containerd's
	// resolver does, 4 MiB.
	MaxDocument = 4 << 20
	maxErrorDoc = 8 << 10
	maxTokenDoc = 1 << 20
)

// StatusError is an answer that did not get better.
type StatusError struct {
	Status string
	Tries  int
	Wait   time.Duration // what the registry asked for; 0 is nothing
}

// Error implements error.
func (e *StatusError) Error() string {
	s := fmt.Sprintf("unexpected status: %s", e.Status)
	if e.Tries > 1 {
		s += fmt.Sprintf(" (after %d tries)", e.Tries)
	}
	if e.Wait > 0 {
		s += fmt.Sprintf("; the registry asks to wait %s", e.Wait)
	}
	return s
}

// transport sends the requests of one pull.
type transport struct {
	base   http.RoundTripper
	access *Access
}

// RoundTrip implements http.RoundTripper. It follows redirects.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	for try := 1; ; try++ {
		resp, err := t.follow(req)
		if err != nil || !passing(resp.StatusCode) {
			return resp, err
		}
		wait := retryAfter(resp, time.Now())
		failed := &StatusError{Status: resp.Status, Tries: try, Wait: wait}
		_ = resp.Body.Close()
		if try == Tries || wait > maxPause || !t.access.patient(req.URL.Host) {
			return nil, failed
		}
		if req.Body != nil && req.Body != http.NoBody {
			if req.GetBody == nil {
				return nil, failed
			}
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			req = req.Clone(req.Context())
			req.Body = body
		}
		pause := firstPause << (try - 1)
		if err := sleep(req.Context(), max(wait, pause+rand.N(pause/2))); err != nil {
			return nil, err
		}
	}
}

func (t *transport) closeIdle() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// passing tells whether a status may be another one soon.
func passing(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryAfter reads the header of RFC 9110, section 10.2.3: seconds or a date.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	v := resp.Header.Get("Retry-After")
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, at.Sub(now).Round(time.Second))
	}
	return 0
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// follow sends a request and goes where it is redirected to.
func (t *transport) follow(req *http.Request) (*http.Response, error) {
	origin := req.URL
	for hop := 0; ; hop++ {
		end := t.access.watch.begin(req.URL.Host)
		resp, err := t.base.RoundTrip(req)
		end(err == nil)
		if err != nil {
			return nil, err
		}
		if !redirects(resp) {
			return t.bounded(resp, sameOrigin(origin, req.URL)), nil
		}
		_ = resp.Body.Close()
		if hop == maxRedirects {
			return nil, fmt.Errorf("%s redirects more than %d times", origin.Host, maxRedirects)
		}
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			return nil, fmt.Errorf("%s redirects a %s request, which is not followed", req.URL.Host, req.Method)
		}
		to, err := req.URL.Parse(resp.Header.Get("Location"))
		if err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
			return nil, fmt.Errorf("%s redirects to an address that is none of HTTP's", req.URL.Host)
		}
		next := req.Clone(req.Context())
		next.URL, next.Host, to.User = to, "", nil
		if !sameOrigin(origin, to) {
			next.Header = portable(req.Header)
		}
		req = next
	}
}

func redirects(resp *http.Response) bool {
	return slices.Contains([]int{301, 302, 303, 307, 308}, resp.StatusCode) && resp.Header.Get("Location") != ""
}

// portable are the headers that another origin may see.
func portable(h http.Header) http.Header {
	kept := http.Header{}
	for _, key := range []string{"Accept", "Accept-Encoding", "Range", "User-Agent"} {
		if v := h.Values(key); v != nil {
			kept[key] = v
		}
	}
	return kept
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// bounded has a response's body watched, and bounded where it is a document.
func (t *transport) bounded(resp *http.Response, atOrigin bool) *http.Response {
	u := resp.Request.URL
	if !atOrigin { // whose query may be a signature
		bare := *u
		bare.RawQuery = ""
		resp.Request = resp.Request.Clone(resp.Request.Context())
		resp.Request.URL = &bare
	}
	resp.Body = &watchedBody{ReadCloser: resp.Body, watch: t.access.watch, what: u.Host + u.Path}
	switch {
	case resp.StatusCode > 299:
		resp.Body = &cutBody{resp.Body, io.LimitReader(resp.Body, maxErrorDoc)}
	case strings.Contains(u.Path, "/manifests/"):
		resp.Body = &boundedBody{resp.Body, MaxDocument + 1}
	}
	return resp
}

// cutBody ends early.
type cutBody struct {
	io.Closer
	io.Reader
}

// boundedBody fails when it is longer than it may be.
type boundedBody struct {
	io.ReadCloser
	left int64
}

var errTooLong = errors.New("the registry sends more than it may")

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLong
	}
	return n, err
}

// tokens is the transport to token servers, whose answers are bounded.
type tokens struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t tokens) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = &boundedBody{resp.Body, maxTokenDoc}
	}
	return resp, err
}
