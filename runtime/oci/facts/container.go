package facts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/oci"
)

// maxProfile is how long a seccomp profile may be, in bytes; those of whole
// distributions have 100 KiB.
const maxProfile = 1 << 20

// ForContainer returns the node with what a container's spec depends on beyond
// that: the host's devices if the container is privileged, its seccomp profile if
// it is of type Localhost, and the AppArmor profiles that are loaded. An error
// about the profile is an *oci.Error of the kind oci.ErrCreate, in containerd's
// words.
func ForContainer(node oci.Node, pod *v1.Pod, c *v1.Container) (oci.Node, error) {
	return forContainer("/", node, pod, c)
}

func forContainer(root string, node oci.Node, pod *v1.Pod, c *v1.Container) (oci.Node, error) {
	var err error
	if oci.Privileged(c) {
		if node.Devices, err = Devices(); err != nil {
			return node, err
		}
	}
	if node.AppArmor.Enabled {
		if node.AppArmor.Loaded, err = appArmorProfiles(root); err != nil {
			return node, fmt.Errorf("reading which AppArmor profiles are loaded: %w", err)
		}
	}
	if name := oci.LocalhostProfile(pod, c); name != "" {
		node.SeccompLocalhost.Profile, err = seccompProfile(node.SeccompLocalhost.Root, name)
	}
	return node, err
}

// seccompProfile reads a profile below a directory.
func seccompProfile(dir, name string) ([]byte, error) {
	path := filepath.Join(dir, name)
	data, err := readBelow(dir, name)
	if err == nil {
		return data, nil
	}
	var at *fs.PathError
	if errors.As(err, &at) { // of a step of the way; the whole is what the administrator looks for
		err = &fs.PathError{Op: "open", Path: path, Err: at.Err}
	}
	return nil, &oci.Error{Kind: oci.ErrCreate, Text: fmt.Sprintf("cannot load seccomp profile %q: %v", path, err),
		Remedy: "put it below " + dir + " on the node, or change localhostProfile"}
}

// readBelow reads a plain file below a directory, from which no link leads out.
func readBelow(dir, name string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not keep the pod waiting
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a plain file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxProfile+1))
	if err == nil && len(data) > maxProfile {
		err = fmt.Errorf("it has more than %d bytes", maxProfile)
	}
	return data, err
}

// appArmorProfiles returns the names of the profiles that the kernel has: lines
// of "name (mode)".
func appArmorProfiles(root string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(root, "sys/kernel/security/apparmor/profiles"))
	if errors.Is(err, fs.ErrNotExist) { // securityfs is not mounted: nothing is to be had
		return nil, nil
	}
	var names []string
	for line := range strings.Lines(string(data)) {
		if i := strings.LastIndex(line, " ("); i > 0 {
			names = append(names, line[:i])
		}
	}
	return names, err
}

// selinux tells whether the kernel has SELinux with a policy, and the labels that
// this has for containers (selinux_lxc_contexts_path(3)).
func selinux(root string) oci.SELinux {
	if !exists(root, "sys/fs/selinux/enforce") {
		return oci.SELinux{}
	}
	s := oci.SELinux{Enabled: true}
	policy := settings(filepath.Join(root, "etc/selinux/config"))["SELINUXTYPE"]
	if policy == "" || filepath.Base(policy) != policy {
		return s
	}
	labels := settings(filepath.Join(root, "etc/selinux", policy, "contexts/lxc_contexts"))
	s.Process, s.File = labels["process"], labels["file"]
	return s
}

// settings reads a file of name = value lines, values perhaps in quotes.
func settings(file string) map[string]string {
	out := map[string]string{}
	data, err := os.ReadFile(file)
	if err != nil {
		return out
	}
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); ok && !strings.HasPrefix(name, "#") {
			out[name] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return out
}
