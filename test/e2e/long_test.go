//go:build long

package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/davit-agent/davit/test/node"
)

// An agent that hangs for a minute: a container that prints all the while is
// never held up, and nothing of what it printed is lost.
func TestLongAgentStoppedForAMinute(t *testing.T) {
	n := start(t, "logs: {maxSize: 64Mi}\n")
	n.Apply("talker.yaml", podtool("talker", "Always", "lines", "0", "500"))
	before := ids(n.WaitPod("talker", patience, node.Ready))
	n.Signal(syscall.SIGSTOP)
	time.Sleep(time.Minute)
	n.Signal(syscall.SIGCONT)
	n.Await()
	out, _, _ := n.CLI("logs", "talker")
	lines := strings.Count(out, "\n")
	checkLines(t, "talker", out, lines)
	// Timers are coarse here; a container that was blocked would have stood
	// still after 64 KiB, at about line 5,000.
	if lines < 15000 {
		t.Errorf("%d lines in a minute", lines)
	}
	if now := ids(n.Pod("talker")); now != before {
		t.Errorf("the pod was touched:\n%s\n%s", before, now)
	}
	n.Withdraw("talker.yaml")
	n.WaitPod("talker", patience, node.Gone)
	noLeaks(t, n)
}
