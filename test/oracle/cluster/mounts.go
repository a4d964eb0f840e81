package cluster

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// sysctls are the kernel's settings that kubelet changes where they are not as
// it wants them. In the cluster's mount namespace they look as if they were.
var sysctls = map[string]string{
	"vm/overcommit_memory":     "1",
	"vm/panic_on_oom":          "0",
	"kernel/panic":             "10",
	"kernel/panic_on_oops":     "1",
	"kernel/keys/root_maxkeys": "1000000",
	// 25 bytes for each of the keys.
	"kernel/keys/root_maxbytes": "25000000",
}

// hold makes the mount namespace: /var/lib and /var/log are empty in it,
// because kubelet writes to /var/lib/kubelet/device-plugins and
// /var/log/containers and the network plugins to /var/lib/cni whatever their
// configuration says. All of it is shared among the cluster's processes and
// with nobody else. The arguments are pairs of a file and the one it covers.
const hold = `set -e
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /var/lib
mount -t tmpfs -o mode=755 tmpfs /var/log
mkdir /var/lib/kubelet
while [ $# -gt 0 ]; do
	mount --bind "$1" "$2"
	shift 2
done
echo ready
exec sleep infinity`

// makeMounts starts a process that holds the cluster's mount namespace, for
// enter.
func (c *Cluster) makeMounts() error {
	args := []string{"--mount", "--propagation", "private", "--", "sh", "-c", hold, "sh"}
	for name, value := range sysctls {
		over := filepath.Join("/proc/sys", name)
		if _, err := os.Stat(over); os.IsNotExist(err) {
			continue
		}
		file := c.path(strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		args = append(args, file, over)
	}
	cmd := c.Bed.Command("unshare", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("making the mount namespace: %w", err)
	}
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		if strings.TrimSpace(line) == "ready" {
			c.held <- cmd.Process.Pid
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		close(c.held)
	}()
	pid, ok := <-c.held
	if !ok {
		return fmt.Errorf("making the mount namespace: %s", cmd.ProcessState)
	}
	c.mounts = filepath.Join("/proc", strconv.Itoa(pid), "ns/mnt")
	return nil
}
