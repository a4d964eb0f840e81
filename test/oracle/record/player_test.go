//go:build goldens

package record

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/test/oracle/cluster"
	"github.com/davit-agent/davit/test/oracle/golden"
	"github.com/davit-agent/davit/test/oracle/scenario"
)

// settle is how long after the end of a play events still come in.
const settle = 1500 * time.Millisecond

// player plays one scenario.
type player struct {
	cluster *cluster.Cluster
	s       *scenario.Scenario
	space   string  // namespace
	pod     *v1.Pod // as it was created

	mu  sync.Mutex
	rec golden.Recording
}

// play plays a scenario and returns what was seen, also of one that failed.
func play(ctx context.Context, c *cluster.Cluster, s *scenario.Scenario) (golden.Recording, error) {
	p := &player{cluster: c, s: s}
	err := p.run(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rec, err
}

func (p *player) run(ctx context.Context) (err error) {
	if p.space, err = p.cluster.NewNamespace(ctx); err != nil {
		return err
	}
	for _, o := range p.s.Objects {
		if err := p.apply(ctx, o); err != nil {
			return err
		}
	}
	pod := p.s.Pod.DeepCopy()
	pod.Name, pod.Namespace = p.s.Name, p.space
	if p.pod, err = p.cluster.Create(ctx, pod); err != nil {
		return fmt.Errorf("creating the pod: %w", err)
	}
	defer p.remove(ctx)
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watched := make(chan error, 1)
	watching.Go(func() {
		watched <- p.cluster.WatchEvents(ctx, p.space, func(e v1.Event) {
			e.Message = p.plain(e.Message)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.rec.Events = append(p.rec.Events, e)
		})
	})
	if err := p.follow(ctx); err != nil {
		return err
	}
	select {
	case err := <-watched:
		return fmt.Errorf("watching events: %w", err)
	case <-time.After(settle):
		return nil
	}
}

// follow watches the pod and plays the script, up to the play's end.
func (p *player) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Buffered, so that sights have their own time also while an action lasts.
	sights := make(chan cluster.Sight, 1000)
	var failed error // once sights is closed
	go func() {
		defer close(sights)
		failed = p.cluster.Watch(ctx, p.pod, func(s cluster.Sight) bool {
			select {
			case sights <- s:
				return false
			case <-ctx.Done():
				return true
			}
		})
	}()
	turn := scenario.Begin(p.s, time.Now())
	last := p.pod
	p.see(turn, time.Now(), last)
	for {
		actions, wake := turn.Next(time.Now())
		for _, a := range actions {
			if err := p.act(ctx, a); err != nil {
				return err
			}
		}
		switch {
		case len(actions) > 0:
			turn.See(last, time.Now())
			continue
		case turn.Done():
			return turn.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(wake)):
		case s, ok := <-sights:
			switch {
			case ok:
				p.see(turn, s.At, s.Pod)
				last = s.Pod
				if s.Deleted {
					p.see(turn, s.At, nil)
					last = nil
				}
			case last == nil:
				sights = nil // it is gone and the watch has done its work
			default:
				return fmt.Errorf("watching the pod: %w", failed)
			}
		}
	}
}

// see records what is seen of the pod and tells the play.
func (p *player) see(turn *scenario.Play, at time.Time, pod *v1.Pod) {
	seen := golden.Observation{At: at}
	if pod != nil {
		seen.Pod = p.plainPod(pod)
	}
	p.mu.Lock()
	p.rec.Observations = append(p.rec.Observations, seen)
	p.mu.Unlock()
	turn.See(pod, at)
}

// plain tells a message as a kubelet in its usual directories would.
func (p *player) plain(message string) string {
	return strings.NewReplacer(p.cluster.RootDir(), "/var/lib/kubelet", p.cluster.LogDir(), "/var/log/pods").Replace(message)
}

// plainPod returns a pod with plain messages.
func (p *player) plainPod(pod *v1.Pod) *v1.Pod {
	pod = pod.DeepCopy()
	s := &pod.Status
	s.Message = p.plain(s.Message)
	for i := range s.Conditions {
		s.Conditions[i].Message = p.plain(s.Conditions[i].Message)
	}
	for _, list := range [][]v1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			for _, state := range []v1.ContainerState{list[i].State, list[i].LastTerminationState} {
				if w := state.Waiting; w != nil {
					w.Message = p.plain(w.Message)
				}
				if t := state.Terminated; t != nil {
					t.Message = p.plain(t.Message)
				}
			}
		}
	}
	return pod
}

// act does an action of the script.
func (p *player) act(ctx context.Context, a scenario.Action) error {
	c, name := p.cluster, p.s.Name
	switch {
	case a.Delete != nil:
		return c.Delete(ctx, p.space, name, a.Delete.GracePeriodSeconds)
	case a.Apply != nil:
		return p.apply(ctx, *a.Apply)
	case a.Deadline != nil:
		return c.Patch(ctx, p.space, name, "", map[string]any{"spec": map[string]any{"activeDeadlineSeconds": *a.Deadline}})
	case a.Condition != nil:
		return c.SetCondition(ctx, p.space, name, v1.PodCondition{
			Type: a.Condition.Type, Status: a.Condition.Status, Reason: a.Condition.Reason, Message: a.Condition.Message})
	case a.Ephemeral != nil:
		return c.AddEphemeral(ctx, p.space, name, *a.Ephemeral)
	case a.Restart != "":
		c.KillKubelet()
		return c.StartKubelet()
	}
	return fmt.Errorf("the recorder does not know what to do for action %+v", a)
}

func (p *player) apply(ctx context.Context, o scenario.Object) error {
	if o.ConfigMap != nil {
		return p.cluster.Apply(ctx, p.space, o.ConfigMap)
	}
	return p.cluster.Apply(ctx, p.space, o.Secret)
}

// remove takes the pod away at once, if it is still there, and lets kubelet end
// its containers by itself.
func (p *player) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	now := int64(0)
	_ = p.cluster.API.Delete(ctx, "/api/v1/namespaces/"+p.space+"/pods/"+p.s.Name,
		metav1.DeleteOptions{GracePeriodSeconds: &now})
}
