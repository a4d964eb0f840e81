package images

import (
	"reflect"
	"testing"
	"time"

	"github.com/davit-agent/davit/runtime"
)

// What a pod waits for, by container; two pods may use one ID.
func TestPulling(t *testing.T) {
	rt := newFakeRuntime()
	bubble(t, rt, 1, func(w *world) {
		ask := func(uid, id, ref string) {
			_, _ = w.Ensure(w.t.Context(), Request{UID: uid, ContainerID: id, Ref: ref, Policy: always})
		}
		ask("a", "1", "one")
		ask("a", "2", "two")
		ask("b", "1", "three")
		want := map[string]string{"1": `Pulling image "one": asking the registry`, "2": `Waiting to pull image "two": 1 pull under way`}
		if got := w.Pulling("a"); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v", got)
		}
		time.Sleep(time.Minute)
		w.end(0, nil)
		want = map[string]string{"2": `Pulling image "two": asking the registry`}
		if got := w.Pulling("a"); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v", got)
		}
		w.Release("a")
		if got := w.Pulling("a"); len(got) != 0 {
			t.Errorf("got %v", got)
		}
		if got := w.Pulling("b"); len(got) != 1 {
			t.Errorf("got %v", got)
		}
	})
}

// Progress wakes at most once a second, but the end at once, and what is told
// last is true.
func TestProgress(t *testing.T) {
	rt := newFakeRuntime()
	bubble(t, rt, 1, func(w *world) {
		w.ask("u", "app", ifNotPresent)
		pull := rt.pull(0)
		pull.Progress(runtime.PullProgress{Stage: runtime.PullResolving}) // as Ensure has told
		if n := w.woken("u"); n != 0 {
			t.Errorf("%d wakes for what is known", n)
		}
		wakes := 0
		for i := range 100 { // 10 s
			pull.Progress(runtime.PullProgress{Stage: runtime.PullFetching, Layers: 5, LayersDone: i / 25,
				Bytes: int64(i) * 1e6, Total: 100e6})
			time.Sleep(100 * time.Millisecond)
			wakes += w.woken("u")
		}
		if wakes < 9 || wakes > 11 {
			t.Errorf("%d wakes in 10 s", wakes)
		}
		time.Sleep(time.Minute)
		w.woken("u")
		w.wantPulling("u", "app", `Pulling image "app": 3 of 5 layers, 99.0 of 100.0 MB`)
		for range 100 { // nothing new
			pull.Progress(runtime.PullProgress{Stage: runtime.PullFetching, Layers: 5, LayersDone: 3, Bytes: 99e6, Total: 100e6})
			time.Sleep(100 * time.Millisecond)
		}
		if n := w.woken("u"); n != 0 {
			t.Errorf("%d wakes for nothing", n)
		}
		pull.Progress(runtime.PullProgress{Stage: runtime.PullUnpacking, Layers: 5})
		pull.Progress(runtime.PullProgress{Stage: runtime.PullUnpacking, Layers: 6})
		w.woken("u")
		w.end(0, nil)
		if n := w.woken("u"); n != 1 {
			t.Errorf("%d wakes at the end", n)
		}
		time.Sleep(time.Minute)
		if n := w.woken("u"); n != 0 {
			t.Errorf("%d wakes after the end", n)
		}
		w.wantID("u", "app", ifNotPresent, "pulled 1")
	})
}

func TestTexts(t *testing.T) {
	fetching := func(done, layers int, n, total int64) *Pulling {
		return &Pulling{Ref: "x", Stage: runtime.PullFetching,
			Progress: runtime.PullProgress{Layers: layers, LayersDone: done, Bytes: n, Total: total}}
	}
	for want, p := range map[string]*Pulling{
		`Looking for image "x" on this node`:                                {Ref: "x", Stage: StageLooking},
		`Waiting to pull image "x": 1 pull under way`:                       {Ref: "x", Stage: StageWaiting, Running: 1},
		`Waiting to pull image "x": 4 pulls under way, 7 waiting before it`: {Ref: "x", Stage: StageWaiting, Running: 4, Before: 7},
		`Pulling image "x": asking the registry`:                            {Ref: "x"},
		`Pulling image "x"`:                                                 fetching(0, 0, 0, 0),
		`Pulling image "x": 0 of 1 layer`:                                   fetching(0, 1, 0, 0),
		`Pulling image "x": 3 of 5 layers, 12.4 of 80.1 MB`:                 fetching(3, 5, 12_400_000, 80_100_000),
		`Pulling image "x": 0 of 2 layers, 0.1 of 2.0 GB`:                   fetching(0, 2, 100_000_000, 2_000_000_000),
		`Pulling image "x": 0 of 2 layers, 0.5 of 9.0 kB`:                   fetching(0, 2, 500, 9_000),
		`Pulling image "x": 0 of 2 layers, 0 of 999 bytes`:                  fetching(0, 2, 0, 999),
		`Unpacking image "x": 5 layers`:                                     {Ref: "x", Stage: runtime.PullUnpacking, Progress: runtime.PullProgress{Layers: 5}},
	} {
		if got := p.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
