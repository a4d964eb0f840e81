package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/agent/server/client"
	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/oracle/actor/image"
	"github.com/davit-agent/davit/test/oracle/golden"
	"github.com/davit-agent/davit/test/oracle/scenario"
	"github.com/davit-agent/davit/test/testbed"
)

// stage is a node on which scenarios are played, many at the same time. Its
// methods but run are for the goroutines of plays and never end the test.
type stage struct {
	n     *node.Node
	c     *client.Client
	kills chan chan struct{} // who asks for kill -9 of davit, and hears when it is back

	// away is held while davit is. What is done to a pod then, or a moment
	// before, it sees late or not at all: that is no difference to be told.
	away  sync.RWMutex
	mu    sync.Mutex
	feeds map[string]*feed // by namespace: each scenario has its own
}

// settle is how long an action is left to be seen before davit may be killed.
const settle = 500 * time.Millisecond

// feed carries what is seen of one pod to its play.
type feed struct {
	sights chan golden.Observation
	seen   bool // the pod was there
	gone   bool
	failed error // the manifest was refused
}

func newStage(t *testing.T) *stage {
	n := start(t, "")
	return &stage{n: n, c: client.New(n.Socket()), kills: make(chan chan struct{}), feeds: map[string]*feed{}}
}

// load gives davit the actors' images and waits until it has them.
func (g *stage) load(t *testing.T) {
	t.Helper()
	specs := image.Specs(t)
	for _, s := range specs {
		testbed.Archive(t, g.n.Images, s)
	}
	testbed.Poll(t, patience, func() string {
		have, err := g.c.Images(t.Context())
		if err != nil {
			return err.Error()
		}
		for _, s := range specs {
			if !slices.ContainsFunc(have, func(i wire.Image) bool { return slices.Contains(i.Names, s.Name) }) {
				return fmt.Sprintf("%s is not there, but %+v", s.Name, have)
			}
		}
		return ""
	})
}

// run plays scenarios, so many at a time, and returns what came of each. With
// every, davit is killed that often meanwhile.
func (g *stage) run(t *testing.T, all []scenario.Scenario, width int, every time.Duration) map[string]played {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var hub sync.WaitGroup
	hub.Go(func() { g.watch(ctx) })
	hub.Go(func() { g.look(ctx) })
	defer hub.Wait()
	defer cancel()
	slots, results := make(chan struct{}, width), make(chan played)
	for i := range all {
		go func() {
			slots <- struct{}{}
			results <- g.play(&all[i])
			<-slots
		}()
	}
	var tick <-chan time.Time
	if every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		tick = ticker.C
	}
	out := map[string]played{}
	for len(out) < len(all) {
		select {
		case r := <-results:
			out[r.name] = r
		case back := <-g.kills:
			g.restart()
			close(back)
		case <-tick:
			g.restart()
		}
	}
	return out
}

// restart kills davit and starts it again.
func (g *stage) restart() {
	g.away.Lock()
	defer g.away.Unlock()
	g.n.Kill()
	g.n.Start()
	g.n.Await()
}

// watch feeds the plays from davit's watch, as long as ctx lasts.
func (g *stage) watch(ctx context.Context) {
	for ctx.Err() == nil {
		_ = g.c.Watch(ctx, "", func(kind watch.EventType, pod *v1.Pod) error {
			if kind == watch.Deleted {
				g.feed(pod.Namespace, nil)
			} else {
				g.feed(pod.Namespace, pod)
			}
			return nil
		})
		time.Sleep(50 * time.Millisecond)
	}
}

// look finds pods that went while davit was away, and manifests it refuses.
func (g *stage) look(ctx context.Context) {
	answered := time.Now()
	for ; ctx.Err() == nil; time.Sleep(time.Second) {
		// Only what was there before the list was asked for can be missing in it.
		g.mu.Lock()
		var before []string
		for ns, f := range g.feeds {
			if f.seen && !f.gone {
				before = append(before, ns)
			}
		}
		g.mu.Unlock()
		list, err := g.c.Pods(ctx, "")
		if err != nil {
			if time.Since(answered) > patience/2 {
				g.fail(fmt.Errorf("davit does not answer any more: %w", err))
			}
			continue
		}
		answered = time.Now()
		there := map[string]bool{}
		for i := range list.Items {
			there[list.Items[i].Namespace] = true
		}
		for _, ns := range before {
			if !there[ns] {
				g.feed(ns, nil)
			}
		}
		problems, err := g.c.Problems(ctx)
		if err != nil {
			continue
		}
		g.mu.Lock()
		for _, p := range problems {
			for ns, f := range g.feeds {
				if filepath.Base(p.File) == ns+".yaml" {
					f.failed = fmt.Errorf("davit refuses the manifest: %+v", p)
				}
			}
		}
		g.mu.Unlock()
	}
}

// fail ends all plays.
func (g *stage) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.feeds {
		f.failed, f.gone = err, true
	}
}

// feed tells a play what is seen of its pod; nil: it is gone.
func (g *stage) feed(namespace string, pod *v1.Pod) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.feeds[namespace]
	if f == nil || f.gone || pod == nil && !f.seen {
		return
	}
	f.seen, f.gone = true, pod == nil
	select {
	case f.sights <- golden.Observation{At: time.Now(), Pod: pod}:
	default:
		f.failed = errors.New("the play does not look")
	}
}

// played is what came of a play.
type played struct {
	name string
	rec  golden.Recording
	err  error
}

// space is the namespace of a scenario's pod, and the name of its files.
func space(s *scenario.Scenario) string { return "g-" + s.Name }

func (g *stage) play(s *scenario.Scenario) played {
	out := played{name: s.Name}
	f := &feed{sights: make(chan golden.Observation, 4096)}
	g.mu.Lock()
	g.feeds[space(s)] = f
	g.mu.Unlock()
	out.err = g.follow(s, f, &out.rec)
	// Whatever came of it, the pod goes before the next is played.
	out.err = errors.Join(out.err, g.withdraw(s))
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		g.mu.Lock()
		left := f.seen && !f.gone
		g.mu.Unlock()
		if !left {
			break
		}
		if time.Now().After(deadline) {
			out.err = errors.Join(out.err, errors.New("the pod does not go"))
			break
		}
	}
	g.mu.Lock()
	delete(g.feeds, space(s))
	g.mu.Unlock()
	return out
}

// follow plays the script and records what is seen.
func (g *stage) follow(s *scenario.Scenario, f *feed, rec *golden.Recording) error {
	for _, o := range s.Objects {
		if err := g.apply(s, o); err != nil {
			return err
		}
	}
	if err := g.put(space(s)+".yaml", manifest(s)); err != nil {
		return err
	}
	turn := scenario.Begin(s, time.Now())
	for {
		actions, wake := turn.Next(time.Now())
		for _, a := range actions {
			if err := g.act(s, a); err != nil {
				return err
			}
		}
		if turn.Done() {
			return turn.Err()
		}
		g.mu.Lock()
		err := f.failed
		g.mu.Unlock()
		if err != nil {
			return err
		}
		select {
		case <-time.After(min(time.Until(wake), time.Second)):
		case o := <-f.sights:
			rec.Observations = append(rec.Observations, o)
			turn.See(o.Pod, o.At)
		}
	}
}

// playable tells whether a node that has its pods from manifests can play a
// scenario: what only a control plane can do to a pod it has no way for.
func playable(s *scenario.Scenario) bool {
	return !slices.ContainsFunc(s.Script, func(a scenario.Action) bool {
		return a.Condition != nil || a.Delete != nil && a.Delete.GracePeriodSeconds != nil
	})
}

func (g *stage) act(s *scenario.Scenario, a scenario.Action) error {
	if a.Restart != "" {
		back := make(chan struct{})
		g.kills <- back
		<-back
		return nil
	}
	g.away.RLock()
	time.AfterFunc(settle, g.away.RUnlock)
	switch {
	case a.Delete != nil:
		return g.withdraw(s)
	case a.Apply != nil:
		return g.apply(s, *a.Apply)
	case a.Deadline != nil: // those that may be edited while the pod runs
		s.Pod.Spec.ActiveDeadlineSeconds = a.Deadline
		return g.put(space(s)+".yaml", manifest(s))
	case a.Ephemeral != nil:
		s.Pod.Spec.EphemeralContainers = append(s.Pod.Spec.EphemeralContainers, *a.Ephemeral)
		return g.put(space(s)+".yaml", manifest(s))
	}
	return fmt.Errorf("nothing is known of how to do %+v with manifests", a)
}

// manifest is the pod as a file has it.
func manifest(s *scenario.Scenario) any {
	pod := s.Pod.DeepCopy()
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	pod.Name, pod.Namespace = s.Name, space(s)
	return pod
}

func (g *stage) apply(s *scenario.Scenario, o scenario.Object) error {
	if o.ConfigMap != nil {
		c := o.ConfigMap.DeepCopy()
		c.TypeMeta, c.Namespace = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, space(s)
		return g.put(space(s)+"-configmap-"+c.Name+".yaml", c)
	}
	c := o.Secret.DeepCopy()
	c.TypeMeta, c.Namespace = metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, space(s)
	return g.put(space(s)+"-secret-"+c.Name+".yaml", c)
}

// put writes an object as a manifest.
func (g *stage) put(name string, object any) error {
	tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return err
	}
	delete(tree, "status")
	delete(tree["metadata"].(map[string]any), "creationTimestamp")
	data, err := yaml.Marshal(tree)
	if err != nil {
		return err
	}
	tmp := filepath.Join(g.n.Bed.Dir, "."+name)
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(g.n.Manifests, name))
}

// withdraw removes the pod's manifest; its objects stay, as they would.
func (g *stage) withdraw(s *scenario.Scenario) error {
	err := os.Remove(filepath.Join(g.n.Manifests, space(s)+".yaml"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// told is how a play went, in lines.
func told(p played) string {
	var b strings.Builder
	for i, o := range p.rec.Observations {
		if o.Pod == nil {
			fmt.Fprintf(&b, "%6.1f s gone\n", o.At.Sub(p.rec.Observations[0].At).Seconds())
			continue
		}
		line := fmt.Sprintf("%6.1f s %s", o.At.Sub(p.rec.Observations[0].At).Seconds(), node.Brief(o.Pod))
		if i == 0 || !strings.HasSuffix(b.String(), line+"\n") {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
