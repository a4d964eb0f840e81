package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/test/node"
)

// environ returns the environment of a container's first process.
func environ(t *testing.T, n *node.Node, pod, container string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", containerPid(t, n, pod, container)))
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(data), "\x00"), "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	return env
}

// Every way to give a container a variable, seen by its process.
func TestEnvironment(t *testing.T) {
	n := start(t, "")
	n.Apply("conf.yaml", object("ConfigMap", "conf", "color", "blue", "dotted.key", "1", "A", "from conf", "ref", "$(COLOR)"))
	n.Apply("cred.yaml", object("Secret", "cred", "password", "hunter2", "A", "from cred"))
	n.Apply("env.yaml", `apiVersion: v1
kind: Pod
metadata: {name: env, labels: {app: web}, annotations: {note: "x y"}}
spec:
  terminationGracePeriodSeconds: 1
  serviceAccountName: robot
  containers:
  - name: main
    image: "`+node.Image+`"
    command: [/bin/podtool, sleep, "$(HOURS)h", "$(CODE)"]
    args: ["$(NOBODY)", "$$(HOURS)"]
    resources: {limits: {cpu: 1500m, memory: 64Mi}, requests: {cpu: 250m, memory: 32Mi}}
    envFrom:
    - configMapRef: {name: conf}
    - {prefix: CRED_, secretRef: {name: cred}}
    - secretRef: {name: cred}
    - configMapRef: {name: absent, optional: true}
    - secretRef: {name: absent, optional: true}
    env:
    - {name: HOURS, value: "1"}
    - {name: CODE, value: "7"}
    - {name: COLOR, valueFrom: {configMapKeyRef: {name: conf, key: color}}}
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: cred, key: password}}}
    - {name: NO_KEY, valueFrom: {configMapKeyRef: {name: conf, key: absent, optional: true}}}
    - {name: NO_SECRET, valueFrom: {secretKeyRef: {name: absent, key: absent, optional: true}}}
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    - {name: UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
    - {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
    - {name: NOTE, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['note']"}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: ACCOUNT, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: POD_IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}
    - {name: HOST_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
    - {name: HOST_IPS, valueFrom: {fieldRef: {fieldPath: status.hostIPs}}}
    - {name: CPUS, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
    - {name: MILLICPUS, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}
    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
    - {name: MEBIBYTES, valueFrom: {resourceFieldRef: {containerName: main, resource: requests.memory, divisor: 1Mi}}}
    - {name: DISK, valueFrom: {resourceFieldRef: {resource: requests.ephemeral-storage}}}
    - {name: URL, value: "http://$(COLOR):$(PASSWORD)@$(POD_IP)/$(CRED_A)/$$(COLOR)/$(LATER)/$(NOBODY)/$COLOR"}
    - {name: LATER, value: late}
    - {name: A, value: own}
    - {name: AGAIN, value: "$(A)"}
`)
	p := n.WaitPod("env", patience, node.Ready)
	got := environ(t, n, "env", "main")
	ips := p.Status.PodIPs[0].IP + "," + p.Status.PodIPs[1].IP
	want := map[string]string{
		"color": "blue", "dotted.key": "1", "ref": "$(COLOR)", "CRED_password": "hunter2", "CRED_A": "from cred", "password": "hunter2",
		"HOURS": "1", "CODE": "7", "COLOR": "blue", "PASSWORD": "hunter2",
		"NAME": "env-" + node.Name, "NAMESPACE": "default", "UID": string(p.UID), "APP": "web", "NOTE": "x y", "NODE": node.Name, "ACCOUNT": "robot",
		"POD_IP": p.Status.PodIP, "POD_IPS": ips, "HOST_IP": n.Bed.Addr4.String(), "HOST_IPS": n.Bed.Addr4.String() + "," + n.Bed.Addr6.String(),
		"CPUS": "2", "MILLICPUS": "250", "MEMORY": "67108864", "MEBIBYTES": "32", "DISK": "0",
		"URL":   "http://blue:hunter2@" + p.Status.PodIP + "/from cred/$(COLOR)/$(LATER)/$(NOBODY)/$COLOR",
		"LATER": "late", "A": "own", "AGAIN": "own", "HOSTNAME": "env-" + node.Name,
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s=%q, want %q", name, got[name], value)
		}
	}
	for _, name := range []string{"NO_KEY", "NO_SECRET"} {
		if value, there := got[name]; there {
			t.Errorf("there is %s=%q", name, value)
		}
	}
	pid := containerPid(t, n, "env", "main")
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if want := "/bin/podtool\x00sleep\x001h\x007\x00$(NOBODY)\x00$(HOURS)\x00"; err != nil || string(line) != want {
		t.Errorf("command line %q, %v, want %q", line, err, want)
	}
	log, err := os.ReadFile(n.Log)
	if err != nil || strings.Contains(string(log), "hunter2") {
		t.Errorf("the password is in davit's log, or %v", err)
	}
	noLeaks(t, n)
}

// What the environment lacks is told in kubelet's words; the pod starts when it
// is there.
func TestEnvironmentThatIsWaitedFor(t *testing.T) {
	n := start(t, "")
	n.Apply("partial.yaml", object("ConfigMap", "partial", "a", "A")+"---\n"+object("Secret", "partial", "a", "A"))
	cases := map[string]struct{ field, want string }{
		"configmap": {"env: [{name: X, valueFrom: {configMapKeyRef: {name: later, key: a}}}]", `configmap "later" not found`},
		"secret":    {"env: [{name: X, valueFrom: {secretKeyRef: {name: later, key: a}}}]", `secret "later" not found`},
		"key":       {"env: [{name: X, valueFrom: {configMapKeyRef: {name: partial, key: b}}}]", "couldn't find key b in ConfigMap default/partial"},
		"secretkey": {"env: [{name: X, valueFrom: {secretKeyRef: {name: partial, key: b}}}]", "couldn't find key b in Secret default/partial"},
		"from":      {"envFrom: [{secretRef: {name: later}}]", `secret "later" not found`},
	}
	for name, c := range cases {
		n.Apply(name+".yaml", strings.Replace(podtool(name, "Always", "sleep"), "command:", c.field+", command:", 1))
	}
	for name, c := range cases {
		p := n.WaitPod(name, patience, waiting("CreateContainerConfigError", c.want))
		if got := p.Status.ContainerStatuses[0].State.Waiting.Message; got != c.want || p.Status.Phase != v1.PodPending {
			t.Errorf("%s: %s, want the message %q", name, node.Brief(p), c.want)
		}
	}
	n.Apply("later.yaml", object("ConfigMap", "later", "a", "A")+"---\n"+object("Secret", "later", "a", "A"))
	n.Apply("partial.yaml", object("ConfigMap", "partial", "a", "A", "b", "A")+"---\n"+object("Secret", "partial", "a", "A", "b", "A"))
	for name := range cases {
		p := n.WaitPod(name, patience, node.Ready)
		if c := p.Status.ContainerStatuses[0]; c.RestartCount != 0 {
			t.Errorf("%s: %s", name, node.Brief(p))
		}
		if env := environ(t, n, name, "main"); env["X"] != "A" && env["a"] != "A" {
			t.Errorf("%s: environment %v", name, env)
		}
	}
	// A restart needs it again.
	n.Withdraw("later.yaml")
	if err := syscall.Kill(containerPid(t, n, "from", "main"), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	n.WaitPod("from", patience, waiting("CreateContainerConfigError", `secret "later" not found`))
	n.Apply("later.yaml", object("Secret", "later", "a", "B"))
	n.WaitPod("from", patience, node.Ready)
	if env := environ(t, n, "from", "main"); env["a"] != "B" {
		t.Errorf("after the restart: environment %v", env)
	}
	noLeaks(t, n)
}

// Names that a pod has and knows: hostAliases, hostname, subdomain, and what its
// resolver asks.
func TestNamesInContainers(t *testing.T) {
	n := start(t, "dns: {servers: [10.96.0.10], domain: cluster.test}\n")
	pod := func(name, fields string) {
		n.Apply(name+".yaml", strings.Replace(podtool(name, "Always", "sleep"), "spec:\n", "spec:\n  "+fields+"\n", 1))
	}
	pod("plain", "hostAliases: [{ip: 192.0.2.7, hostnames: [one.example, two]}, {ip: \"2001:db8::7\", hostnames: [six]}]")
	pod("named", "hostname: web\n  subdomain: sub\n  dnsConfig: {searches: [more.example], options: [{name: ndots, value: \"2\"}, {name: edns0}]}")
	pod("full", "hostname: web\n  subdomain: sub\n  setHostnameAsFQDN: true\n  dnsPolicy: None\n"+
		"  dnsConfig: {nameservers: [192.0.2.53, \"2001:db8::53\"], searches: [example.org], options: [{name: timeout, value: \"1\"}]}")
	pod("long", "hostname: "+strings.Repeat("h", 40)+"\n  subdomain: "+strings.Repeat("s", 20)+"\n  setHostnameAsFQDN: true")
	for name, want := range map[string]struct{ hostname, hosts, resolv string }{
		"plain": {"plain-n1", "$IP\tplain-n1\n\n# Entries added by HostAliases.\n192.0.2.7\tone.example\ttwo\n2001:db8::7\tsix\n",
			"search default.svc.cluster.test svc.cluster.test cluster.test$SEARCH\nnameserver 10.96.0.10\noptions ndots:5\n"},
		"named": {"web", "$IP\tweb.sub.default.svc.cluster.test\tweb\n",
			"search default.svc.cluster.test svc.cluster.test cluster.test$SEARCH more.example\nnameserver 10.96.0.10\noptions ndots:2 edns0\n"},
		"full": {"web.sub.default.svc.cluster.test", "$IP\tweb.sub.default.svc.cluster.test\tweb\n",
			"search example.org\nnameserver 192.0.2.53\nnameserver 2001:db8::53\noptions timeout:1\n"},
	} {
		p := n.WaitPod(name, patience, node.Ready)
		out := execIn(t, n, name, "main", "/bin/sh", "-c", "hostname; cat /etc/hostname; cat /etc/hosts; echo ===; cat /etc/resolv.conf")
		names, resolv, _ := strings.Cut(out, "===\n")
		if !strings.HasPrefix(names, want.hostname+"\n") {
			t.Errorf("%s: host name and /etc/hostname, want %s:\n%s", name, want.hostname, names)
		}
		last := p.Status.PodIPs[len(p.Status.PodIPs)-1].IP
		if !strings.Contains(names, "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n") || !strings.HasSuffix(names, strings.Replace(want.hosts, "$IP", last, 1)) {
			t.Errorf("%s: /etc/hosts:\n%swant at its end\n%s", name, names, want.hosts)
		}
		if want := strings.Replace(want.resolv, "$SEARCH", hostSearch(t), 1); resolv != want {
			t.Errorf("%s: /etc/resolv.conf:\n%swant\n%s", name, resolv, want)
		}
		if env := environ(t, n, name, "main"); env["HOSTNAME"] != want.hostname {
			t.Errorf("%s: HOSTNAME=%s", name, env["HOSTNAME"])
		}
	}
	n.WaitPod("long", patience, waiting("ContainerCreating", "failed to construct FQDN from pod hostname and cluster domain"))
	noLeaks(t, n)
}

// hostSearch is the search list of this machine, with a space before each domain.
func hostSearch(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		t.Fatal(err)
	}
	list := ""
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && (f[0] == "search" || f[0] == "domain") {
			list = " " + strings.Join(f[1:], " ")
		}
	}
	return list
}

// Termination messages: from the file, from the log, and their limits.
func TestTerminationMessages(t *testing.T) {
	n := start(t, "")
	long := strings.Repeat("0123456789", 500)
	container := func(name, script, fields string) string {
		return fmt.Sprintf("  - {name: %s, image: %q, command: [/bin/sh, -c, %q]%s}\n", name, node.Image, script, fields)
	}
	fallback := ", terminationMessagePolicy: FallbackToLogsOnError"
	head := "apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n  restartPolicy: %s\n  terminationGracePeriodSeconds: 1\n  containers:\n"
	n.Apply("ends.yaml", fmt.Sprintf(head, "ends", "Never")+
		container("file", "printf bye >/dev/termination-log", "")+
		container("path", "printf elsewhere >/run/why; exit 3", ", terminationMessagePath: /run/why")+
		container("none", "echo only in the log; exit 4", "")+
		container("log", "echo first; echo last; exit 5", fallback)+
		container("stderr", "echo oops >&2; exit 8", fallback)+
		container("logok", "echo all is well", fallback)+
		container("both", "echo in the log; printf 'in the file' >/dev/termination-log; exit 6", fallback)+
		container("many", "seq 1 200; exit 7", fallback)+
		container("long", "printf "+long+" >/dev/termination-log", "")+
		strings.Replace(container("start", "", ""), "/bin/sh", "/no/such/program", 1))
	n.Apply("single.yaml", fmt.Sprintf(head, "single", "Never")+container("main", "printf "+long+long+" >/dev/termination-log; exit 1", ""))
	// The message is there while another container still runs.
	n.Apply("singlelog.yaml", fmt.Sprintf(head, "singlelog", "Never")+container("main", "echo "+long+"; exit 1", fallback)+container("other", "exec podtool sleep", ""))
	n.Apply("again.yaml", fmt.Sprintf(head, "again", "Always")+container("main", "if [ -e /keep/again ]; then exec podtool sleep; fi; touch /keep/again; echo the log of the first; exit 9",
		fallback+", volumeMounts: [{name: keep, mountPath: /keep}]")+"  volumes: [{name: keep, emptyDir: {}}]\n")

	var lines strings.Builder
	for i := 121; i <= 200; i++ {
		fmt.Fprintln(&lines, i)
	}
	// What comes from a log is told when all of it is there.
	p := n.WaitPod("ends", patience, func(p *v1.Pod) string {
		if p != nil {
			for _, c := range p.Status.ContainerStatuses {
				if end := c.State.Terminated; (c.Name == "log" || c.Name == "many" || c.Name == "stderr") && (end == nil || end.Message == "") {
					return c.Name + " has no message yet"
				}
			}
		}
		return node.Phase(v1.PodFailed)(p)
	})
	most := 12 * 1024 / len(p.Spec.Containers)
	for _, c := range p.Status.ContainerStatuses {
		want := map[string]v1.ContainerStateTerminated{
			"file":   {Reason: "Completed", Message: "bye"},
			"path":   {Reason: "Error", ExitCode: 3, Message: "elsewhere"},
			"none":   {Reason: "Error", ExitCode: 4},
			"log":    {Reason: "Error", ExitCode: 5, Message: "first\nlast\n"},
			"stderr": {Reason: "Error", ExitCode: 8, Message: "oops\n"},
			"logok":  {Reason: "Completed"},
			"both":   {Reason: "Error", ExitCode: 6, Message: "in the file"},
			"many":   {Reason: "Error", ExitCode: 7, Message: lines.String()},
			"long":   {Reason: "Completed", Message: long[len(long)-4096:][:most]},
			"start":  {Reason: "StartError", ExitCode: 128, Message: "/no/such/program"},
		}[c.Name]
		end := c.State.Terminated
		if c.Name == "start" && end != nil && strings.Contains(end.Message, want.Message) {
			want.Message = end.Message
		}
		if end == nil || end.Reason != want.Reason || end.ExitCode != want.ExitCode || end.Message != want.Message {
			t.Errorf("%s: %+v, want %+v", c.Name, end, want)
		}
	}
	for name, want := range map[string]string{"single": (long + long)[2*len(long)-4096:], "singlelog": long[len(long)-2047:] + "\n"} {
		n.WaitPod(name, patience, func(p *v1.Pod) string {
			if end := terminated(p); end == nil || end.Message != want {
				return fmt.Sprintf("the end is %+v, want a message of %d bytes", end, len(want))
			}
			return ""
		})
	}
	p = n.WaitPod("again", patience, node.Ready)
	c := p.Status.ContainerStatuses[0]
	if end := c.LastTerminationState.Terminated; c.RestartCount != 1 || end == nil || end.ExitCode != 9 || end.Message != "the log of the first\n" {
		t.Errorf("restarted at once: %d restarts, last state %+v", c.RestartCount, end)
	}
	n.Kill()
	n.Start()
	n.Await()
	p = n.WaitPod("again", patience, node.Ready)
	if end := p.Status.ContainerStatuses[0].LastTerminationState.Terminated; end == nil || end.Message != "the log of the first\n" {
		t.Errorf("after davit's end the last state is %+v", end)
	}
	noLeaks(t, n)
}
