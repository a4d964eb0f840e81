package ns

import "testing"

func TestSysctlKind(t *testing.T) {
	for name, want := range map[string]Kind{
		"net.ipv4.ip_forward": Net, "net/ipv4/conf/eth0.7/forwarding": Net, "net.ipv4.conf.eth0/7.forwarding": Net,
		"kernel.shmmax": IPC, "kernel.msgmnb": IPC, "kernel.sem": IPC, "fs.mqueue.queues_max": IPC,
		"kernel.domainname": UTS, "kernel.pid_max": "", "fs.file-max": "", "net..ipv4": "", "": "", "/net/x": "", "net/./x": "",
	} {
		if got, err := SysctlKind(name); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"net.ipv4.conf.eth0/7.forwarding": "net/ipv4/conf/eth0.7/forwarding",
		"net/ipv4/conf/eth0.7/forwarding": "net/ipv4/conf/eth0.7/forwarding",
	} {
		if got, err := sysctlPath(name); got != want || err != nil {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
}
