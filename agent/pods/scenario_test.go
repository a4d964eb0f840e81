package pods

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/pods/record"
	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/fake"
)

// message is why a pod waits, from the condition that tells it.
func (w *world) message(uid string) string {
	s := w.status(uid)
	if s == nil {
		return ""
	}
	var all []string
	for _, c := range s.Conditions {
		all = append(all, c.Message)
	}
	for _, c := range s.ContainerStatuses {
		if c.State.Waiting != nil {
			all = append(all, c.State.Waiting.Message)
		}
	}
	return strings.Join(append(all, s.Message), "\n")
}

func TestLeavingIsNotKilling(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		w.want(toolPod("a", "u1"), toolPod("b", "u2"))
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.awaitPhase(t, "u2", v1.PodRunning)
		before, began := w.leftOf(""), time.Now()
		w.stop()
		if took := time.Since(began); took > time.Second {
			t.Errorf("leaving took %v", took)
		}
		time.Sleep(time.Hour)
		if after := w.leftOf(""); !slices.Equal(before, after) || len(w.running("")) != 2 {
			t.Errorf("left with\n%v\nthen\n%v", before, after)
		}
		calls := len(w.node.Calls())
		w.start(t)
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.awaitPhase(t, "u2", v1.PodRunning)
		for _, c := range w.node.Calls()[calls:] {
			if op, _, _ := strings.Cut(c, " "); op != "list" && op != "inspect" && op != "sandboxes" && op != "streams" {
				t.Errorf("taking up what runs calls %s", c)
			}
		}
	})
}

// A step that hangs holds up neither the end nor other pods, and is taken up by
// the next process.
func TestLeavingWhileAStepHangs(t *testing.T) {
	for _, op := range []string{"image", "create", "start", "list", "ensure", "inspect", "attach", "setup"} {
		t.Run(op, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.start(t)
				w.want(toolPod("other", "u1"))
				w.awaitPhase(t, "u1", v1.PodRunning)
				w.fail(fault{op: op, nth: 1, hang: true})
				w.want(toolPod("web", "u2"))
				synctest.Wait()
				began := time.Now()
				w.stop()
				if took := time.Since(began); took > time.Second {
					t.Errorf("leaving took %v", took)
				}
				if len(w.running("u1")) != 1 {
					t.Error("the other pod does not run any more")
				}
				w.start(t)
				w.awaitPhase(t, "u2", v1.PodRunning)
			})
		})
	}
}

// A step that hangs is given up after a while.
func TestStepThatHangsIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.fail(fault{op: "start", nth: 1, hang: true})
		w.start(t)
		w.want(toolPod("web", "u1"))
		time.Sleep(stepTimeout - time.Second)
		if w.phase("u1") == v1.PodRunning {
			t.Fatal("nothing hung")
		}
		w.awaitPhase(t, "u1", v1.PodRunning)
	})
}

func TestMaxPods(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.cfg.MaxPods = 1
		w.start(t)
		w.want(toolPod("first", "u1"))
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.want(toolPod("second", "u2"))
		w.await(t, "a word on u2", func() bool { return strings.Contains(w.message("u2"), "maxPods is 1") })
		time.Sleep(10 * time.Minute)
		if left := w.leftOf("u2"); len(left) > 0 || w.phase("u2") != v1.PodPending {
			t.Errorf("the second pod is %s and has %v", w.phase("u2"), left)
		}
		w.restart(t) // the pod on record comes first, whatever the order of the source
		w.await(t, "u1 taken up", func() bool { return w.phase("u1") == v1.PodRunning && w.phase("u2") == v1.PodPending })
		time.Sleep(10*time.Minute + 3*time.Second) // it asks every 10 s by now
		w.unwant("u1")
		began := time.Now()
		w.awaitPhase(t, "u2", v1.PodRunning)
		if took := time.Since(began); took > time.Second {
			t.Errorf("room that became free was taken after %v", took)
		}
	})
}

func TestAddressesRunOut(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.pool = 1
		w.start(t)
		w.want(toolPod("first", "u1"))
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.want(toolPod("second", "u2"))
		w.await(t, "a word on u2", func() bool { return strings.Contains(w.message("u2"), "no address is free") })
		host := toolPod("host", "u3")
		host.Spec.HostNetwork = true
		w.want(host)
		w.awaitPhase(t, "u3", v1.PodRunning) // needs none
		w.unwant("u1")
		w.awaitPhase(t, "u2", v1.PodRunning)
		w.want(toolPod("third", "u4"))
		w.await(t, "a word on u4", func() bool { return w.message("u4") != "" })
		w.unwant("u4") // one that never came to be goes without a trace
		w.awaitGone(t, "u4")
	})
}

// An acceptance that fails on the way leaves nothing behind.
func TestFailedAcceptance(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.cfg.MaxPods = 1
		w.start(t)
		synctest.Wait()
		tmp := filepath.Join(w.recordDir("u1"), "."+record.SpecFile+".tmp")
		if err := os.MkdirAll(tmp, 0o700); err != nil {
			t.Fatal(err)
		}
		w.want(toolPod("web", "u1"))
		w.await(t, "a word", func() bool { return strings.Contains(w.message("u1"), "is a directory") })
		if len(w.owners()) > 0 {
			t.Errorf("%v is taken", w.owners())
		}
		w.want(toolPod("other", "u2"))
		w.awaitPhase(t, "u2", v1.PodRunning) // the first has no place among maxPods
		w.unwant("u2")
		w.awaitGone(t, "u2")
		w.unwant("u1")
		w.await(t, "its end", func() bool { return w.status("u1") == nil })
		if entries, _ := os.ReadDir(w.recordDir("u1")); len(entries) != 1 {
			t.Errorf("left is %v", entries)
		}
		w.want(toolPod("web", "u1"))
		if err := os.Remove(tmp); err != nil {
			t.Fatal(err)
		}
		w.awaitPhase(t, "u1", v1.PodRunning)
	})
}

func TestRecordThatCannotBeRead(t *testing.T) {
	for _, file := range []string{record.SpecFile, record.FactsFile} {
		t.Run(file, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.start(t)
				w.want(toolPod("bad", "u1"), toolPod("good", "u2"))
				w.awaitPhase(t, "u1", v1.PodRunning)
				w.awaitPhase(t, "u2", v1.PodRunning)
				w.stop()
				if err := os.WriteFile(filepath.Join(w.recordDir("u1"), file), []byte(`{"pod": {`), 0o600); err != nil {
					t.Fatal(err)
				}
				before := w.leftOf("u1")
				w.unwant("u2")
				w.start(t)
				w.awaitGone(t, "u2")
				if file == record.SpecFile { // else its address is not known, and could be given out twice
					w.want(toolPod("next", "u3"))
					w.awaitPhase(t, "u3", v1.PodRunning)
				}
				time.Sleep(time.Hour)
				if after := w.leftOf("u1"); !slices.Equal(before, after) || w.status("u1") != nil {
					t.Errorf("it had\n%v\nand has\n%v, reported is %v", before, after, w.status("u1"))
				}
				w.unwant("u1")
				time.Sleep(time.Hour)
				if after := w.leftOf("u1"); !slices.Equal(before, after) {
					t.Errorf("after its manifest went it has\n%v", after)
				}
			})
		})
	}
}

// While the runtime does not answer, that a container is not seen means nothing.
func TestRuntimeThatDoesNotAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		w.want(toolPod("web", "u1"))
		w.awaitPhase(t, "u1", v1.PodRunning)
		before := w.leftOf("u1")
		for _, op := range []string{"list", "inspect"} {
			w.fail(fault{op: op, err: fmt.Errorf("injected: %w", runtime.ErrUnavailable)})
			w.tell("")
			time.Sleep(10 * time.Minute)
			w.restart(t)
			time.Sleep(10 * time.Minute)
			w.heal()
			time.Sleep(time.Minute)
		}
		if after := w.leftOf("u1"); !slices.Equal(before, after) || w.status("u1").ContainerStatuses[0].RestartCount != 0 {
			t.Errorf("it had\n%v\nand has\n%v", before, after)
		}
	})
}

// A davit that starts while the daemon is away sees the exits of the containers
// on record, which the daemon will not know of when it is back.
func TestExitWhileTheDaemonIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		w.want(toolPod("web", "u1"))
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.stop()
		w.node.StopDaemon()
		w.start(t)
		time.Sleep(time.Minute)
		w.node.End(w.running("u1")[0], runtime.Exit{Code: 42})
		w.await(t, "its exit", func() bool {
			x := w.facts("u1").Containers["a"].Current.Exit
			return x != nil && x.Code == 42
		})
		w.node.StartDaemon(fake.LoseStopped)
		w.await(t, "its restart", func() bool { return len(w.running("u1")) == 1 })
		if x := w.status("u1").ContainerStatuses[0]; x.RestartCount != 1 || x.LastTerminationState.Terminated.ExitCode != 42 {
			t.Errorf("%+v", x)
		}
	})
}

// orphan makes everything that a pod may have, without a record.
func (w *world) orphan(t *testing.T, uid string) {
	t.Helper()
	ctx, rt := context.Background(), w.node.Runtime()
	defer rt.Close()
	pod := runtime.PodRef{UID: uid, Namespace: "default", Name: "orphan"}
	_, err := w.node.Sandboxes().Ensure(ctx, &runtime.SandboxConfig{Pod: pod})
	id := runtime.ContainerID(uid, "x", 0)
	img, imgErr := rt.Image(ctx, toolImage)
	err = errors.Join(err, imgErr, rt.Create(ctx, &runtime.ContainerConfig{
		ContainerRef: runtime.ContainerRef{Pod: pod, Name: "x", ID: id}, Image: img,
		Spec: &specs.Spec{Process: &specs.Process{Args: []string{"podtool", "sleep"}}},
	}), rt.Start(ctx, id))
	_, _, streamErr := w.node.Logs().Open(ctx, runtime.LogStream{ID: "stray-" + uid, Path: "/var/log/pods/" + uid})
	if err = errors.Join(err, streamErr); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attached[uid], w.cgroups[uid] = []netip.Addr{netip.MustParseAddr("10.85.0.2")}, true
}

func TestOrphansAreRemoved(t *testing.T) {
	for _, op := range []string{"none", "list", "delete", "detach", "remove", "uncgroup", "close", "attached", "sandboxes", "cgroups", "streams"} {
		t.Run(op, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.start(t)
				w.want(toolPod("web", "u1"))
				w.awaitPhase(t, "u1", v1.PodRunning)
				w.stop()
				before := w.leftOf("u1")
				w.orphan(t, "x1")
				w.fail(fault{op: op, nth: 1, err: errors.New("injected")})
				w.start(t)
				w.await(t, "the sweep", func() bool { return len(w.leftOf("x1")) == 0 })
				if after := w.leftOf("u1"); !slices.Equal(before, after) {
					t.Errorf("the pod on record had\n%v\nand has\n%v", before, after)
				}
			})
		})
	}
}

// What a container stands on is not taken away while it cannot be told what
// runs.
func TestOrphansStayWhileTheRuntimeIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.orphan(t, "x1")
		before := w.leftOf("x1")
		w.node.StopDaemon()
		w.start(t)
		time.Sleep(time.Hour + 100*time.Second) // between two looks without a sign
		if after := w.leftOf("x1"); !slices.Equal(before, after) {
			t.Errorf("there was\n%v\nand is\n%v", before, after)
		}
		w.node.StartDaemon(fake.KeepStopped)
		time.Sleep(time.Second)
		synctest.Wait()
		if left := w.leftOf("x1"); len(left) > 0 { // its return is the sign for a sweep
			t.Errorf("when it is back there is\n%v", left)
		}
	})
}

// Nor while the container cannot be removed.
func TestOrphanThatCannotBeRemoved(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.orphan(t, "x1")
		w.fail(fault{op: "delete", err: errors.New("injected")})
		w.start(t)
		time.Sleep(time.Hour)
		if len(w.running("x1")) != 1 || w.addrsOf("x1") == nil || !w.hasCgroup("x1") {
			t.Errorf("there is\n%v", w.leftOf("x1"))
		}
		w.heal()
		w.await(t, "the sweep", func() bool { return len(w.leftOf("x1")) == 0 })
	})
}

// A pod comes while what an earlier one of its UID left is being removed: it
// waits, so that what it makes is not taken from it.
func TestPodComesWhileItsOrphansGo(t *testing.T) {
	for _, op := range []string{"delete", "detach", "remove", "uncgroup"} {
		t.Run(op, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.orphan(t, "u1")
				hold := make(chan struct{})
				w.fail(fault{op: op, nth: 1, wait: hold})
				w.start(t)
				synctest.Wait()
				w.want(toolPod("web", "u1"))
				time.Sleep(time.Minute)
				close(hold)
				w.awaitPhase(t, "u1", v1.PodRunning)
				time.Sleep(time.Hour)
				if len(w.running("u1")) != 1 || w.addrsOf("u1") == nil || !w.hasCgroup("u1") {
					t.Errorf("it has %v", w.leftOf("u1"))
				}
			})
		})
	}
}

func TestEditedManifest(t *testing.T) {
	for _, uid := range []string{"u2", "u1"} { // a UID made of the file's text, and one that stands in it
		t.Run(uid, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.start(t)
				w.want(toolPod("web", "u1", "ignore-term"))
				w.awaitPhase(t, "u1", v1.PodRunning)
				old := w.running("u1")
				next := toolPod("web", uid)
				next.Annotations["kubernetes.io/config.hash"] = "new"
				w.want(next)
				time.Sleep(4 * time.Second) // of 5 s of grace
				if now := w.running(""); !slices.Equal(old, now) || uid != "u1" && w.status(uid) != nil {
					t.Errorf("before the old pod is gone there run %v; it was %v", now, old)
				}
				began := time.Now()
				w.await(t, "the new pod", func() bool {
					return w.phase(uid) == v1.PodRunning && w.pod(uid).Annotations["kubernetes.io/config.hash"] == "new"
				})
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("the new pod came %v after the old one was to be killed", took)
				}
				if n := len(w.running("")); n != 1 {
					t.Errorf("%d containers run", n)
				}
				if uid != "u1" && len(w.leftOf("u1")) > 0 {
					t.Errorf("of the old pod there is %v", w.leftOf("u1"))
				}
			})
		})
	}
}

// What no source has delivered yet is kept.
func TestNothingIsStoppedBeforeTheSourceHasSynced(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		w.want(toolPod("web", "u1"), toolPod("old", "u2"))
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.awaitPhase(t, "u2", v1.PodRunning)
		before := w.running("")
		w.stop()
		w.synced = false
		w.unwant("u2")
		w.start(t)
		time.Sleep(time.Hour)
		if now := w.running(""); !slices.Equal(before, now) {
			t.Errorf("%v ran, now %v", before, now)
		}
		w.sync(true)
		w.awaitGone(t, "u2")
		if len(w.running("u1")) != 1 {
			t.Error("the pod that is wanted does not run")
		}
	})
}

func TestRebootRestoresShares(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		w.want(burstable(toolPod("web", "u1"), 250), burstable(toolPod("db", "u2"), 300))
		w.await(t, "shares", func() bool { return w.shares() == 550 })
		w.awaitPhase(t, "u1", v1.PodRunning)
		w.reboot(t)
		synctest.Wait()
		if w.shares() != 550 {
			t.Errorf("after the reboot the shares are for %d", w.shares())
		}
		w.await(t, "shares and a restart", func() bool { return w.shares() == 550 && len(w.running("")) == 2 })
		w.fail(fault{op: "qos", nth: 1, err: errors.New("injected")})
		w.want(burstable(toolPod("job", "u3"), 50))
		w.await(t, "another try", func() bool { return w.shares() == 600 })
	})
}

func TestAlive(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := w.a.p.Alive(ctx); err != nil {
			t.Error(err)
		}
		p := w.a.p
		w.stop()
		if err := p.Alive(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a loop that has ended is said to turn: %v", err)
		}
	})
}
