package synthetic

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/podspec"
	"github.com/davit-agent/davit/runtime/oci"
	"github.com/davit-agent/davit/runtime/oci/facts"
	"github.com/davit-agent/davit/test/oracle/golden"
	"github.com/davit-agent/davit/test/oracle/scenario"
)

// notHere are the scenarios that are not played here, and why.
var notHere = map[string]string{
	"image-pull-refused":        "the registry's words",
	"image-name-invalid":        "the puller's words",
	"image-never-missing":       "the puller's words",
	"image-missing-second":      "the puller's words",
	"delete-waiting-image":      "the puller's words",
	"deadline-while-waiting":    "the puller's words",
	"command-not-found":         "the OCI runtime's words",
	"command-not-found-always":  "the OCI runtime's words",
	"command-forbidden":         "the OCI runtime's words",
	"working-dir-is-file":       "the OCI runtime's words",
	"seccomp-localhost-missing": "the file is looked for on the node",
	"run-as-user":               "the image's files",
	"delete-in-backoff":         "kubelet tells of a back-off when it looks next, which is when it ends",
}

// notOverRestarts are those in which something takes longer than an agent lives.
var notOverRestarts = map[string]string{
	"agent-killed-in-prestop": "its hook takes longer than an agent lives, and is begun again by each",
	"agent-killed-in-backoff": "kubelet forgets a back-off when it is killed, which the golden has at one moment only",
}

// TestGoldens plays every scenario in fake time.
func TestGoldens(t *testing.T) {
	if played := playAll(t, 0); played < 60 {
		t.Errorf("only %d scenarios were played", played)
	}
}

// TestGoldensOverRestarts plays every scenario with an agent that is killed and
// started again every few seconds: nothing of what is reported may change by it.
func TestGoldensOverRestarts(t *testing.T) {
	for _, every := range []time.Duration{5300 * time.Millisecond, 9100 * time.Millisecond, 14700 * time.Millisecond} {
		t.Run(every.String(), func(t *testing.T) { playAll(t, every) })
	}
}

func playAll(t *testing.T, restart time.Duration) (played int) {
	all, err := scenario.Load(os.DirFS("../scenarios"))
	if err != nil {
		t.Fatal(err)
	}
	node, err := facts.Read()
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		s := &all[i]
		if _, ok := notHere[s.Name]; ok {
			continue
		}
		if _, ok := notOverRestarts[s.Name]; ok && restart > 0 {
			continue
		}
		t.Run(s.Name, func(t *testing.T) { t.Parallel(); check(t, s, node, restart) })
		played++
	}
	return played
}

func check(t *testing.T, s *scenario.Scenario, facts oci.Node, restart time.Duration) {
	data, err := os.ReadFile("../goldens/" + s.Name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	want, err := golden.Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, facts)
		n.restart = restart
		play(t, n, s)
		got := golden.Reduce(s.About, golden.Recording{Observations: n.seen})
		if diffs := golden.Compare(want, got, s.Differs); len(diffs) > 0 {
			var b strings.Builder
			for _, d := range diffs {
				b.WriteString(d.String() + "\n")
			}
			t.Errorf("differs from kubelet:\n%s", b.String())
			if os.Getenv("PICTURE") != "" {
				t.Log(n.picture())
			}
		}
	})
}

// play plays the scenario on n, up to its end.
func play(t *testing.T, n *node, s *scenario.Scenario) {
	for _, o := range s.Objects {
		n.apply(o)
	}
	want := s.Pod.DeepCopy()
	want.ObjectMeta = metav1.ObjectMeta{
		Name: s.Name, Namespace: "default", UID: "u1", Generation: 1,
		Labels: s.Pod.Labels, Annotations: s.Pod.Annotations, CreationTimestamp: metav1.Now(),
	}
	podspec.Default(want)
	n.want = want
	n.run()
	defer func() {
		n.quit()
		time.Sleep(time.Minute) // for what still answers probes
	}()
	turn := scenario.Begin(s, time.Now())
	for {
		actions, wake := turn.Next(time.Now())
		for _, a := range actions {
			n.act(a)
		}
		if len(actions) > 0 {
			synctest.Wait()
			turn.See(n.last(), time.Now())
			continue
		}
		if turn.Done() {
			if err := turn.Err(); err != nil {
				t.Errorf("%v\n%s", err, n.picture())
			}
			return
		}
		if n.restart > 0 && time.Until(wake) > n.restart {
			wake = time.Now().Add(n.restart)
		}
		timer := time.NewTimer(time.Until(wake))
		select {
		case <-timer.C:
			if n.restart > 0 {
				n.quit()
				n.run()
			}
		case <-n.sights:
			if last := n.last(); last != nil || len(n.seen) > 0 {
				turn.See(last, time.Now())
			}
		}
		timer.Stop()
	}
}

func (n *node) apply(o scenario.Object) {
	n.mu.Lock()
	if o.ConfigMap != nil {
		n.objects["configmap "+o.ConfigMap.Name] = o.ConfigMap
	} else {
		for k, v := range o.Secret.StringData {
			if o.Secret.Data == nil {
				o.Secret.Data = map[string][]byte{}
			}
			o.Secret.Data[k] = []byte(v)
		}
		n.objects["secret "+o.Secret.Name] = o.Secret
	}
	n.changed++
	n.mu.Unlock()
	if n.agent != nil {
		n.agent.Wake("")
	}
}

// delete asks for the pod's deletion, as the API server has it.
func (n *node) delete(grace *int64) {
	if grace == nil {
		grace = n.want.Spec.TerminationGracePeriodSeconds
	}
	if p := n.last().Status.Phase; p == v1.PodSucceeded || p == v1.PodFailed {
		grace = new(int64) // there is nothing to wait for
	}
	at := metav1.NewTime(time.Now().Add(time.Duration(*grace) * time.Second))
	n.change(func(pod *v1.Pod) {
		if pod.DeletionTimestamp == nil && *grace > 0 {
			pod.Generation++
		}
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &at, grace
	})
}

func (n *node) act(a scenario.Action) {
	switch {
	case a.Delete != nil:
		n.delete(a.Delete.GracePeriodSeconds)
	case a.Apply != nil:
		n.apply(*a.Apply)
	case a.Deadline != nil:
		n.change(func(pod *v1.Pod) { pod.Spec.ActiveDeadlineSeconds, pod.Generation = a.Deadline, pod.Generation+1 })
	case a.Condition != nil:
		n.change(func(pod *v1.Pod) {
			c := v1.PodCondition{Type: a.Condition.Type, Status: a.Condition.Status, Reason: a.Condition.Reason, Message: a.Condition.Message, LastTransitionTime: metav1.Now()}
			for i := range pod.Status.Conditions {
				if pod.Status.Conditions[i].Type == c.Type {
					pod.Status.Conditions[i] = c
					return
				}
			}
			pod.Status.Conditions = append(pod.Status.Conditions, c)
		})
	case a.Ephemeral != nil:
		n.change(func(pod *v1.Pod) {
			pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, *a.Ephemeral)
			pod.Generation++
		})
	case a.Restart != "":
		n.quit()
		n.run()
	default:
		n.t.Errorf("the player does not know what to do for %+v", a)
	}
}
