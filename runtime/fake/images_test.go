package fake

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/davit-agent/davit/runtime"
)

func TestImagesPullListAndRemove(t *testing.T) {
	n := New(t)
	i, rt := NewImages(n), n.Runtime()
	secret := runtime.Credential{Username: "ann", Password: "x"}
	i.Publish(&runtime.Image{Name: "web:1", ID: "sha256:aa", Size: 7})
	i.Publish(&runtime.Image{Name: "private:1", ID: "sha256:ab"}, secret)
	var stages []runtime.PullStage
	img, err := i.Pull(t.Context(), runtime.PullRequest{Ref: "web:1", Progress: func(p runtime.PullProgress) { stages = append(stages, p.Stage) }})
	if err != nil || len(img.RepoDigests) != 1 || img.Name != "docker.io/library/web:1" {
		t.Fatalf("%+v, %v", img, err)
	}
	if !slices.Equal(stages, []runtime.PullStage{runtime.PullResolving, runtime.PullFetching, runtime.PullUnpacking}) {
		t.Errorf("stages are %v", stages)
	}
	if byDigest, err := i.Pull(t.Context(), runtime.PullRequest{Ref: img.RepoDigests[0]}); err != nil || byDigest.ID != img.ID {
		t.Errorf("by digest: %+v, %v", byDigest, err)
	}
	for ref, say := range map[string]string{"none:1": "none:1: not found", "private:1": "pull access denied", "UPPER": "invalid image name"} {
		if _, err := i.Pull(t.Context(), runtime.PullRequest{Ref: ref}); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if _, err := i.Pull(t.Context(), runtime.PullRequest{Ref: "private:1", Credentials: []runtime.Credential{{}, secret}}); err != nil {
		t.Error(err)
	}
	if names, err := i.Load(t.Context(), strings.NewReader("loaded:1 sha256:bb\n")); err != nil || len(names) != 1 {
		t.Errorf("%q, %v", names, err)
	}
	all, err := i.Images(t.Context())
	if err != nil || len(all) != 3 || all[0].Names[0] != "docker.io/library/loaded:1" || all[0].RepoDigests != nil {
		t.Errorf("%+v, %v", all, err)
	}
	i.Pin("loaded:1")
	for ref, want := range map[string]error{"bb": runtime.ErrImagePinned, "loaded:1": runtime.ErrImagePinned, "a": runtime.ErrImageNotFound,
		"none:1": runtime.ErrImageNotFound, "UPPER": runtime.ErrInvalidImageName, "web:1": nil} {
		if err := i.RemoveImage(t.Context(), ref); !errors.Is(err, want) {
			t.Errorf("removing %s: %v, want %v", ref, err, want)
		}
	}
	if err := i.RemoveImage(t.Context(), "sha256:aa"); err != nil { // the name by digest is left
		t.Error(err)
	}
	if _, err := rt.Image(t.Context(), "web:1"); !errors.Is(err, runtime.ErrImageNotFound) {
		t.Errorf("a removed image: %v", err)
	}
	if _, err := rt.Image(t.Context(), "private:1"); err != nil {
		t.Error(err)
	}
}

func TestHeldPulls(t *testing.T) {
	n := New(t)
	i := NewImages(n)
	i.Publish(&runtime.Image{Name: "web:1", ID: "sha256:aa"})
	release := i.Hold("web:1")
	ctx, cancel := context.WithCancel(t.Context())
	fetching := make(chan struct{}, 2)
	pull := func(ctx context.Context) chan error {
		ended := make(chan error, 1)
		go func() {
			_, err := i.Pull(ctx, runtime.PullRequest{Ref: "web:1", Progress: func(p runtime.PullProgress) {
				if p.Stage == runtime.PullFetching {
					fetching <- struct{}{}
				}
			}})
			ended <- err
		}()
		return ended
	}
	one, two := pull(ctx), pull(t.Context())
	<-fetching
	<-fetching
	if i.Pulling("web:1") != 2 || i.Pulling("") != 2 || i.Pulling("x") != 0 {
		t.Errorf("%d pulls are under way", i.Pulling(""))
	}
	cancel()
	if err := <-one; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	release()
	if err := <-two; err != nil || i.Pulling("") != 0 {
		t.Errorf("%v, %d under way", err, i.Pulling(""))
	}
	n.Fail(Fault{Op: "pull", Nth: 1, Err: errors.New("boom")})
	if _, err := i.Pull(t.Context(), runtime.PullRequest{Ref: "web:1"}); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("a fault: %v", err)
	}
	n.StopDaemon()
	if _, err := i.Pull(t.Context(), runtime.PullRequest{Ref: "web:1"}); !errors.Is(err, runtime.ErrUnavailable) {
		t.Errorf("with the daemon away: %v", err)
	}
}
