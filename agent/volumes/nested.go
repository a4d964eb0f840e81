package volumes

import (
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/volumes/payload"
)

// mountpoints returns the paths inside of a volume at which containers mount
// others. They have to be made beforehand, because the volume is mounted read-only.
func mountpoints(pod *v1.Pod, volume string) []string {
	found := map[string]bool{}
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for _, p := range nested(list[i].VolumeMounts, volume) {
				found[p] = true
			}
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		for _, p := range nested(pod.Spec.EphemeralContainers[i].VolumeMounts, volume) {
			found[p] = true
		}
	}
	out := make([]string, 0, len(found))
	for p := range found {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// nested returns those of one container: only what lies directly in the
// volume, not in another that is mounted in it.
func nested(mounts []v1.VolumeMount, volume string) []string {
	var out []string
	for i := range mounts {
		at := path.Join("/", mounts[i].MountPath)
		over := -1 // of the volume that it lies in, the one nearest
		depth := 0
		for j := range mounts {
			other := path.Join("/", mounts[j].MountPath)
			if j != i && other != at && strings.HasPrefix(at, strings.TrimSuffix(other, "/")+"/") && len(other) > depth {
				over, depth = j, len(other)
			}
		}
		if over < 0 || mounts[over].Name != volume || mounts[over].SubPath != "" || mounts[over].SubPathExpr != "" {
			continue
		}
		in := at[depth+1:]
		if depth == 1 { // the volume is mounted at /, and the slash is all of it
			in = at[1:]
		}
		if payload.CheckPath(in) == nil {
			out = append(out, in)
		}
	}
	return out
}
