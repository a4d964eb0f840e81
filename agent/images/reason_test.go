package images

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/davit-agent/davit/runtime"
)

// What kubelet says for each way to fail.
func TestReasons(t *testing.T) {
	rt := newFakeRuntime(appName)
	bubble(t, rt, 1, func(w *world) {
		defer w.Release("u")
		w.wantReason("u", "APP", always, "InvalidImageName",
			`Failed to apply default image tag "APP": couldn't parse image name "APP": invalid reference format: repository name (library/APP) must be lowercase`)
		w.wantReason("u", "app:", never, "InvalidImageName",
			`Failed to apply default image tag "app:": couldn't parse image name "app:": invalid reference format`)
		w.wantReason("u", "other", never, "ErrImageNeverPull", `Container image "other" is not present with pull policy of Never`)

		// The registry is away: Always fails though the image is here.
		w.ask("u", "app", always)
		w.end(0, errors.New("connection refused"))
		w.wantReason("u", "app", always, "ErrImagePull", "connection refused")
		time.Sleep(retryAfter)
		w.ask("u", "app", always)
		w.end(1, unavailable{errors.New("503 from everybody")})
		w.wantReason("u", "app", always, "RegistryUnavailable", "image pull failed for app:latest because the registry is unavailable: 503 from everybody")

		// containerd is away: that is no failed pull, for which lifecycle would wait longer each time.
		time.Sleep(retryAfter)
		w.ask("u", "app", always)
		w.end(2, fmt.Errorf("containerd: %w", runtime.ErrUnavailable))
		w.wantReason("u", "app", always, "ImageInspectError", "containerd: container runtime is not reachable")

		rt.lookupErr = fmt.Errorf("containerd: %w", runtime.ErrUnavailable)
		w.wantReason("u", "app", ifNotPresent, "ImageInspectError", `Failed to inspect image "app": containerd: container runtime is not reachable`)
		w.wantReason("u", "app", never, "ImageInspectError", `Failed to inspect image "app": containerd: container runtime is not reachable`)
		if len(w.claims) != 0 {
			t.Errorf("%d claims are left", len(w.claims))
		}
	})
	for _, c := range []struct {
		err    error
		reason string
	}{
		{nil, ""},
		{&Pulling{Ref: "x"}, "ContainerCreating"},
		{fmt.Errorf("creating: %w", &Error{Reason: "R"}), "R"},
		{fmt.Errorf("%w: x", runtime.ErrInvalidImageName), "InvalidImageName"},
		{runtime.ErrUnavailable, "ImageInspectError"},
		{errors.New("x"), "ErrImagePull"},
	} {
		if reason, _ := Explain(c.err); reason != c.reason {
			t.Errorf("%v: %s, want %s", c.err, reason, c.reason)
		}
	}
}

type unavailable struct{ error }

func (unavailable) RegistryUnavailable() bool { return true }

func TestErrorsKeepTheirCause(t *testing.T) {
	bubble(t, newFakeRuntime(), 1, func(w *world) {
		if _, err := w.ask("u", "A", always); !errors.Is(err, runtime.ErrInvalidImageName) {
			t.Error(err)
		}
		if _, err := w.ask("u", "a", never); !errors.Is(err, runtime.ErrImageNotFound) {
			t.Error(err)
		}
		cause := errors.New("cause")
		w.ask("u", "a", always)
		w.end(0, cause)
		if _, err := w.ask("u", "a", always); !errors.Is(err, cause) {
			t.Error(err)
		}
	})
}

// A failed pull stands for a while, so that nobody asks a registry in a loop,
// and the next one tries afresh.
func TestFailureStands(t *testing.T) {
	rt := newFakeRuntime()
	bubble(t, rt, 1, func(w *world) {
		w.ask("u", "app", ifNotPresent)
		w.end(0, errors.New("no such tag"))
		for range 10 {
			w.wantReason("u", "app", ifNotPresent, ReasonPull, "no such tag")
		}
		w.wantPulling("v", "app", `Pulling image "app": asking the registry`) // another pod is another matter
		w.end(1, errors.New("still none"))
		w.wantReason("u", "app", ifNotPresent, ReasonPull, "no such tag")
		time.Sleep(retryAfter)
		w.wantPulling("u", "app", `Pulling image "app": asking the registry`)
		w.end(2, nil)
		w.wantID("u", "app", ifNotPresent, "pulled 3")
		w.Release("v")

		w.ask("x", "late", ifNotPresent)
		w.end(3, errors.New("no such tag"))
		w.wantReason("x", "late", ifNotPresent, ReasonPull, "no such tag")
		rt.present["docker.io/library/late:latest"] = &runtime.Image{ID: "loaded"}
		time.Sleep(retryAfter)
		w.wantID("x", "late", ifNotPresent, "loaded")
		if len(w.claims) != 0 {
			t.Errorf("%d claims are left", len(w.claims))
		}
	})
}
