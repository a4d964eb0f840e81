package images

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/runtime"
)

const (
	always       = v1.PullAlways
	ifNotPresent = v1.PullIfNotPresent
	never        = v1.PullNever

	appName = "docker.io/library/app:latest"
)

func TestPolicies(t *testing.T) {
	for _, c := range []struct {
		policy  v1.PullPolicy
		present bool
		id      string // returned at once; "": see the others
		pulls   int
		reason  string
	}{
		{policy: ifNotPresent, present: true, id: "old"},
		{policy: ifNotPresent, pulls: 1},
		{policy: "", present: true, id: "old"},
		{policy: "", pulls: 1},
		{policy: never, present: true, id: "old"},
		{policy: never, reason: ReasonNeverPull},
		{policy: always, present: true, pulls: 1},
		{policy: always, pulls: 1},
	} {
		rt := newFakeRuntime()
		if c.present {
			rt = newFakeRuntime(appName)
		}
		bubble(t, rt, 1, func(w *world) {
			img, err := w.ask("u", "app", c.policy)
			reason, _ := Explain(err)
			var pulling *Pulling
			switch {
			case c.id != "":
				if err != nil || img.ID != c.id {
					t.Errorf("%+v: image %v, error %v", c, img, err)
				}
			case c.reason != "":
				if reason != c.reason || img != nil {
					t.Errorf("%+v: image %v, error %v", c, img, err)
				}
			case !errors.As(err, &pulling):
				t.Errorf("%+v: image %v, error %v", c, img, err)
			}
			if n := len(rt.begun()); n != c.pulls {
				t.Errorf("%+v: %d pulls", c, n)
			}
			if len(w.claims) != c.pulls {
				t.Errorf("%+v: %d claims are left", c, len(w.claims))
			}
		})
	}
}

// Equal images with equal credentials are pulled once; others are not shared.
func TestSharing(t *testing.T) {
	rt := newFakeRuntime()
	bubble(t, rt, 9, func(w *world) {
		names := []string{"app", "app:latest", "docker.io/library/app", "index.docker.io/app"}
		for i, ref := range names {
			w.ask(fmt.Sprint("u", i), ref, ifNotPresent)
		}
		secret := Request{UID: "s", ContainerID: "c-s", Ref: "app", Policy: ifNotPresent, Secrets: []*v1.Secret{pullSecret("s", "me")}}
		if _, err := w.Ensure(w.t.Context(), secret); err == nil {
			t.Fatal("an image that is not there is")
		}
		synctest.Wait()
		if got := rt.begun(); !slices.Equal(got, []string{appName, appName}) {
			t.Fatalf("pulls %v", got)
		}
		if a, b := rt.pull(0).Credentials, rt.pull(1).Credentials; len(a) != 0 || len(b) != 1 || b[0].Username != "me" {
			t.Errorf("credentials %v and %v", a, b)
		}
		w.end(0, errors.New("not for you"))
		for i, ref := range names {
			uid := fmt.Sprint("u", i)
			if n := w.woken(uid); n != 1 {
				t.Errorf("pod %s was woken %d times", uid, n)
			}
			w.wantReason(uid, ref, ifNotPresent, ReasonPull, "not for you")
		}
		if n := w.woken("s"); n != 0 {
			t.Errorf("the other pod was woken %d times", n)
		}
		w.end(1, nil)
		img, err := w.Ensure(w.t.Context(), secret)
		if err != nil || img.ID != "pulled 2" {
			t.Errorf("image %v, error %v", img, err)
		}
		if want := map[string]int{ResultError: 1, ResultSuccess: 1}; !reflect.DeepEqual(w.results, want) {
			t.Errorf("metrics %v", w.results)
		}
	})
}

func pullSecret(name, user string) *v1.Secret {
	return &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Type: v1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{v1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{"docker.io":{"username":%q,"password":"p"}}}`, user)}}
}

type nodeCredentials struct {
	creds []runtime.Credential
	errs  []error
}

func (n nodeCredentials) Lookup(string) ([]runtime.Credential, []error) { return n.creds, n.errs }

// The pod's credentials come before the node's, and what is wrong with them is
// told if the pull fails, never what is in them.
func TestCredentials(t *testing.T) {
	rt := newFakeRuntime()
	bubble(t, rt, 1, func(w *world) {
		w.cfg.Credentials = nodeCredentials{
			creds: []runtime.Credential{{Username: "node"}, {Username: "b", Password: "p"}},
			errs:  []error{errors.New("the node's file is broken")}}
		broken := pullSecret("broken", "x")
		broken.Data[v1.DockerConfigJsonKey] = []byte(`{"auths": hunter2`)
		req := Request{UID: "u", ContainerID: "c", Ref: "app", Policy: always,
			Secrets: []*v1.Secret{broken, pullSecret("a", "a"), pullSecret("b", "b")}, Missing: []string{"gone", "lost"}}
		_, _ = w.Ensure(w.t.Context(), req)
		synctest.Wait()
		var users []string
		for _, c := range rt.pull(0).Credentials {
			users = append(users, c.Username)
		}
		if !slices.Equal(users, []string{"a", "b", "node"}) {
			t.Errorf("credentials of %v", users)
		}
		w.end(0, errors.New("401"))
		_, err := w.Ensure(w.t.Context(), req)
		want := `401 (pull secrets that do not exist: gone, lost; pull secret "ns/broken", key ".dockerconfigjson": it is not JSON: error at byte 11; the node's file is broken)`
		if err == nil || err.Error() != want {
			t.Errorf("error %v\nwant  %s", err, want)
		}
	})
}

func TestQueue(t *testing.T) {
	rt := newFakeRuntime()
	bubble(t, rt, 2, func(w *world) {
		for _, uid := range []string{"a", "b", "c", "d", "e"} {
			w.ask(uid, uid, ifNotPresent)
		}
		w.wantPulling("b", "b", `Pulling image "b": asking the registry`)
		w.wantPulling("c", "c", `Waiting to pull image "c": 2 pulls under way`)
		w.wantPulling("e", "e", `Waiting to pull image "e": 2 pulls under way, 2 waiting before it`)
		w.Release("d") // it has not begun, and never does
		w.wantPulling("e", "e", `Waiting to pull image "e": 2 pulls under way, 1 waiting before it`)
		if n := w.woken("e"); n != 1 {
			t.Errorf("who has come nearer was woken %d times", n)
		}
		time.Sleep(wakeEvery)
		w.end(1, nil)
		if n := w.woken("e"); n != 1 {
			t.Errorf("whose turn is next was woken %d times", n)
		}
		w.wantID("b", "b", ifNotPresent, "pulled 2")
		w.wantPulling("c", "c", `Pulling image "c": asking the registry`)
		w.end(0, errors.New("x")) // a failure makes room, too
		w.end(2, nil)
		w.end(3, nil)
		w.wantID("e", "e", ifNotPresent, "pulled 4")
		if got := rt.begun(); len(got) != 4 || !strings.Contains(got[2], "/c:") || !strings.Contains(got[3], "/e:") || rt.most != 2 {
			t.Errorf("pulls %v, %d at a time", got, rt.most)
		}
	})
}

// The last who leaves cancels a pull, nobody else does.
func TestRelease(t *testing.T) {
	rt := newFakeRuntime()
	bubble(t, rt, 1, func(w *world) {
		w.ask("a", "app", ifNotPresent)
		w.ask("b", "app", ifNotPresent)
		w.Release("a")
		w.Release("nobody")
		synctest.Wait()
		first := rt.pull(0)
		if first.ctx.Err() != nil {
			t.Fatal("a pull was cancelled that somebody waits for")
		}
		w.Release("b")
		synctest.Wait()
		if first.ctx.Err() == nil || w.results[ResultCancelled] != 1 {
			t.Errorf("the last has left: %v, %v", first.ctx.Err(), w.results)
		}
		w.Release("b")
		w.wantPulling("c", "app", `Pulling image "app": asking the registry`) // afresh, not the cancelled one
		if rt.pull(1).ctx.Err() != nil {
			t.Error("the pull of the next is cancelled")
		}
		w.end(1, nil)
		w.Release("c") // its result was not taken
		if w.Release("c"); len(w.claims) != 0 {
			t.Errorf("%d claims are left", len(w.claims))
		}
	})
}

// Who comes while a cancelled pull is ending does not get its end.
func TestReleaseAndAsk(t *testing.T) {
	rt := newFakeRuntime()
	rt.linger = 3 * time.Second
	bubble(t, rt, 1, func(w *world) {
		w.ask("a", "app", ifNotPresent)
		w.Release("a")
		w.wantPulling("a", "app", `Waiting to pull image "app": 1 pull under way`)
		time.Sleep(rt.linger)
		if n := w.woken("a"); n != 1 {
			t.Errorf("woken %d times when its turn came", n)
		}
		w.end(1, nil)
		w.wantID("a", "app", ifNotPresent, "pulled 2")
	})
}

// A container that wants another image gives the first up.
func TestChangedMind(t *testing.T) {
	rt := newFakeRuntime()
	bubble(t, rt, 1, func(w *world) {
		w.ask("a", "one", ifNotPresent)
		w.ask("a", "two", ifNotPresent)
		synctest.Wait()
		if got := rt.begun(); len(got) != 2 || rt.pull(0).ctx.Err() == nil || rt.pull(1).ctx.Err() != nil {
			t.Errorf("pulls %v", got)
		}
	})
}

// Always pulls once for each attempt, and keeps the result until it is taken.
func TestAlwaysPerAttempt(t *testing.T) {
	rt := newFakeRuntime(appName)
	bubble(t, rt, 1, func(w *world) {
		ask := func(id string) (*runtime.Image, error) {
			img, err := w.Ensure(w.t.Context(), Request{UID: "u", ContainerID: id, Ref: "app", Policy: always})
			synctest.Wait()
			return img, err
		}
		for i, id := range []string{"first", "second"} {
			if _, err := ask(id); err == nil {
				t.Fatal("Always took what was there")
			}
			w.end(i, nil)
			time.Sleep(time.Hour)
			if img, err := ask(id); err != nil || img.ID != fmt.Sprint("pulled ", i+1) {
				t.Errorf("image %v, error %v", img, err)
			}
		}
		if n := len(rt.begun()); n != 2 || rt.lookups != 0 {
			t.Errorf("%d pulls, %d lookups", n, rt.lookups)
		}
	})
}

// A lookup that takes long holds nobody up, and its result is used, however long
// each of them takes.
func TestSlowLookup(t *testing.T) {
	rt := newFakeRuntime(appName)
	rt.lookFor = 5 * time.Second
	bubble(t, rt, 1, func(w *world) {
		w.wantPulling("u", "app", `Looking for image "app" on this node`)
		began := time.Now()
		w.wantPulling("u", "app", `Looking for image "app" on this node`)
		if took := time.Since(began); took > 0 {
			t.Errorf("the second call waits as well, for %s", took)
		}
		if got := w.Pulling("u"); got["c-u"] != `Looking for image "app" on this node` {
			t.Errorf("pulling %v", got)
		}
		time.Sleep(5 * time.Second)
		if n := w.woken("u"); n != 1 {
			t.Errorf("woken %d times", n)
		}
		if got := w.Pulling("u"); len(got) > 0 {
			t.Errorf("the pod is to ask again and is told to wait: %v", got)
		}
		w.wantID("u", "app", ifNotPresent, "old")

		w.wantPulling("v", "new", `Looking for image "new" on this node`)
		time.Sleep(5 * time.Second)
		w.wantPulling("v", "new", `Pulling image "new": asking the registry`)
		if rt.lookups != 2 {
			t.Errorf("%d lookups", rt.lookups)
		}

		w.wantPulling("x", "app", `Looking for image "app" on this node`)
		w.Release("x")
		time.Sleep(time.Minute)
		if rt.lookups != 2 || len(w.claims) != 1 {
			t.Errorf("a released pod's lookup goes on: %d lookups, %d claims", rt.lookups, len(w.claims))
		}
	})
}

func TestLeaving(t *testing.T) {
	rt := newFakeRuntime()
	bubble(t, rt, 1, func(w *world) {
		ctx, leave := context.WithCancel(w.t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		w.ask("a", "one", ifNotPresent)
		w.ask("b", "two", ifNotPresent)
		leave()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := rt.begun(); len(got) != 1 || rt.running != 0 {
			t.Errorf("pulls %v, %d run", got, rt.running)
		}
		for _, policy := range []v1.PullPolicy{always, ifNotPresent} {
			if _, err := w.ask("c", "three", policy); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: error %v", policy, err)
			}
		}
		if _, err := w.ask("a", "one", ifNotPresent); !errors.Is(err, ErrClosed) {
			t.Errorf("whoever waited: %v", err)
		}
		if _, err := w.Pull(w.t.Context(), runtime.PullRequest{Ref: "x"}); !errors.Is(err, ErrClosed) {
			t.Errorf("Pull: %v", err)
		}
	})
	rt = newFakeRuntime()
	rt.lookFor = time.Hour
	bubble(t, rt, 1, func(w *world) {
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Millisecond)
		defer cancel()
		if _, err := w.Ensure(ctx, Request{UID: "u", ContainerID: "c", Ref: "app"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}
