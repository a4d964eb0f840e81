package pods

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime"
)

// What a container logged last may come into its file after its exit is seen:
// the message is taken from the log when the container is gone.
func TestMessageFromLogIsWhole(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		pod := toolPod("web", "u1")
		pod.Spec.RestartPolicy = v1.RestartPolicyNever
		pod.Spec.Containers[0].TerminationMessagePolicy = v1.TerminationMessageFallbackToLogsOnError
		w.want(pod)
		w.awaitPhase(t, "u1", v1.PodRunning)
		path := logPath(w.cfg.LogDir, runtime.PodRef{UID: "u1", Namespace: "default", Name: "web"}, "a", 0)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		const first, last = "2026-01-02T03:04:05Z stdout F first\n", "2026-01-02T03:04:05Z stderr F last\n"
		if err := os.WriteFile(path, []byte(first), 0o600); err != nil {
			t.Fatal(err)
		}
		w.fail(fault{op: "delete", err: errors.New("not yet")})
		w.node.End(w.running("u1")[0], runtime.Exit{Code: 1})
		w.await(t, "its exit", func() bool { return w.facts("u1").Containers["a"].Current.Exit != nil })
		time.Sleep(time.Minute)
		if m := w.facts("u1").Containers["a"].Current.Exit.Message; m != "" {
			t.Errorf("before the container is gone: %q", m)
		}
		if err := os.WriteFile(path, []byte(first+last), 0o600); err != nil {
			t.Fatal(err)
		}
		w.heal()
		w.await(t, "the message", func() bool {
			s := w.status("u1")
			return s.Phase == v1.PodFailed && s.ContainerStatuses[0].State.Terminated.Message == "first\nlast\n"
		})
		w.restart(t)
		if m := w.facts("u1").Containers["a"].Current.Exit.Message; m != "first\nlast\n" {
			t.Errorf("on record is %q", m)
		}
	})
}
