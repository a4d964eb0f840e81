package testbed

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
)

// IsBlob tells whether a request is for a blob's bytes.
func IsBlob(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/")
}

// IsManifest tells whether a request is about a manifest or index.
func IsManifest(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }

// Only has a fault happen to the requests that match, and others be answered.
func Only(match func(*http.Request) bool, f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if match(r) {
			f(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// First has a fault happen n times.
func First(n int64, f Fault) Fault {
	var count atomic.Int64
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if count.Add(1) <= n {
			f(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// Answer answers with a status; header are names and values in turn.
func Answer(status int, header ...string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
	}
}

// Truncated closes the connection after half of what it announced, or of what
// is left of it where the client asks for the rest.
func Truncated(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := record(r, next)
	header(w, rec)
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
	panic(http.ErrAbortHandler)
}

// Shortened announces and sends half of a blob, as if that was all.
func Shortened(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := record(r, next)
	half := rec.Body.Bytes()[:rec.Body.Len()/2]
	header(w, rec)
	w.Header().Set("Content-Length", strconv.Itoa(len(half)))
	w.WriteHeader(rec.Code)
	_, _ = w.Write(half)
}

// Flipped changes a byte in the middle.
func Flipped(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := record(r, next)
	body := rec.Body.Bytes()
	if len(body) > 0 {
		body[len(body)/2] ^= 0xff
	}
	header(w, rec)
	w.WriteHeader(rec.Code)
	_, _ = w.Write(body)
}

// Stalled sends half, then nothing until the client goes away.
func Stalled(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := record(r, next)
	header(w, rec)
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// Silent does not answer until the client goes away.
func Silent(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

func record(r *http.Request, next http.Handler) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	return rec
}

func header(w http.ResponseWriter, rec *httptest.ResponseRecorder) {
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	if rec.Header().Get("Content-Length") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(rec.Body.Len()))
	}
}
