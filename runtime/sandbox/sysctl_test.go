package sandbox

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestAllowSysctls(t *testing.T) {
	for pattern, want := range map[string]string{
		"kernel.msg*": "", "kernel/msg*": "", "kernel.shm*": "", "kernel.sem": "", "kernel/sem": "", "net.*": "", "net.core.*": "",
		"net.core.somaxconn": "", "fs.mqueue.*": "", "fs.mqueue.msg_max": "", "kernel.msgmax": "", "net/ipv4/conf/eth0.7/rp_filter": "",
		" kernel.msg*":           "match regex",
		"kernel.msg* ":           "match regex",
		"net.-":                  "match regex",
		"net.*.foo":              "match regex",
		"net.*/foo":              "match regex",
		"":                       "match regex",
		"net..core":              "match regex",
		"NET.core":               "match regex",
		strings.Repeat("a", 254): "must have at most 253 characters",
		"foo":                    `the sysctls "foo" are not known to be namespaced`,
		"foo*":                   `the sysctls "foo" are not known to be namespaced`,
		"*":                      `the sysctls "" are not known to be namespaced`,
		"net":                    `the sysctls "net" are not known to be namespaced`,
		"kernel.*":               `the sysctls "kernel." are not known to be namespaced`,
		"vm.swappiness":          `the sysctls "vm.swappiness" are not known to be namespaced`,
		"kernel.hostname":        `the sysctls "kernel.hostname" are not known to be namespaced`,
		"kernel.shmfoo":          `the sysctls "kernel.shmfoo" are not known to be namespaced`,
		"fs.mqueue":              `the sysctls "fs.mqueue" are not known to be namespaced`,
	} {
		_, err := AllowSysctls([]string{"net.core.somaxconn", pattern})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", pattern, err, want)
		}
	}
}

func TestAdmitSysctls(t *testing.T) {
	list, err := AllowSysctls([]string{"kernel.msg*", "kernel/sem", "net.b.*", "net/x/eth0.7/y"})
	if err != nil {
		t.Fatal(err)
	}
	safe, err := AllowSysctls(nil)
	if err != nil {
		t.Fatal(err)
	}
	type names = []string
	for _, c := range []struct {
		list         *Sysctls
		names        names
		hostNetwork  bool
		hostIPC      bool
		wantIfForbid string
	}{
		{safe, nil, true, true, ""},
		{safe, SafeSysctls, false, false, ""},
		{safe, names{"kernel/shm_rmid_forced", "net/ipv4/tcp_rmem"}, false, false, ""},
		{safe, names{"kernel.shm_rmid_forced"}, true, false, ""},
		{safe, names{"kernel.shm_rmid_forced"}, false, true, `"kernel.shm_rmid_forced" not allowed with host IPC enabled`},
		{safe, names{"net/ipv4/tcp_rmem"}, true, false, `"net.ipv4.tcp_rmem" not allowed with host Net enabled`},
		{safe, names{"net.ipv4.tcp_rmem", "kernel.msgmax"}, false, false, `"kernel.msgmax" not allowlisted`},
		{safe, names{"net.ipv4.ip_local_port_range.a.b.c"}, false, false, `"net.ipv4.ip_local_port_range.a.b.c" not allowlisted`},
		{safe, names{"foo"}, false, false, `"foo" not allowlisted`},
		{safe, names{"kernel.hostname"}, false, false, `"kernel.hostname" not allowlisted`},
		{safe, names{"net.*"}, false, false, `"net.*" not allowlisted`},
		{list, names{"kernel.msgmax", "kernel.sem", "kernel/msg_next_id", "net.b.c", "net.x.eth0/7.y"}, false, false, ""},
		{list, names{"kernel.msgmax"}, false, true, `"kernel.msgmax" not allowed with host IPC enabled`},
		{list, names{"kernel.msg_next_id"}, false, true, `"kernel.msg_next_id" not allowed with host IPC enabled`},
		{list, names{"kernel/sem"}, false, true, `"kernel.sem" not allowed with host IPC enabled`},
		{list, names{"net.b.c"}, true, false, `"net.b.c" not allowed with host Net enabled`},
		{list, names{"net.c"}, false, false, `"net.c" not allowlisted`},
	} {
		pod := &v1.Pod{}
		pod.Spec.HostNetwork, pod.Spec.HostIPC = c.hostNetwork, c.hostIPC
		pod.Spec.SecurityContext = &v1.PodSecurityContext{}
		for _, n := range c.names {
			pod.Spec.SecurityContext.Sysctls = append(pod.Spec.SecurityContext.Sysctls, v1.Sysctl{Name: n, Value: "1"})
		}
		wantReason, want := "", ""
		if c.wantIfForbid != "" {
			wantReason, want = "SysctlForbidden", "forbidden sysctl: "+c.wantIfForbid
		}
		if reason, message := c.list.Admit(pod); reason != wantReason || message != want {
			t.Errorf("%v: %q %q, want %q", c.names, reason, message, want)
		}
	}
	if reason, _ := safe.Admit(&v1.Pod{}); reason != "" {
		t.Errorf("a pod without a security context: %s", reason)
	}
}

// A pod gets the sysctls that containerd gives to it for a real kubelet.
func TestSysctlsAsRecorded(t *testing.T) {
	const goldens = "../../test/oracle/specs/goldens/"
	for _, name := range []string{"sysctls", "plain", "host-network"} {
		data, err := os.ReadFile(goldens + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var golden struct {
			Pod     *v1.Pod           `json:"pod"`
			Sysctls map[string]string `json:"sysctls"`
		}
		if err := json.Unmarshal(data, &golden); err != nil {
			t.Fatal(err)
		}
		cfg := config("a")
		cfg.HostNetwork, cfg.HostIPC, cfg.Sysctls = golden.Pod.Spec.HostNetwork, golden.Pod.Spec.HostIPC, map[string]string{}
		for _, s := range golden.Pod.Spec.SecurityContext.Sysctls {
			cfg.Sysctls[s.Name] = s.Value
		}
		got := map[string]string{}
		for name, value := range (&Sandboxes{}).options(cfg).Sysctls {
			got[dotted(name)] = value
		}
		if !maps.Equal(got, golden.Sysctls) {
			t.Errorf("%s: %v, containerd sets %v", name, got, golden.Sysctls)
		}
	}
}

// What is allowed can be set: the namespaces' own list of sysctls knows all of it.
func TestSafeSysctlsBelongToNamespaces(t *testing.T) {
	s := sandboxes(t, t.TempDir(), unasked{})
	cfg := config("safe")
	cfg.Sysctls = map[string]string{
		"kernel.shm_rmid_forced": "1", "net.ipv4.ip_local_port_range": "40000 50000", "net.ipv4.ip_local_reserved_ports": "40001",
		"net.ipv4.ip_unprivileged_port_start": "443", "net.ipv4.ping_group_range": "1 2", "net.ipv4.tcp_fin_timeout": "10",
		"net.ipv4.tcp_keepalive_intvl": "11", "net.ipv4.tcp_keepalive_probes": "12", "net.ipv4.tcp_keepalive_time": "13",
		"net.ipv4.tcp_rmem": "4096 131072 1048576", "net.ipv4.tcp_syncookies": "0", "net.ipv4.tcp_wmem": "4096 16384 1048576",
		"kernel.msgmax": "9000", "kernel.sem": "100 200 30 40", "fs.mqueue.msg_max": "7", "net.core.somaxconn": "77",
	}
	for _, name := range SafeSysctls {
		if cfg.Sysctls[name] == "" {
			t.Errorf("no value for %s", name)
		}
	}
	sb := ensure(t, s, cfg)
	for name, want := range cfg.Sysctls {
		path := sb.NetNS
		if sysctlKind(name) == kindIPC {
			path = sb.IPCNS
		}
		if got := strings.Join(strings.Fields(sysctl(t, path, strings.ReplaceAll(name, ".", "/"))), " "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
