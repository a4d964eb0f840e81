package oci

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	v1 "k8s.io/api/core/v1"
)

// maxID is the greatest uid and gid that runc takes.
const maxID = math.MaxInt32

// passwdUser is a line of /etc/passwd.
type passwdUser struct {
	name     string
	uid, gid uint32
}

// user resolves whom the container runs as. As in kubelet and containerd's CRI:
// runAsUser, else the image's USER without its group; the group is runAsGroup,
// else the user's in the image's /etc/passwd, else 0.
func (b *builder) user() (specs.User, error) {
	if err := b.checkNonRoot(); err != nil {
		return specs.User{}, err
	}
	if b.sec.runAsUser == nil {
		name := imageUser(b.image.Config.User)
		if _, err := strconv.ParseUint(name, 10, 64); err != nil && name != "" {
			return b.namedUser(name)
		}
	}
	uid, err := b.uid()
	if err != nil {
		return specs.User{}, err
	}
	u := passwdUser{uid: uid}
	for _, p := range parsePasswd(b.image.Passwd) {
		if p.uid == uid {
			u = p
			break
		}
	}
	return b.withGroups(u)
}

// imageUser is an image's USER without its group.
func imageUser(user string) string {
	name, _, _ := strings.Cut(user, ":")
	return name
}

// uid is the numeric user; an image that names none means root.
func (b *builder) uid() (uint32, error) {
	if p := b.sec.runAsUser; p != nil {
		return b.id("securityContext.runAsUser", *p)
	}
	name := imageUser(b.image.Config.User)
	if name == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(name, 10, 64)
	if err != nil || n < 0 || n > maxID {
		return 0, create(b.field("image"), "set securityContext.runAsUser", "the image's user %q is out of range 0 to %d", name, maxID)
	}
	return uint32(n), nil
}

func (b *builder) id(field string, n int64) (uint32, error) {
	if n < 0 || n > maxID {
		return 0, config(b.field("%s", field), "", "%d is out of range 0 to %d", n, maxID)
	}
	return uint32(n), nil
}

func (b *builder) namedUser(name string) (specs.User, error) {
	for _, p := range parsePasswd(b.image.Passwd) {
		if p.name == name {
			return b.withGroups(p)
		}
	}
	return specs.User{}, create(b.field("image"), "set securityContext.runAsUser",
		"the image's user %q is not in its /etc/passwd", name)
}

// withGroups adds groups to a user: the image's /etc/group has (unless the
// policy is Strict), fsGroup and supplementalGroups. The primary group is among
// them, as the kernel does not add it by itself.
func (b *builder) withGroups(p passwdUser) (specs.User, error) {
	u := specs.User{UID: p.uid, GID: p.gid}
	if g := b.sec.runAsGroup; g != nil {
		gid, err := b.id("securityContext.runAsGroup", *g)
		if err != nil {
			return u, err
		}
		u.GID = gid
	}
	gids := []uint32{u.GID}
	psc := b.pod.Spec.SecurityContext
	if psc == nil {
		psc = &v1.PodSecurityContext{}
	}
	if pol := psc.SupplementalGroupsPolicy; pol == nil || *pol != v1.SupplementalGroupsPolicyStrict {
		gids = append(gids, groupsOf(b.image.Group, p.name)...)
	}
	asked := psc.SupplementalGroups
	if psc.FSGroup != nil {
		asked = append([]int64{*psc.FSGroup}, asked...)
	}
	for _, g := range asked {
		if g < 0 || g > maxID {
			return u, config("spec.securityContext.supplementalGroups", "", "group %d is out of range 0 to %d", g, maxID)
		}
		gids = append(gids, uint32(g))
	}
	slices.Sort(gids)
	u.AdditionalGids = slices.Compact(gids)
	return u, nil
}

// checkNonRoot refuses what runAsNonRoot forbids, in kubelet's words.
func (b *builder) checkNonRoot() error {
	if !b.sec.runAsNonRoot {
		return nil
	}
	name := imageUser(b.image.Config.User)
	uid, err := strconv.ParseUint(name, 10, 64)
	var text string
	switch {
	case b.sec.runAsUser != nil && *b.sec.runAsUser == 0:
		text = "container's runAsUser breaks non-root policy"
	case b.sec.runAsUser != nil:
		return nil
	case name == "" || (err == nil && uid == 0):
		text = "container has runAsNonRoot and image will run as root"
	case err != nil:
		text = "container has runAsNonRoot and image has non-numeric user (" + name + "), cannot verify user is non-root"
	default:
		return nil
	}
	return config("", "set securityContext.runAsUser to the number of another user",
		"%s (pod: %q, container: %s)", text, b.podName(), b.c.Name)
}

// parsePasswd reads /etc/passwd, passing over what makes no sense: images hold
// comments, NIS lines and worse.
func parsePasswd(data []byte) []passwdUser {
	var users []passwdUser
	for f := range fields(data, 4) {
		uid, uerr := strconv.ParseUint(f[2], 10, 31)
		gid, gerr := strconv.ParseUint(f[3], 10, 31)
		if uerr == nil && gerr == nil {
			users = append(users, passwdUser{f[0], uint32(uid), uint32(gid)})
		}
	}
	return users
}

// groupsOf returns the groups in /etc/group that name is a member of, but for
// one of its own name, which is taken for its primary group.
func groupsOf(data []byte, name string) []uint32 {
	if name == "" {
		return nil
	}
	var gids []uint32
	for f := range fields(data, 4) {
		gid, err := strconv.ParseUint(f[2], 10, 31)
		if err != nil || f[0] == name {
			continue
		}
		for member := range strings.SplitSeq(f[3], ",") {
			if strings.TrimSpace(member) == name {
				gids = append(gids, uint32(gid))
				break
			}
		}
	}
	return gids
}

// fields yields the colon-separated fields of each line that has at least n and
// a name.
func fields(data []byte, n int) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		for line := range bytes.Lines(data) {
			f := strings.Split(strings.TrimSpace(string(line)), ":")
			if len(f) < n || f[0] == "" || strings.HasPrefix(f[0], "#") {
				continue
			}
			if !yield(f) {
				return
			}
		}
	}
}

// UserOf returns whom a container of this spec runs as, as its status tells:
// containerStatuses[].user. nil if the spec does not say.
func UserOf(spec *specs.Spec) *v1.ContainerUser {
	if spec == nil || spec.Process == nil {
		return nil
	}
	u := spec.Process.User
	out := &v1.LinuxContainerUser{UID: int64(u.UID), GID: int64(u.GID)}
	for _, g := range u.AdditionalGids {
		out.SupplementalGroups = append(out.SupplementalGroups, int64(g))
	}
	return &v1.ContainerUser{Linux: out}
}
