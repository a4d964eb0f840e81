package podspec

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

// Default fills in what the Kubernetes API fills in when a pod is stored, for
// the fields that davit supports. It changes nothing that is set, so it may be
// applied again.
func Default(pod *v1.Pod) {
	spec := &pod.Spec
	set(&spec.RestartPolicy, v1.RestartPolicyAlways)
	set(&spec.DNSPolicy, v1.DNSClusterFirst)
	set(&spec.SchedulerName, v1.DefaultSchedulerName)
	setPtr(&spec.TerminationGracePeriodSeconds, int64(v1.DefaultTerminationGracePeriodSeconds))
	setPtr(&spec.EnableServiceLinks, v1.DefaultEnableServiceLinks)
	setPtr(&spec.SecurityContext, v1.PodSecurityContext{})
	for i := range spec.Volumes {
		defaultVolume(&spec.Volumes[i])
	}
	for _, list := range [][]v1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			defaultContainer(&list[i], spec.HostNetwork)
		}
	}
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func setPtr[T any](field **T, value T) {
	if *field == nil {
		*field = ptr.To(value)
	}
}

func defaultVolume(v *v1.Volume) {
	if v.VolumeSource == (v1.VolumeSource{}) {
		v.EmptyDir = &v1.EmptyDirVolumeSource{}
	}
	if v.HostPath != nil {
		setPtr(&v.HostPath.Type, v1.HostPathUnset)
	}
	if s := v.Secret; s != nil {
		setPtr(&s.DefaultMode, v1.SecretVolumeSourceDefaultMode)
	}
	if s := v.ConfigMap; s != nil {
		setPtr(&s.DefaultMode, v1.ConfigMapVolumeSourceDefaultMode)
	}
	if s := v.DownwardAPI; s != nil {
		setPtr(&s.DefaultMode, v1.DownwardAPIVolumeSourceDefaultMode)
		defaultFieldRefs(s.Items)
	}
	if s := v.Projected; s != nil {
		setPtr(&s.DefaultMode, v1.ProjectedVolumeSourceDefaultMode)
		for i := range s.Sources {
			if d := s.Sources[i].DownwardAPI; d != nil {
				defaultFieldRefs(d.Items)
			}
		}
	}
}

func defaultFieldRefs(files []v1.DownwardAPIVolumeFile) {
	for i := range files {
		if ref := files[i].FieldRef; ref != nil {
			set(&ref.APIVersion, "v1")
		}
	}
}

func defaultContainer(c *v1.Container, hostNetwork bool) {
	set(&c.TerminationMessagePath, v1.TerminationMessagePathDefault)
	set(&c.TerminationMessagePolicy, v1.TerminationMessageReadFile)
	if c.ImagePullPolicy == "" {
		c.ImagePullPolicy = v1.PullIfNotPresent
		if latest(c.Image) {
			c.ImagePullPolicy = v1.PullAlways
		}
	}
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil && from.FieldRef != nil {
			set(&from.FieldRef.APIVersion, "v1")
		}
	}
	for i := range c.Ports {
		set(&c.Ports[i].Protocol, v1.ProtocolTCP)
		if hostNetwork {
			set(&c.Ports[i].HostPort, c.Ports[i].ContainerPort)
		}
	}
	roundUp(c.Resources.Limits)
	roundUp(c.Resources.Requests)
	for name, limit := range c.Resources.Limits {
		if _, ok := c.Resources.Requests[name]; ok {
			continue
		}
		if c.Resources.Requests == nil {
			c.Resources.Requests = v1.ResourceList{}
		}
		c.Resources.Requests[name] = limit.DeepCopy()
	}
}

// roundUp rounds to thousandths, the finest that the API stores.
func roundUp(list v1.ResourceList) {
	for name, q := range list {
		q.RoundUp(resource.Milli)
		list[name] = q
	}
}

// latest tells whether an image is named by the tag latest, also by not naming
// any tag or digest.
func latest(image string) bool {
	name, _, digest := strings.Cut(image, "@")
	base := name[strings.LastIndex(name, "/")+1:]
	if _, tag, ok := strings.Cut(base, ":"); ok {
		return tag == "latest"
	}
	return !digest && image != ""
}
