package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/agent/server/wire"
)

// says runs command lines against a node and compares all they print; errs is a
// part of what goes to stderr.
type says struct {
	args      string
	code      int
	out, errs string
}

func (n *node) says(t *testing.T, cases ...says) {
	t.Helper()
	for _, c := range cases {
		out, errs, code := davit(t, n.socket, "", strings.Fields(c.args)...)
		if code != c.code || out != c.out || !strings.Contains(errs, c.errs) || c.errs == "" && errs != "" {
			t.Errorf("davit %s: code %d, out\n%serr %q; want %d\n%s%q", c.args, code, out, errs, c.code, c.out, c.errs)
		}
	}
}

func TestGetTables(t *testing.T) {
	const web, db = "web-n1   1/1     Running   0          <unknown>\n", "db-n1    1/1     Running   0          <unknown>\n"
	const head = "NAME     READY   STATUS    RESTARTS   AGE\n"
	serveNode(t).says(t,
		says{args: "get pods", out: head + web},
		says{args: "get po -l app=web", out: head + web},
		says{args: "get pods -l app!=web", errs: "No resources found in default namespace."},
		says{args: "get pods -l app=web,tier -A", errs: "No resources found\n"},
		says{args: "get pods -A", out: "NAMESPACE   NAME     READY   STATUS    RESTARTS   AGE\ndefault     " + web + "other       " + db},
		says{args: "get pods -n other -o wide", out: "NAME    READY   STATUS    RESTARTS   AGE         IP       NODE\ndb-n1   1/1     Running   0          <unknown>   <none>   n1\n"},
		says{args: "get pod/web pod/web-n1 -o name", out: "pod/web-n1\npod/web-n1\n"},
		says{args: "get svc", out: "NAME    TYPE       CLUSTER-IP   EXTERNAL-IP   PORT(S)               AGE\nfront   NodePort   10.96.0.10   <none>        80:30080/TCP,53/UDP   <unknown>\n"},
		says{args: "get services -n other -o wide", out: "NAME   TYPE           CLUSTER-IP   EXTERNAL-IP   PORT(S)   AGE         SELECTOR\nout    ExternalName   <none>       x.example     <none>    <unknown>   <none>\n"},
		says{args: "get cm", out: "NAME   DATA   AGE\nconf   2      <unknown>\n"},
		says{args: "get secret -o wide", out: "NAME   TYPE     DATA   AGE         KEYS\nkey    Opaque   2      <unknown>   password(6),user(2)\n"},
		says{args: "get nodes", out: "NAME   STATUS   ROLES    AGE    VERSION\nn1     Ready    <none>   150m   v9\n"},
		says{args: "get no n1 -o wide", out: "NAME   STATUS   ROLES    AGE    VERSION   INTERNAL-IP   EXTERNAL-IP   OS-IMAGE    KERNEL-VERSION   CONTAINER-RUNTIME\n" +
			"n1     Ready    <none>   150m   v9        <none>        <none>        Some OS 1   6.1              containerd://2\n"},
		says{args: "get all", out: "NAME         READY   STATUS    RESTARTS   AGE\npod/" + web +
			"\nNAME            TYPE       CLUSTER-IP   EXTERNAL-IP   PORT(S)               AGE\nservice/front   NodePort   10.96.0.10   <none>        80:30080/TCP,53/UDP   <unknown>\n"},
		says{args: "get pods,cm -o name", out: "pod/web-n1\nconfigmap/conf\n"},
		says{args: "get pods -n none", errs: "No resources found in none namespace."},
	)
}

func TestGetErrors(t *testing.T) {
	n := serveNode(t)
	n.says(t,
		says{args: "get", code: 2, errs: "get what? One of: pods, services, nodes, configmaps, secrets, "},
		says{args: "get podz", code: 2, errs: `unknown kind "podz"; did you mean pod?`},
		says{args: "get pods -o jason", code: 2, errs: "-o jason: there are wide, json, yaml, name; did you mean json?"},
		says{args: "get pods --selectr x", code: 2, errs: "unknown flag: --selectr; did you mean --selector?"},
		says{args: "get pods -l a=b=c", code: 2, errs: "-l a=b=c: "},
		says{args: "get pods web -l a=b", code: 2, errs: "names and -l cannot be given together"},
		says{args: "get pods web -A", code: 2, errs: "use -n instead of -A"},
		says{args: "get pods web/x", code: 2, errs: "there is no KIND before it"},
		says{args: "get pod/web x", code: 2, errs: "after KIND/NAME there is KIND/NAME again"},
		says{args: "get pods,cm -w", code: 2, errs: "-w watches one kind at a time"},
		says{args: "get problems x", code: 2, errs: "problems are shown all and alone"},
		says{args: "get images,pods", code: 2, errs: "images are shown all and alone"},
		says{args: "get images -w", code: 2, errs: "images have no -w and no -l"},
		says{args: "gett pods", code: 2, errs: `unknown command "gett" for "davit"`},
		says{args: "get pods wbe", code: 1, errs: `pods "wbe" not found in namespace "default"; did you mean web-n1?`},
		says{args: "get pods w", code: 1, errs: `did you mean web-n1?`},
		says{args: "get pods db", code: 1, errs: `pods "db" not found in namespace "default"; there is one in namespace other: use -n other`},
		says{args: "get pods zzzzz", code: 1, errs: "error: pods \"zzzzz\" not found in namespace \"default\"\n"},
		says{args: "get cm cont", code: 1, errs: `configmaps "cont" not found in namespace "default"; did you mean conf?`},
		says{args: "get pods web none -o name", code: 1, out: "pod/web-n1\n", errs: `pods "none" not found`},
		says{args: "get pod/web svc/none -o name", code: 1, out: "pod/web-n1\n", errs: `services "none" not found`},
	)
	n.lost.Store(true)
	n.says(t, says{args: "get nodes", code: 1, errs: "error: nothing is known\n"})
}

// What goes to programs is Kubernetes' and complete, but for secrets' contents.
func TestGetObjects(t *testing.T) {
	n := serveNode(t)
	for _, format := range []string{"json", "yaml"} {
		var list struct {
			Kind, APIVersion string
			Items            []struct{ Kind string }
		}
		out, _, _ := davit(t, n.socket, "", "get", "pods,svc,cm,secrets,nodes", "-o", format)
		if err := yaml.Unmarshal([]byte(out), &list); err != nil || list.Kind != "List" || list.APIVersion != "v1" || len(list.Items) != 5 || list.Items[1].Kind != "Service" {
			t.Errorf("%s: %v: %s", format, err, out)
		}
		if strings.Contains(out, "hidden") || strings.Contains(out, "aGlkZGVu") || !strings.Contains(out, "password") {
			t.Errorf("secrets as %s: %s", format, out)
		}
		var services v1.ServiceList
		out, _, _ = davit(t, n.socket, "", "get", "services", "-A", "-o", format)
		if err := yaml.UnmarshalStrict([]byte(out), &services); err != nil || services.Kind != "ServiceList" || len(services.Items) != 2 || services.Items[0].Kind != "Service" {
			t.Errorf("%s: %v: %s", format, err, out)
		}
		var one v1.Pod
		out, _, _ = davit(t, n.socket, "", "get", "pod/web", "-o", format)
		if err := yaml.UnmarshalStrict([]byte(out), &one); err != nil || one.Kind != "Pod" || one.Name != "web-n1" {
			t.Errorf("%s: %v: %s", format, err, out)
		}
		out, _, _ = davit(t, n.socket, "", "get", "pods", "-n", "none", "-o", format)
		var none v1.PodList
		if err := yaml.UnmarshalStrict([]byte(out), &none); err != nil || none.Items == nil || !strings.Contains(out, "items") {
			t.Errorf("%s: %v: %s", format, err, out)
		}
	}
	n.complain(wire.Problem{File: "/m/a.yaml", Message: "x"})
	var p wire.Problems
	out, _, _ := davit(t, n.socket, "", "get", "problems", "-o", "json")
	if err := json.Unmarshal([]byte(out), &p); err != nil || len(p.Items) != 1 {
		t.Errorf("%v: %s", err, out)
	}
}

// What a container says cannot act on the terminal of whoever looks.
func TestGetIsSafe(t *testing.T) {
	n := serveNode(t)
	bad := pod("default", "web-n1", "1")
	bad.Status.Reason = "\x1b[31mred\u009b"
	bad.Status.ContainerStatuses = nil
	bad.Status.Message = "\u202e"
	n.table.Set(bad)
	n.complain(wire.Problem{File: "/m/\x1b]0;x\x07.yaml", Message: "\u202e"})
	for _, args := range []string{"get pods", "get pods -o json", "get pods -o yaml", "get problems", "get problems -o json"} {
		out, errs, _ := davit(t, n.socket, "", strings.Fields(args)...)
		if strings.ContainsAny(out+errs, "\x1b\u009b\x07\u202e") || !strings.Contains(out, "x1b") && !strings.Contains(out, "u001b") && !strings.Contains(out, `\e`) {
			t.Errorf("%s: %q, %q", args, out, errs)
		}
	}
}

// Kinds without a watch of the daemon's are watched all the same.
func TestGetPolls(t *testing.T) {
	n := serveNode(t)
	cmd := exec.Command(self(t), "get", "configmaps", "-w", "-o", "name", "--socket", n.socket)
	cmd.Env = append(cmd.Environ(), "DAVIT_TEST_MAIN=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(time.Minute, func() { cmd.Process.Kill() }).Stop()
	next := lines(stdout)
	for _, step := range []struct {
		late bool
		want string
	}{{false, "configmap/conf"}, {true, "configmap/late"}, {false, "configmap/late"}} {
		n.late.Store(step.late)
		if got := next(); got != step.want {
			t.Errorf("line %q, want %q", got, step.want)
		}
	}
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Errorf("a watch that was interrupted: %v", err)
	}
}

func TestSocketErrors(t *testing.T) {
	n := serveNode(t)
	dead := filepath.Join(t.TempDir(), "d.sock")
	leaveSocket(t, dead)
	for socket, want := range map[string][]string{
		filepath.Join(t.TempDir(), "none"): {"davit is not running at ", "no such file or directory", "Start it with 'davit run'"},
		dead:                               {"davit is not running at ", "connection refused", "nobody listens", "restart davit"},
	} {
		_, errs, code := davit(t, socket, "", "get", "pods")
		for _, w := range want {
			if code != 1 || !strings.Contains(errs, w) {
				t.Errorf("code %d, %q lacks %q", code, errs, w)
			}
		}
	}
	if errs, code := asNobody(t, n.socket); code != 1 || !strings.Contains(errs, "permission denied") || !strings.Contains(errs, "try sudo") {
		t.Errorf("code %d, %q", code, errs)
	}
}
