package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// chatty is a pod with an init container and two others that print: a the lines
// 1 to n and then nothing more, b one line to each stream.
func chatty(name string, n int) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: chat, who: %s}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: first, image: "%[3]s", command: [/bin/busybox, echo, from the first]}
  containers:
  - {name: a, image: "%[3]s", command: [/bin/busybox, sh, -c, "podtool lines %[4]d; exec podtool sleep"]}
  - {name: b, image: "%[3]s", command: [/bin/busybox, sh, -c, "echo to stdout; echo to stderr >&2; exec podtool sleep"]}
`, name, name, node.Image, n)
}

func TestCLILogs(t *testing.T) {
	n := start(t, "logs: {maxSize: 1Mi, maxFiles: 10}\n")
	n.Apply("one.yaml", chatty("one", 50000))
	n.Apply("two.yaml", chatty("two", 3))
	for _, name := range []string{"one", "two"} {
		n.WaitPod(name, patience, node.Ready)
	}
	for args, want := range map[string]string{"one a": "line 50000\n", "two a": "line 3\n", "one b": "to std", "two b": "to std"} {
		testbed.Poll(t, patience, func() string { // until all that is ever printed is in the file
			out, _, _ := n.CLI(append([]string{"logs", "--tail", "2"}, strings.Fields(args)...)...)
			if strings.Count(out, "\n") == 2 && strings.Contains(out, want) {
				return ""
			}
			return args + " has printed " + out
		})
	}
	t.Run("flags", func(t *testing.T) { logFlags(t, n) })
	t.Run("since", func(t *testing.T) { logSince(t, n) })
	t.Run("follow", func(t *testing.T) { logFollow(t, n) })
	t.Run("previous", func(t *testing.T) { logPrevious(t, n) })
	t.Run("stuck reader", func(t *testing.T) { logStuckReader(t, n) })
	t.Run("davit leaves", func(t *testing.T) {
		n.WaitPod("two", patience, node.Ready)
		c := begin(t, n, nil, "logs", "-f", "two", "-c", "a")
		c.out.await(t, "line 3\n")
		n.Restart()
		if code := c.ends(); code != 1 || !strings.Contains(c.errs.String(), "davit is leaving; the pod lives on") {
			t.Errorf("exit code %d: %s", code, &c.errs)
		}
		n.WaitPod("two", patience, node.Ready)
		c = begin(t, n, nil, "logs", "-f", "two", "-c", "a")
		c.out.await(t, "line 3\n")
		n.Kill()
		if code := c.ends(); code != 1 || !strings.Contains(c.errs.String(), "davit went away") {
			t.Errorf("exit code %d: %s", code, &c.errs)
		}
		n.Start()
		n.Await()
	})
}

func logFlags(t *testing.T, n *node.Node) {
	const p1, p2 = "[pod/one-n1/", "[pod/two-n1/"
	for _, c := range []struct {
		args        string
		code        int
		out, stderr string // stderr: a part
	}{
		{args: "one -c a --tail 2", out: "line 49999\nline 50000\n"},
		{args: "one a --tail 0"},
		{args: "pod/two", out: "line 1\nline 2\nline 3\n", stderr: `Defaulted container "a" out of: a, b, first (init)`},
		{args: "two -c a --limit-bytes 9", out: "line 1\nli"},
		{args: "two -c b", out: "to stdout\nto stderr\n"},
		{args: "two --all-containers", out: "from the first\nline 1\nline 2\nline 3\nto stdout\nto stderr\n"},
		{args: "two --all-containers --prefix --tail 2", out: p2 + "first] from the first\n" + p2 + "a] line 2\n" + p2 + "a] line 3\n" +
			p2 + "b] to stdout\n" + p2 + "b] to stderr\n"},
		{args: "-l app=chat,who!=one -c a", out: "line 1\nline 2\nline 3\n"},
		{args: "--selector who=one -c a --prefix", // 10 lines by default
			out: strings.Join(prefixed(p1+"a] line ", 49991, 50000), "")},
		{args: "-l who=nobody", stderr: "No resources found in default namespace."},
		{args: "-l app=chat -c nope", code: 1, stderr: "container nope is not valid for pod one-n1"},
		{args: "-l app=chat -c nope --ignore-errors", stderr: "container nope is not valid for pod two-n1"},
		{args: "two -c a -p", code: 1, stderr: `previous terminated container "a" in pod "two-n1" not found`},
		{args: "-f -l app=chat --all-containers", code: 1, stderr: "you are attempting to follow 6 log streams, but maximum allowed concurrency is 5, use --max-log-requests to increase the limit"},
		{args: "", code: 2, stderr: "logs takes POD"},
		{args: "two -l app=chat", code: 2, stderr: "only a selector (-l) or a POD name is allowed"},
		{args: "two --tail -2", code: 2, stderr: "--tail must be greater than or equal to -1"},
		{args: "two --since 1s --since-time 2026-01-02T15:04:05Z", code: 2, stderr: "only one of --since-time / --since may be used"},
		{args: "two --since -1s", code: 2, stderr: "--since must be greater than 0"},
		{args: "two --since-time yesterday", code: 2, stderr: "RFC 3339"},
		{args: "two --limit-bytes 0", code: 2, stderr: "--limit-bytes must be greater than 0"},
		{args: "two b --all-containers", code: 2, stderr: "--all-containers=true should not be specified with container name"},
		{args: "-l !!", code: 2, stderr: "-l !!"},
	} {
		out, stderr, code := n.CLI(append([]string{"logs"}, strings.Fields(c.args)...)...)
		if strings.Contains(c.args, "-c b") || strings.Contains(c.args, "all-containers") {
			out, c.out = sortedLines(out), sortedLines(c.out) // a container's two streams have no order between them
		}
		if out != c.out || code != c.code || !strings.Contains(stderr, c.stderr) || c.stderr == "" && stderr != "" {
			t.Errorf("davit logs %s: %d, %q, %q; want %+v", c.args, code, tailOf(out), stderr, c)
		}
	}
	out, _, _ := n.CLI("logs", "one", "-c", "a")
	checkLines(t, "the whole", out, 50000)
	out, _, _ = n.CLI("logs", "two", "-c", "a", "--timestamps", "--tail", "1")
	stamp, rest, _ := strings.Cut(out, " ")
	if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil || rest != "line 3\n" {
		t.Errorf("with timestamps: %q, %v", out, err)
	}
}

func sortedLines(text string) string {
	lines := slices.Sorted(strings.Lines(text))
	return strings.Join(lines, "")
}

func prefixed(prefix string, from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprintf("%s%d\n", prefix, i))
	}
	return out
}

// Lines by their time: the log's own times, to the nanosecond.
func logSince(t *testing.T, n *node.Node) {
	out, _, _ := n.CLI("logs", "one", "-c", "a", "--timestamps", "--tail", "100")
	stamp, _, _ := strings.Cut(out, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		t.Fatal(err)
	}
	all, _, _ := n.CLI("logs", "one", "-c", "a", "--timestamps")
	want := 0
	for line := range strings.Lines(all) {
		stamp, _, _ := strings.Cut(line, " ")
		if when, err := time.Parse(time.RFC3339Nano, stamp); err != nil || !when.Before(at) {
			want++
		}
	}
	out, stderr, _ := n.CLI("logs", "one", "-c", "a", "--since-time", stamp)
	if got := strings.Count(out, "\n"); got != want || !strings.HasSuffix(out, "line 50000\n") {
		t.Errorf("since %s: %d lines, want %d: %s", stamp, got, want, stderr)
	}
	if out, stderr, _ := n.CLI("logs", "one", "-c", "a", "--since", "1ns"); out != "" {
		t.Errorf("since now: %q, %s", tailOf(out), stderr)
	}
	if out, _, _ := n.CLI("logs", "two", "-c", "a", "--since", "1h"); out != "line 1\nline 2\nline 3\n" {
		t.Errorf("since an hour ago: %q", out)
	}
}

// Followers: several at once, the end of a container, Ctrl-C.
func logFollow(t *testing.T, n *node.Node) {
	tty := newTerminal(t)
	c := begin(t, n, tty.attach, "logs", "-f", "-l", "app=chat", "--all-containers", "--prefix", "--max-log-requests", "6", "--tail", "2")
	for _, want := range []string{"[pod/one-n1/a] line 50000", "[pod/two-n1/a] line 3", "[pod/two-n1/first] from the first", "[pod/one-n1/b] to stderr"} {
		tty.out.await(t, want)
	}
	if strings.Contains(tty.out.String(), "line 49998") {
		t.Error("the tail is too long")
	}
	tty.types("\x03")
	if code := c.ends(); code != 130 {
		t.Errorf("after Ctrl-C: exit code %d", code)
	}

	n.Apply("brief.yaml", podtool("ends", "Never", "lines", "30", "20"))
	n.WaitPod("ends", patience, func(p *v1.Pod) string {
		if p == nil || p.Status.Phase == v1.PodPending {
			return "not started"
		}
		return ""
	})
	c = begin(t, n, nil, "logs", "-f", "ends")
	if code := c.ends(); code != 0 {
		t.Errorf("exit code %d: %s", code, &c.errs)
	}
	checkLines(t, "until the end", c.out.String(), 30)
}

// The attempt before: its log is there while the next one runs.
func logPrevious(t *testing.T, n *node.Node) {
	n.Apply("twice.yaml", strings.Replace(podtool("twice", "Always"), "command: [/bin/podtool], args: []",
		`command: [/bin/busybox, sh, -c, "if [ -e /dev/shm/was ]; then echo second; exec podtool sleep; fi; touch /dev/shm/was; echo first; exit 3"]`, 1))
	n.WaitPod("twice", patience, func(p *v1.Pod) string {
		if p == nil || len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].RestartCount != 1 || node.Ready(p) != "" {
			return "not restarted"
		}
		return ""
	})
	for want, args := range map[string][]string{"first\n": {"logs", "twice", "--previous"}, "second\n": {"logs", "twice"}} {
		testbed.Poll(t, patience, func() string {
			if out, stderr, _ := n.CLI(args...); out != want {
				return fmt.Sprintf("%v: %q, %s", args, out, stderr)
			}
			return ""
		})
	}
}

// A reader that has stopped keeps neither the container from printing nor davit
// from leaving.
func logStuckReader(t *testing.T, n *node.Node) {
	n.Apply("loud.yaml", podtool("loud", "Always", "lines", "0", "20000", "500"))
	n.WaitPod("loud", patience, node.Ready)
	c := begin(t, n, nil, "logs", "-f", "loud")
	c.out.await(t, "line 10 ")
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	last := func() string {
		out, _, _ := n.CLI("logs", "loud", "--tail", "1")
		return out
	}
	before := last()
	testbed.Poll(t, patience, func() string {
		if last() == before {
			return "the container prints nothing"
		}
		return ""
	})
	n.Restart()
	n.Withdraw("loud.yaml")
	n.WaitPod("loud", patience, node.Gone)
	if err := c.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if code := c.ends(); code != 1 {
		t.Errorf("exit code %d: %s", code, &c.errs)
	}
}
