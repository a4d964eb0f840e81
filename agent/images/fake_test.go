package images

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime"
)

// fakeRuntime has the images that are present; its pulls end when the test ends
// them, or when they are cancelled.
type fakeRuntime struct {
	mu        sync.Mutex
	present   map[string]*runtime.Image
	lookupErr error
	lookFor   time.Duration // how long a lookup takes
	lookups   int
	linger    time.Duration // how long a cancelled pull takes to end
	pulls     []*fakePull   // all, in the order in which they were begun
	running   int
	most      int // that ran at a time
}

type fakePull struct {
	runtime.PullRequest
	ctx    context.Context
	result chan error
}

func newFakeRuntime(present ...string) *fakeRuntime {
	f := &fakeRuntime{present: map[string]*runtime.Image{}}
	for _, name := range present {
		f.present[name] = &runtime.Image{Name: name, ID: "old"}
	}
	return f
}

func (f *fakeRuntime) Image(ctx context.Context, ref string) (*runtime.Image, error) {
	select {
	case <-time.After(f.lookFor):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookups++
	if f.lookupErr != nil {
		return nil, f.lookupErr
	}
	if img := f.present[ref]; img != nil {
		return img, nil
	}
	return nil, fmt.Errorf("looking up image %q: %w", ref, runtime.ErrImageNotFound)
}

func (f *fakeRuntime) Pull(ctx context.Context, req runtime.PullRequest) (*runtime.Image, error) {
	pull := &fakePull{PullRequest: req, ctx: ctx, result: make(chan error)}
	f.mu.Lock()
	f.pulls = append(f.pulls, pull)
	f.running++
	f.most = max(f.most, f.running)
	n := len(f.pulls)
	f.mu.Unlock()
	var err error
	select {
	case err = <-pull.result:
	case <-ctx.Done():
		time.Sleep(f.linger)
		err = ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
	if err != nil {
		return nil, err
	}
	f.present[req.Ref] = &runtime.Image{Name: req.Ref, ID: fmt.Sprint("pulled ", n)}
	return f.present[req.Ref], nil
}

// begun returns the names of the pulls so far.
func (f *fakeRuntime) begun() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for _, p := range f.pulls {
		names = append(names, p.Ref)
	}
	return names
}

func (f *fakeRuntime) pull(i int) *fakePull {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pulls[i]
}

// world is a Puller on a fake in a synctest bubble.
type world struct {
	*Puller
	t  *testing.T
	rt *fakeRuntime

	mu      sync.Mutex
	wakes   map[string]int
	results map[string]int
}

func (w *world) ImagePulled(result string, _ time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.results[result]++
}

// woken waits until nothing moves and returns how often a pod was woken since
// the last time.
func (w *world) woken(uid string) int {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.wakes[uid]
	delete(w.wakes, uid)
	return n
}

func (w *world) wake(uid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wakes[uid]++
}

// bubble runs f with a Puller that may do so many pulls at a time.
func bubble(t *testing.T, rt *fakeRuntime, parallel int, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, rt: rt, wakes: map[string]int{}, results: map[string]int{}}
		w.Puller = New(Config{Runtime: rt, Metrics: w, MaxParallel: parallel, Wake: w.wake, Log: slog.New(slog.DiscardHandler)})
		f(w)
		w.Close()
		if rt.running != 0 || len(w.pulls) != 0 {
			t.Errorf("%d pulls run and %d are known after Close", rt.running, len(w.pulls))
		}
	})
}

// ask is Ensure for the only container of a pod.
func (w *world) ask(uid, ref string, policy v1.PullPolicy) (*runtime.Image, error) {
	began := time.Now()
	img, err := w.Ensure(w.t.Context(), Request{UID: uid, ContainerID: "c-" + uid, Ref: ref, Policy: policy})
	if took := time.Since(began); took > lookupPatience {
		w.t.Errorf("Ensure took %s", took)
	}
	synctest.Wait()
	return img, err
}

// wantPulling asks and expects to be told this.
func (w *world) wantPulling(uid, ref, text string) {
	w.t.Helper()
	img, err := w.ask(uid, ref, v1.PullIfNotPresent)
	if _, ok := err.(*Pulling); !ok || img != nil || err.Error() != text {
		w.t.Errorf("image %v, error %T %v; want pulling: %s", img, err, err, text)
	}
}

// wantID asks and expects that image.
func (w *world) wantID(uid, ref string, policy v1.PullPolicy, id string) {
	w.t.Helper()
	img, err := w.ask(uid, ref, policy)
	if err != nil || img.ID != id {
		w.t.Errorf("pod %s: image %v, error %v; want %s", uid, img, err, id)
	}
}

// wantReason asks and expects that failure.
func (w *world) wantReason(uid, ref string, policy v1.PullPolicy, reason, message string) {
	w.t.Helper()
	img, err := w.ask(uid, ref, policy)
	if r, m := Explain(err); img != nil || r != reason || m != message {
		w.t.Errorf("image %v, %s: %s; want %s: %s", img, r, m, reason, message)
	}
}

// end ends the i-th pull that was begun.
func (w *world) end(i int, err error) {
	synctest.Wait()
	w.rt.pull(i).result <- err
	synctest.Wait()
}
