package images

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime"
)

// Pull waits, in turn and sharing with others, and tells how far it is.
func TestPull(t *testing.T) {
	rt := newFakeRuntime()
	bubble(t, rt, 1, func(w *world) {
		w.cfg.Credentials = nodeCredentials{creds: []runtime.Credential{{Username: "node"}}, errs: []error{errors.New("a hint")}}
		w.ask("u", "other", ifNotPresent)
		var stages []runtime.PullStage
		type result struct {
			img *runtime.Image
			err error
		}
		results := make(chan result, 1)
		pull := func(ctx context.Context) {
			img, err := w.Pull(ctx, runtime.PullRequest{Ref: "app", Credentials: []runtime.Credential{{Username: "me"}},
				Progress: func(p runtime.PullProgress) { stages = append(stages, p.Stage) }})
			results <- result{img, err}
		}
		go pull(w.t.Context())
		time.Sleep(time.Second)
		w.end(0, nil)
		time.Sleep(time.Second)
		if c := rt.pull(1).Credentials; len(c) != 2 || c[0].Username != "me" || c[1].Username != "node" {
			t.Errorf("credentials %v", c)
		}
		rt.pull(1).Progress(runtime.PullProgress{Stage: runtime.PullResolving})
		time.Sleep(time.Second)
		rt.pull(1).Progress(runtime.PullProgress{Stage: runtime.PullFetching})
		time.Sleep(time.Second)
		w.end(1, nil)
		if r := <-results; r.err != nil || r.img.ID != "pulled 2" {
			t.Errorf("%+v", r)
		}
		if want := []runtime.PullStage{StageWaiting, "", runtime.PullResolving, runtime.PullFetching}; !slices.Equal(stages, want) {
			t.Errorf("stages %q", stages)
		}

		go pull(w.t.Context())
		w.end(2, errors.New("no"))
		if r := <-results; r.err == nil || r.err.Error() != "no (a hint)" {
			t.Errorf("%+v", r)
		}

		ctx, cancel := context.WithCancel(w.t.Context())
		go pull(ctx)
		synctest.Wait()
		cancel()
		if r := <-results; !errors.Is(r.err, context.Canceled) {
			t.Errorf("%+v", r)
		}
		synctest.Wait()
		if rt.pull(3).ctx.Err() == nil {
			t.Error("the pull goes on")
		}
		if _, err := w.Pull(w.t.Context(), runtime.PullRequest{Ref: "A"}); !errors.Is(err, runtime.ErrInvalidImageName) {
			t.Error(err)
		}
	})
}

// Whatever pods do in whatever order: never too many pulls at a time, none that
// nobody wants, and everybody who waits gets an answer.
func TestRandom(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		rt := newFakeRuntime()
		rt.lookFor = time.Duration(rnd.IntN(2000)) * time.Millisecond
		bubble(t, rt, 1+rnd.IntN(3), func(w *world) { randomPods(w, rnd) })
	}
}

func randomPods(w *world, rnd *rand.Rand) {
	stop := make(chan struct{})
	var registry, pods sync.WaitGroup
	registry.Go(func() { // the registry: ends pulls as they come, some badly
		for i := 0; ; {
			select {
			case <-stop:
				return
			case <-time.After(300 * time.Millisecond):
			}
			for ; i < len(w.rt.begun()); i++ {
				pull := w.rt.pull(i)
				pull.Progress(runtime.PullProgress{Stage: runtime.PullFetching, Bytes: int64(i)})
				var err error
				if i%5 == 4 {
					err = errors.New("bad luck")
				}
				select {
				case pull.result <- err:
				case <-pull.ctx.Done():
				}
			}
		}
	})
	for pod := range 12 {
		ref, patience := fmt.Sprint("app", rnd.IntN(4)), time.Duration(rnd.IntN(8000))*time.Millisecond
		policy := []v1.PullPolicy{always, ifNotPresent}[rnd.IntN(2)]
		pods.Go(func() { randomPod(w, fmt.Sprint("u", pod), ref, policy, patience) })
	}
	pods.Wait()
	synctest.Wait()
	close(stop)
	registry.Wait()
	w.Puller.mu.Lock()
	defer w.Puller.mu.Unlock()
	for i := range w.rt.begun() {
		if p := w.rt.pull(i); p.ctx.Err() == nil {
			w.t.Errorf("pull %d of %s was left running", i, p.Ref)
		}
	}
	if len(w.claims)+len(w.pulls)+len(w.queue)+w.running > 0 || w.rt.most > w.cfg.MaxParallel {
		w.t.Errorf("%d claims, %d pulls, %d queued, %d running are left; %d ran at a time of %d",
			len(w.claims), len(w.pulls), len(w.queue), w.running, w.rt.most, w.cfg.MaxParallel)
	}
}

// randomPod asks for an image, whenever it is woken, until it has it or loses
// its patience.
func randomPod(w *world, uid, ref string, policy v1.PullPolicy, patience time.Duration) {
	defer w.Release(uid)
	req := Request{UID: uid, ContainerID: "c-" + uid, Ref: ref, Policy: policy}
	began := time.Now()
	for {
		img, err := w.Ensure(w.t.Context(), req)
		var pulling *Pulling
		switch {
		case err == nil && img == nil:
			w.t.Error("neither image nor error")
			return
		case err == nil:
			return
		case !errors.As(err, &pulling) && err.Error() != "bad luck":
			w.t.Errorf("pod %s: %v", uid, err)
			return
		case time.Since(began) > patience && uid != "u0":
			return
		case time.Since(began) > time.Hour:
			w.t.Errorf("pod %s waits for an hour: %v", uid, err)
			return
		}
		if pulling == nil {
			time.Sleep(10 * time.Second) // lifecycle's back-off
		}
		for quiet := 0; pulling != nil; quiet++ { // sleep until woken
			w.mu.Lock()
			n := w.wakes[uid]
			delete(w.wakes, uid)
			w.mu.Unlock()
			if n > 0 || quiet > 100000 {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}
