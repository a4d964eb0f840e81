package oci

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// label is an SELinux label in its four parts; the level may hold colons.
type label struct{ user, role, typ, level string }

func parseLabel(s string) (l label, ok bool) {
	f := strings.SplitN(s, ":", 4)
	if len(f) < 3 {
		return l, false
	}
	l = label{user: f[0], role: f[1], typ: f[2]}
	if len(f) == 4 {
		l.level = f[3]
	}
	return l, true
}

func (l label) String() string {
	s := l.user + ":" + l.role + ":" + l.typ
	if l.level != "" {
		s += ":" + l.level
	}
	return s
}

// selinux returns the labels of the process and of the files that are mounted for
// it: those that the policy has for containers, with what the pod asks for. A
// container that asks for nothing is not labelled, as with containerd unless
// its enable_selinux is set.
func (b *builder) selinux() (process, files string, err error) {
	o, n := b.sec.selinux, b.in.Node.SELinux
	if o == nil || *o == (v1.SELinuxOptions{}) {
		return "", "", nil
	}
	field := b.field("securityContext.seLinuxOptions")
	if !n.Enabled {
		return "", "", create(field, "leave it out", "cannot enforce SELinux: it is not enabled on this node")
	}
	p, ok1 := parseLabel(n.Process)
	f, ok2 := parseLabel(n.File)
	if !ok1 || !ok2 {
		return "", "", create(field, "install the policy for containers (container-selinux)", "the node's SELinux policy has no labels for containers")
	}
	for _, part := range []struct {
		name, value string
		to          *string
	}{{"user", o.User, &p.user}, {"role", o.Role, &p.role}, {"type", o.Type, &p.typ}, {"level", o.Level, &p.level}} {
		if part.value == "" {
			continue
		}
		if strings.ContainsAny(part.value, " \t\n\x00") || part.name != "level" && strings.Contains(part.value, ":") {
			return "", "", config(field+"."+part.name, "", "%q is not part of an SELinux label", part.value)
		}
		*part.to = part.value
	}
	if o.Level == "" && p.level != "" {
		p.level = categories(string(b.pod.UID))
	}
	if p.level != "" {
		f.level = p.level // what the pod's containers write, they can all read
	}
	return p.String(), f.String(), nil
}

// categories returns a level that the pods of a node hardly ever share: two of
// the 1024 categories of the targeted policy, chosen by the pod's UID.
func categories(uid string) string {
	sum := sha256.Sum256([]byte(uid))
	x := uint32(binary.BigEndian.Uint16(sum[0:])) % 1024
	y := uint32(binary.BigEndian.Uint16(sum[2:])) % 1023
	if y >= x {
		y++
	}
	return fmt.Sprintf("s0:c%d,c%d", min(x, y), max(x, y))
}
