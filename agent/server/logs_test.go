package server_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/davit-agent/davit/agent/server"
	"github.com/davit-agent/davit/agent/server/client"
)

// What is asked for reaches the streamer, and is Kubernetes' in between.
func TestLogParameters(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	got := make(chan server.LogRequest, 1)
	streamer := logFunc(func(_ context.Context, req server.LogRequest, _, _ io.Writer) error { got <- req; return nil })
	f.logs.Store(&streamer)
	tail := int64(7)
	at := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	err := f.Logs(t.Context(), client.LogOptions{Namespace: "default", Pod: "web", Container: "writer", Tail: &tail, Since: at, LimitBytes: 9}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if req := <-got; req.Tail == nil || *req.Tail != 7 || !req.Since.Equal(at) || req.LimitBytes != 9 || req.Follow {
		t.Errorf("got %+v", req)
	}
	if err := f.Logs(t.Context(), client.LogOptions{Namespace: "default", Pod: "web", Container: "writer"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if req := <-got; req.Tail != nil || !req.Since.IsZero() || req.LimitBytes != 0 {
		t.Errorf("got %+v", req)
	}

	for query, want := range map[string]string{
		"tailLines=-1":                          "parameter tailLines: -1 is too small, it must be at least 0",
		"tailLines=many":                        `parameter tailLines: \"many\" is no whole number`,
		"limitBytes=0":                          "parameter limitBytes: 0 is too small, it must be at least 1",
		"sinceSeconds=0":                        "parameter sinceSeconds: 0 is too small",
		"sinceTime=now":                         "is no RFC 3339 time",
		"sinceTime=2026-01-02T15:04:05%2B02:00": "",
		"sinceTime=2026-01-02T15%3A04%3A05Z&sinceSeconds=1": "at most one of `sinceTime` or `sinceSeconds` may be specified",
		"follow=perhaps": "neither true nor false",
		"sinceSeconds=" + strings.Repeat("9", 18):             "",
		"sinceSeconds=60&tailLines=0&limitBytes=1&follow=yes": "neither true nor false",
	} {
		code, body := f.get(t, "/v1/pods/default/web/log?container=writer&"+query)
		if want == "" {
			if code != http.StatusOK {
				t.Errorf("%s: %d %s", query, code, body)
			}
			if req := <-got; req.Since.IsZero() || req.Since.After(time.Now()) {
				t.Errorf("%s: since %s", query, req.Since)
			}
			continue
		}
		if code != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %s", query, code, body, want)
		}
	}
}

func (f *fixture) get(t *testing.T, path string) (int, string) {
	t.Helper()
	conn := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", f.socket)
	}}}
	defer conn.CloseIdleConnections()
	resp, err := conn.Get("http://davit" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// A log file that is gone is said to be gone.
func TestLogGone(t *testing.T) {
	f := newFixture(t)
	f.table.Set(webPod())
	gone := logFunc(func(context.Context, server.LogRequest, io.Writer, io.Writer) error {
		return fmt.Errorf("opening log: %w", fs.ErrNotExist)
	})
	f.logs.Store(&gone)
	code, body := f.get(t, "/v1/pods/default/web/log?container=writer")
	if code != http.StatusNotFound || !strings.Contains(body, "the log is gone") {
		t.Errorf("%d %s", code, body)
	}
}
