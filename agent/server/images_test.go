package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/report"
	"github.com/davit-agent/davit/agent/server"
	"github.com/davit-agent/davit/agent/server/client"
	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/runtime"
)

// someImages is a node with two images whose registry is pull.
type someImages struct {
	pull    atomic.Pointer[pullFunc]
	removed chan string
}

type pullFunc func(ctx context.Context, req runtime.PullRequest) (*runtime.Image, error)

var created = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (*someImages) Images(context.Context) ([]runtime.ImageInfo, error) {
	return []runtime.ImageInfo{
		{ID: "sha256:1", Names: []string{"r.example/a:1", "r.example/a:2"}, RepoDigests: []string{"r.example/a@sha256:9"}, Size: 1234, Created: created},
		{ID: "sha256:2", Size: 5, Pinned: true},
	}, nil
}

func (s *someImages) Pull(ctx context.Context, req runtime.PullRequest) (*runtime.Image, error) {
	return (*s.pull.Load())(ctx, req)
}

func (*someImages) Load(_ context.Context, archive io.Reader) ([]string, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(archive, head); err != nil || string(head) == "junk" {
		return nil, errors.New("the archive is no archive")
	}
	n, err := io.Copy(io.Discard, archive)
	return []string{fmt.Sprintf("r.example/loaded:%d", n+4)}, err
}

func (s *someImages) RemoveImage(_ context.Context, ref string) error {
	switch ref {
	case "pinned":
		return fmt.Errorf("removing %q: %w", ref, runtime.ErrImagePinned)
	case "gone":
		return fmt.Errorf("removing %q: %w", ref, runtime.ErrImageNotFound)
	case "BAD":
		return fmt.Errorf("%w: %q", runtime.ErrInvalidImageName, ref)
	case "away":
		return runtime.ErrUnavailable
	}
	s.removed <- ref
	return nil
}

type imageFixture struct {
	*client.Client
	node   *someImages
	socket string
	table  *report.Table
	leave  func()
}

func newImageFixture(t *testing.T) *imageFixture {
	t.Helper()
	f := &imageFixture{socket: filepath.Join(t.TempDir(), "d.sock"), table: report.NewTable(),
		node: &someImages{removed: make(chan string, 10)}}
	srv, err := server.New(server.Options{Socket: f.socket, LogDir: "/logs", Pods: f.table, Images: f.node,
		Metrics: prometheus.NewRegistry(), Health: func() error { return nil }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	f.leave = func() { cancel(); <-done; done <- nil }
	t.Cleanup(f.leave)
	f.Client = client.New(f.socket)
	return f
}

func (f *imageFixture) pulls(pull pullFunc) { f.node.pull.Store(&pull) }

func TestImages(t *testing.T) {
	f := newImageFixture(t)
	pod := webPod()
	pod.Status.ContainerStatuses[0].ImageID = "sha256:1"
	pod.Status.ContainerStatuses[1].ImageID = "sha256:1"
	pod.Status.InitContainerStatuses[0].ImageID = "sha256:2"
	f.table.Set(pod)
	other := webPod()
	other.UID, other.Name = "u0", "a-n1"
	other.Status.ContainerStatuses = []v1.ContainerStatus{{Name: "x", ImageID: "sha256:1"}}
	f.table.Set(other)
	got, err := f.Images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []wire.Image{
		{ID: "sha256:1", Names: []string{"r.example/a:1", "r.example/a:2"}, RepoDigests: []string{"r.example/a@sha256:9"},
			Size: 1234, Created: created, Pods: []string{"default/a-n1", "default/web-n1"}},
		{ID: "sha256:2", Size: 5, Pinned: true, Pods: []string{"default/web-n1"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPullImage(t *testing.T) {
	f := newImageFixture(t)
	asked := make(chan runtime.PullRequest, 1)
	step := make(chan struct{})
	f.pulls(func(_ context.Context, req runtime.PullRequest) (*runtime.Image, error) {
		asked <- req
		for i := range 3 {
			req.Progress(runtime.PullProgress{Stage: runtime.PullFetching, Layers: 3, LayersDone: i, Bytes: int64(i), Total: 9})
			<-step
		}
		if req.Ref == "bad" {
			return nil, errors.New("half way: 500")
		}
		return &runtime.Image{Name: "r.example/" + req.Ref, ID: "sha256:7", Size: 9}, nil
	})
	for _, ref := range []string{"good", "bad"} {
		var seen []wire.ImageProgress
		img, err := f.PullImage(t.Context(), wire.ImagePull{Ref: ref, Username: "me", Password: "p"}, func(p wire.ImageProgress) {
			seen = append(seen, p)
			step <- struct{}{}
		})
		if req := <-asked; req.Ref != ref || len(req.Credentials) != 1 || req.Credentials[0] != (runtime.Credential{Username: "me", Password: "p"}) {
			t.Errorf("request %+v", req)
		}
		want := []wire.ImageProgress{
			{Stage: "fetching", Layers: 3, Total: 9},
			{Stage: "fetching", Layers: 3, LayersDone: 1, Bytes: 1, Total: 9},
			{Stage: "fetching", Layers: 3, LayersDone: 2, Bytes: 2, Total: 9},
		}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Error(diff)
		}
		switch {
		case ref == "good" && (err != nil || img.ID != "sha256:7" || !slices.Equal(img.Names, []string{"r.example/good"})):
			t.Errorf("image %+v, error %v", img, err)
		case ref == "bad" && (err == nil || err.Error() != "half way: 500"):
			t.Errorf("error %v", err)
		}
	}

	f.pulls(func(_ context.Context, req runtime.PullRequest) (*runtime.Image, error) {
		if len(req.Credentials) != 0 {
			t.Errorf("credentials %v", req.Credentials)
		}
		return nil, fmt.Errorf("%w: %q", runtime.ErrInvalidImageName, req.Ref)
	})
	_, err := f.PullImage(t.Context(), wire.ImagePull{Ref: "X"}, nil)
	wantErr(t, err, `invalid image name: "X"`)
	_, err = f.PullImage(t.Context(), wire.ImagePull{}, nil)
	wantErr(t, err, "field ref: name an image")
}

// A reader who goes takes the pull along; one who has stopped reading does not
// hold it up; and davit's leaving ends it.
func TestPullImageEnds(t *testing.T) {
	f := newImageFixture(t)
	began, ended := make(chan struct{}, 1), make(chan error, 1)
	f.pulls(func(ctx context.Context, req runtime.PullRequest) (*runtime.Image, error) {
		req.Progress(runtime.PullProgress{Stage: runtime.PullResolving})
		began <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	pull := func(ctx context.Context) {
		_, err := f.PullImage(ctx, wire.ImagePull{Ref: "a"}, nil)
		result <- err
	}
	go pull(ctx)
	<-began
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	wait(t, ended, "the end of the pull")

	f.pulls(func(_ context.Context, req runtime.PullRequest) (*runtime.Image, error) {
		for i := range 100_000 {
			req.Progress(runtime.PullProgress{Stage: runtime.PullFetching, Bytes: int64(i)})
		}
		ended <- nil
		return nil, errors.New("enough")
	})
	hold := make(chan struct{})
	go func() {
		_, err := f.PullImage(t.Context(), wire.ImagePull{Ref: "a"}, func(wire.ImageProgress) { <-hold })
		result <- err
	}()
	wait(t, ended, "a pull whose reader does not read")
	close(hold)
	if err := <-result; err == nil || err.Error() != "enough" {
		t.Errorf("error %v", err)
	}

	f.pulls(func(ctx context.Context, req runtime.PullRequest) (*runtime.Image, error) {
		req.Progress(runtime.PullProgress{Stage: runtime.PullResolving})
		began <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	go pull(t.Context())
	<-began
	f.leave()
	if err := <-result; err == nil {
		t.Error("a pull that davit left in the middle of has succeeded")
	}
}

func wait(t *testing.T, c <-chan error, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(limit):
		t.Fatalf("%s: not within %s", what, limit)
	}
}

func TestLoadImages(t *testing.T) {
	f := newImageFixture(t)
	names, err := f.LoadImages(t.Context(), bytes.NewReader(make([]byte, 3<<20)))
	if err != nil || !slices.Equal(names, []string{"r.example/loaded:3145728"}) {
		t.Errorf("names %v, error %v", names, err)
	}
	_, err = f.LoadImages(t.Context(), io.MultiReader(strings.NewReader("junk"), bytes.NewReader(make([]byte, 64<<20))))
	wantErr(t, err, "the archive is no archive") // although most of it was not read
}

// An upload that gives nothing does not keep davit from leaving.
func TestLeaveWithUpload(t *testing.T) {
	f := newImageFixture(t)
	in, out := io.Pipe()
	defer out.Close()
	result := make(chan error, 1)
	go func() {
		_, err := f.LoadImages(t.Context(), in)
		result <- err
	}()
	if _, err := out.Write(make([]byte, 1<<20)); err != nil { // davit reads it
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() { f.leave(); left <- nil }()
	wait(t, left, "leaving")
	if err := <-result; err == nil {
		t.Error("half an upload has succeeded")
	}
}

func TestRemoveImage(t *testing.T) {
	f := newImageFixture(t)
	if err := f.RemoveImage(t.Context(), "r.example/a:1&x"); err != nil || <-f.node.removed != "r.example/a:1&x" {
		t.Error(err)
	}
	for ref, want := range map[string]struct {
		code int
		text string
	}{
		"pinned": {http.StatusConflict, "image is pinned"}, "gone": {http.StatusNotFound, "image is not present"},
		"BAD": {http.StatusBadRequest, "invalid image name"}, "away": {http.StatusServiceUnavailable, "not reachable"},
		"": {http.StatusBadRequest, "parameter ref"},
	} {
		wantErr(t, f.RemoveImage(t.Context(), ref), want.text)
		if code, body := f.do(t, http.MethodDelete, "/v1/images?ref="+ref, ""); code != want.code || !strings.Contains(body, want.text) {
			t.Errorf("%s: %d %s", ref, code, body)
		}
	}
}

// What is wrong with a request is told without the request: it holds a password.
func TestBadPullBody(t *testing.T) {
	f := newImageFixture(t)
	f.pulls(func(context.Context, runtime.PullRequest) (*runtime.Image, error) {
		t.Error("a broken request is a pull")
		return nil, errors.New("x")
	})
	for _, body := range []string{"hunter2", `{"ref":"a","passwort":"hunter2"}`, `{"ref":"a","password":["hunter2"]}`,
		`{"ref":"a","password":"` + strings.Repeat("hunter2", 50_000) + `"}`, ""} {
		code, text := f.do(t, http.MethodPost, "/v1/images/pull", body)
		if code != http.StatusBadRequest || strings.Contains(text, "hunter2") || strings.Contains(text, "passwort") {
			t.Errorf("%.40s: %d %s", body, code, text)
		}
	}
}

func (f *imageFixture) do(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://davit"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", f.socket)
	}}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
