package pods

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/fake"
)

// TestPodsThroughAnything plays random histories: manifests come, go and are
// edited; containers end; davit and the daemon are killed; the machine reboots;
// calls and writes fail. When that is over, what is wanted runs and nothing else
// is there, and when nothing is wanted, nothing is.
func TestPodsThroughAnything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		acts := rapid.SliceOfN(rapid.Custom(drawAct), 3, 30).Draw(rt, "acts")
		var trouble []string
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			trouble = w.play(t, acts)
		})
		if len(trouble) > 0 {
			rt.Fatal(strings.Join(trouble, "\n"))
		}
	})
}

// act is one thing that happens; what it happens to follows from the numbers.
type act struct {
	Do      string
	I, N    int
	After   bool
	Away    bool // the error is runtime.ErrUnavailable
	Op      string
	Seconds int
}

var (
	doings = []string{
		"want", "want", "want", "edit", "unwant", "unwant", "end", "end", "fail", "fail", "fail", "always", "heal", "kill", "die", "die",
		"daemon", "daemon", "reboot", "block", "unblock", "damage", "lose", "unsync", "sync", "sleep",
	}
	calls = []string{
		"image", "create", "start", "signal", "delete", "list", "ensure", "inspect", "remove", "sandboxes", "close", "streams", "unlink",
		"allocate", "attach", "detach", "attached", "setup", "teardown", "cgroup", "uncgroup", "cgroups", "qos",
	}
	pauses = []int{0, 0, 0, 1, 1, 3, 10, 60, 700}
)

func drawAct(t *rapid.T) act {
	return act{
		Do:      rapid.SampledFrom(doings).Draw(t, "do"),
		I:       rapid.IntRange(0, 4).Draw(t, "i"),
		N:       rapid.IntRange(0, 11).Draw(t, "n"),
		After:   rapid.Bool().Draw(t, "after"),
		Away:    rapid.Bool().Draw(t, "away"),
		Op:      rapid.SampledFrom(calls).Draw(t, "op"),
		Seconds: rapid.SampledFrom(pauses).Draw(t, "pause"),
	}
}

// play returns what was wrong.
func (w *world) play(t *testing.T, acts []act) (trouble []string) {
	w.cfg.MaxPods, w.pool = 4, 5
	w.start(t)
	down, made := false, 0
	for _, a := range acts {
		if w.a.dead.Load() {
			w.stop()
			w.start(t)
		}
		switch a.Do {
		case "want", "edit":
			made++
			w.want(w.manifest(a, made))
		case "daemon":
			if down {
				w.node.StartDaemon(fake.Restarted(a.After))
			} else {
				w.node.StopDaemon()
			}
			down = !down
		case "reboot":
			if down {
				w.node.StartDaemon(fake.KeepStopped)
				down = false
			}
			w.reboot(t)
		case "kill":
			synctest.Wait()
			before := w.running("")
			w.stop()
			if after := w.running(""); !slices.Equal(before, after) {
				trouble = append(trouble, fmt.Sprintf("leaving killed: %v ran, then %v", before, after))
			}
			w.start(t)
		default:
			w.act(a)
		}
		synctest.Wait()
		time.Sleep(time.Duration(a.Seconds) * time.Second)
		synctest.Wait()
	}
	return append(trouble, w.conclude(t, down)...)
}

// manifest is a pod of one of five names and several kinds.
func (w *world) manifest(a act, version int) *v1.Pod {
	name := fmt.Sprintf("n%d", a.I)
	uid := fmt.Sprintf("%sv%02d", name, version)
	if a.Do == "edit" { // the manifest names its UID
		uid = name + "own"
	}
	pod := toolPod(name, uid)
	pod.Annotations["kubernetes.io/config.hash"] = fmt.Sprintf("hash%02d", version)
	switch a.N {
	case 0, 1:
		pod.Spec.RestartPolicy = v1.RestartPolicyNever
		pod.Spec.Containers[0].Args = []string{"exit", fmt.Sprint(a.N), "5s"}
	case 2:
		pod.Spec.Containers[0].Args = []string{"exit", "1", "2s"}
	case 3:
		pod.Spec.Containers[0].Args = []string{"ignore-term"}
	case 4, 5:
		always := v1.ContainerRestartPolicyAlways
		side := toolContainer("side", "sleep")
		side.RestartPolicy = &always
		pod.Spec.InitContainers = []v1.Container{toolContainer("init", "exit", "0", "1s"), side}
		pod.Spec.Containers = append(pod.Spec.Containers, toolContainer("b", "sleep"))
	case 6:
		pod.Spec.HostNetwork = true
	case 7:
		grace := int64(0)
		pod.Spec.TerminationGracePeriodSeconds = &grace
	}
	if a.N%2 == 0 {
		burstable(pod, int64(100+a.N))
	}
	return pod
}

func (w *world) act(a act) {
	err := errors.New("injected")
	if a.Away {
		err = fmt.Errorf("injected: %w", runtime.ErrUnavailable)
	}
	pick := func(cs []container) *container {
		if len(cs) == 0 {
			return nil
		}
		return &cs[a.N%len(cs)]
	}
	live := slices.DeleteFunc(w.containers(""), func(c container) bool { return !c.running() })
	uids := slices.Sorted(maps.Keys(w.wanted))
	switch a.Do {
	case "unwant":
		if len(uids) > 0 {
			w.unwant(uids[a.I%len(uids)])
		}
	case "end":
		if c := pick(live); c != nil {
			w.node.End(c.id, runtime.Exit{Code: int32(a.I % 2)})
		}
	case "lose":
		if c := pick(live); c != nil {
			w.node.Lose(c.id)
		}
	case "damage":
		for line := range strings.Lines(w.node.String()) {
			if uid, ok := strings.CutPrefix(strings.TrimSpace(line), "sandbox "); ok && !strings.Contains(uid, " ") {
				w.node.DamageSandbox(uid)
				w.tell(uid)
				break
			}
		}
	case "fail":
		w.fail(fault{op: a.Op, nth: 1 + a.N/4, err: err, after: a.After})
	case "always":
		w.fail(fault{op: a.Op, err: err, after: a.After})
	case "heal":
		w.heal()
	case "die":
		w.fail(fault{op: "*", nth: 1 + a.N*2, kill: true, after: a.After})
		w.tell("")
	case "block":
		for _, uid := range uids {
			w.block(uid)
		}
	case "unblock":
		w.unblockAll()
	case "unsync":
		w.sync(false)
	case "sync":
		w.sync(true)
	}
}

func (w *world) unblockAll() {
	for uid := range w.blocked {
		w.unblock(uid)
	}
}

// conclude takes all trouble away and returns what does not come right.
func (w *world) conclude(t *testing.T, down bool) (trouble []string) {
	w.heal()
	w.unblockAll()
	if down {
		w.node.StartDaemon(fake.LoseStopped)
	}
	if w.a.dead.Load() {
		w.stop()
		w.start(t)
	}
	for len(w.wanted) > w.cfg.MaxPods {
		w.unwant(slices.Sorted(maps.Keys(w.wanted))[0])
	}
	w.sync(true)
	within := func(what string, d time.Duration, check func() error) {
		for end := time.Now().Add(d); ; time.Sleep(5 * time.Second) {
			synctest.Wait()
			err := check()
			if err == nil {
				return
			}
			if time.Now().After(end) {
				trouble = append(trouble, fmt.Sprintf("%s: %v\n%s", what, err, w.picture()))
				return
			}
		}
	}
	within("at rest", time.Hour, w.settled)
	w.unwantAll()
	within("emptied", 15*time.Minute, func() error {
		if left := w.leftOf(""); len(left)+w.pods()+len(w.owners())+int(w.shares()) > 0 {
			return fmt.Errorf("left are %v; addresses %v; shares for %d", left, w.owners(), w.shares())
		}
		return nil
	})
	w.stop()
	trouble = append(trouble, w.complaints...)
	if len(trouble) > 0 {
		lines := strings.Split(w.log.String(), "\n")
		trouble = append(trouble, lines[max(0, len(lines)-120):]...)
	}
	return trouble
}

// settled returns what is not yet as it is wanted.
func (w *world) settled() error {
	var milli int64
	for uid, d := range w.wanted {
		if err := w.asWanted(uid, d.Pod); err != nil {
			return err
		}
		if r := d.Pod.Spec.Containers[0].Resources.Requests; r != nil && w.facts(uid).Ended == nil {
			milli += r.Cpu().MilliValue()
		}
	}
	if milli != w.shares() {
		return fmt.Errorf("the burstable pods have shares for %d, not %d", w.shares(), milli)
	}
	for _, line := range w.leftOf("") {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(w.wanted)), func(uid string) bool { return strings.Contains(line, uid) }) {
			return fmt.Errorf("there is %q, which nobody wants", line)
		}
	}
	return w.addressesMatch()
}

// addressesMatch compares the addresses in memory with those on record.
func (w *world) addressesMatch() error {
	owner := map[netip.Addr]string{}
	for uid := range w.wanted {
		f := w.facts(uid)
		if f.Sandbox.TornDown {
			continue
		}
		for _, ip := range f.PodIPs {
			if owner[ip] != "" {
				return fmt.Errorf("%s and %s both have %v on record", uid, owner[ip], ip)
			}
			owner[ip] = uid
		}
	}
	if have := w.owners(); !maps.Equal(have, owner) {
		return fmt.Errorf("addresses in memory are %v, on record %v", have, owner)
	}
	return nil
}

// asWanted checks one pod.
func (w *world) asWanted(uid string, want *v1.Pod) error {
	pod := w.pod(uid)
	switch {
	case pod == nil:
		return fmt.Errorf("pod %s is not there", uid)
	case edited(pod, want):
		return fmt.Errorf("pod %s runs an old manifest", uid)
	case want.Spec.RestartPolicy == v1.RestartPolicyNever:
		if p := pod.Status.Phase; p != v1.PodSucceeded && p != v1.PodFailed || len(w.containers(uid)) > 0 || w.hasCgroup(uid) {
			return fmt.Errorf("pod %s is %s, with %v", uid, p, w.leftOf(uid))
		}
	case want.Spec.Containers[0].Args[0] == "exit":
		if pod.Status.Phase != v1.PodRunning || pod.Status.ContainerStatuses[0].RestartCount == 0 {
			return fmt.Errorf("pod %s is %s and not in a crash loop", uid, pod.Status.Phase)
		}
	default:
		n := len(want.Spec.Containers) + max(0, len(want.Spec.InitContainers)-1)
		if got := len(w.running(uid)); got != n || pod.Status.Phase != v1.PodRunning {
			return fmt.Errorf("pod %s is %s and %d of %d containers run", uid, pod.Status.Phase, got, n)
		}
	}
	return nil
}
