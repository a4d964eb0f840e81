package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
	"github.com/davit-agent/davit/test/testbed"
)

// cli runs a command line and returns what it printed, and whether it succeeded.
func cli(n *node.Node, stdin string, args ...string) (string, bool) {
	cmd := n.Bed.Command(n.Binary, append(args, "--socket", n.Socket())...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// wants runs a command line that is to succeed and to print these parts.
func wants(t *testing.T, n *node.Node, stdin, line string, parts ...string) string {
	t.Helper()
	out, ok := cli(n, stdin, strings.Fields(line)...)
	if !ok {
		t.Fatalf("davit %s: %s", line, out)
	}
	for _, p := range parts {
		if !strings.Contains(out, p) {
			t.Errorf("davit %s lacks %q:\n%s", line, p, out)
		}
	}
	return out
}

// A manifest is applied, looked at, changed and deleted, all by the command line.
func TestApplyExplainDelete(t *testing.T) {
	n := start(t, "")
	config := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata: {k: v}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {p: hidden}\n---\n"
	wants(t, n, config+podtool("web", "Always", "sleep"), "apply -f - --wait --timeout 90s",
		"configmap/conf created\nsecret/key created\npod/web created\npod/web is Ready\n")
	wants(t, n, podtool("web", "Always", "sleep"), "apply -f - --wait --timeout 90s", "pod/web unchanged\npod/web is Ready\n")
	wants(t, n, "", "get pods,cm,secrets,nodes", "pod/web-n1", "Running", "configmap/conf", "secret/key", "node/n1", "Ready")
	wants(t, n, "", "explain pod web", "Why:    its container runs", "From:   "+filepath.Join(n.Manifests, "pod-default-web.yaml"), "nothing, until something changes")
	wants(t, n, "", "get nodes -o wide", "containerd://")
	if info, err := os.Stat(filepath.Join(n.Manifests, "secret-default-key.yaml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}

	// An edit is another pod; apply waits for that one.
	var before, after v1.Pod
	unmarshal(t, wants(t, n, "", "get pod web -o json"), &before)
	wants(t, n, podtool("web", "Always", "sleep", "1h"), "apply -f - --wait --timeout 90s", "pod/web configured\npod/web is Ready\n")
	unmarshal(t, wants(t, n, "", "get pod web -o json"), &after)
	if before.UID == after.UID || after.UID == "" {
		t.Errorf("apply came back with pod %s, which was %s", after.UID, before.UID)
	}

	// One that does not keep running is explained.
	if out, ok := cli(n, podtool("crash", "Always", "exit", "3"), "apply", "-f", "-"); !ok {
		t.Fatal(out)
	}
	tells(t, n, "explain pod crash", "CrashLoop", "container main is started again", "with code 3")
	out, _ := cli(n, podtool("web", "Always", "sleep", "2h"), "apply", "-f", "-", "-n", "other", "--dry-run")
	if out != "pod/web created (dry run)\n" {
		t.Errorf("%q", out)
	}

	// One whose manifest is refused, too.
	if err := os.WriteFile(filepath.Join(n.Manifests, "bad.yaml"), []byte(strings.Replace(podtool("bad", "Always"), "image:", "imgae:", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	tells(t, n, "explain pod bad", "there is no such pod", "bad.yaml:", "imgae")
	if out, ok := cli(n, "", "explain", "pod", "wbe"); ok || !strings.Contains(out, "did you mean web-n1?") {
		t.Errorf("%v, %s", ok, out)
	}

	wants(t, n, "", "delete pod web crash-n1 --timeout 90s", `pod "web" deleted from default namespace`, `pod "crash" deleted`)
	if out := wants(t, n, "", "get pods -A"); !strings.Contains(out, "No resources found") {
		t.Errorf("after delete: %s", out)
	}
	noLeaks(t, n)
}

// tells waits until a command line prints all of these.
func tells(t *testing.T, n *node.Node, line string, parts ...string) {
	t.Helper()
	testbed.Poll(t, patience, func() string {
		out, _ := cli(n, "", strings.Fields(line)...)
		for _, p := range parts {
			if !strings.Contains(out, p) {
				return "davit " + line + " lacks " + p + ":\n" + out
			}
		}
		return ""
	})
}

func unmarshal(t *testing.T, text string, into any) {
	t.Helper()
	if i := strings.LastIndexByte(text, '}'); i >= 0 {
		text = text[:i+1] // a notice about problems may follow
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}
