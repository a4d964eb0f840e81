package pod

import (
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/podspec/check"
)

// Default fills in what the Kubernetes API fills in when a pod is stored, for
// the fields that davit supports. It changes nothing that is set, so it may be
// applied again.
func Default(pod *v1.Pod) {
	spec := &pod.Spec
	check.Set(&spec.RestartPolicy, v1.RestartPolicyAlways)
	check.Set(&spec.DNSPolicy, v1.DNSClusterFirst)
	check.Set(&spec.SchedulerName, v1.DefaultSchedulerName)
	check.SetPtr(&spec.TerminationGracePeriodSeconds, int64(v1.DefaultTerminationGracePeriodSeconds))
	check.SetPtr(&spec.EnableServiceLinks, v1.DefaultEnableServiceLinks)
	check.SetPtr(&spec.SecurityContext, v1.PodSecurityContext{})
	for i := range spec.Volumes {
		defaultVolume(&spec.Volumes[i])
	}
	for _, list := range [][]v1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			defaultContainer(&list[i])
			defaultRequests(&list[i].Resources)
			if spec.HostNetwork {
				defaultHostPorts(list[i].Ports)
			}
		}
	}
	for i := range spec.EphemeralContainers {
		defaultContainer((*v1.Container)(&spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
	defaultPodResources(spec)
	roundResources(spec)
}

func defaultVolume(v *v1.Volume) {
	if v.VolumeSource == (v1.VolumeSource{}) {
		v.EmptyDir = &v1.EmptyDirVolumeSource{}
	}
	if v.HostPath != nil {
		check.SetPtr(&v.HostPath.Type, v1.HostPathUnset)
	}
	if s := v.Secret; s != nil {
		check.SetPtr(&s.DefaultMode, v1.SecretVolumeSourceDefaultMode)
	}
	if s := v.ConfigMap; s != nil {
		check.SetPtr(&s.DefaultMode, v1.ConfigMapVolumeSourceDefaultMode)
	}
	if s := v.DownwardAPI; s != nil {
		check.SetPtr(&s.DefaultMode, v1.DownwardAPIVolumeSourceDefaultMode)
		defaultFieldRefs(s.Items)
	}
	if s := v.Projected; s != nil {
		check.SetPtr(&s.DefaultMode, v1.ProjectedVolumeSourceDefaultMode)
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
			check.Set(&ref.APIVersion, "v1")
		}
	}
}

func defaultContainer(c *v1.Container) {
	check.Set(&c.TerminationMessagePath, v1.TerminationMessagePathDefault)
	check.Set(&c.TerminationMessagePolicy, v1.TerminationMessageReadFile)
	if c.ImagePullPolicy == "" {
		c.ImagePullPolicy = v1.PullIfNotPresent
		if latest(c.Image) {
			c.ImagePullPolicy = v1.PullAlways
		}
	}
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil && from.FieldRef != nil {
			check.Set(&from.FieldRef.APIVersion, "v1")
		}
	}
	for i := range c.Ports {
		check.Set(&c.Ports[i].Protocol, v1.ProtocolTCP)
	}
	for _, p := range []*v1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if p != nil {
			defaultProbe(p)
		}
	}
	if c.Lifecycle == nil {
		return
	}
	for _, h := range []*v1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
		if h != nil {
			defaultHTTPGet(h.HTTPGet)
		}
	}
}

func defaultProbe(p *v1.Probe) {
	check.Set(&p.TimeoutSeconds, 1)
	check.Set(&p.PeriodSeconds, 10)
	check.Set(&p.SuccessThreshold, 1)
	check.Set(&p.FailureThreshold, 3)
	defaultHTTPGet(p.HTTPGet)
	if p.GRPC != nil {
		check.SetPtr(&p.GRPC.Service, "")
	}
}

func defaultHTTPGet(h *v1.HTTPGetAction) {
	if h != nil {
		check.Set(&h.Path, "/")
		check.Set(&h.Scheme, v1.URISchemeHTTP)
	}
}

func defaultHostPorts(ports []v1.ContainerPort) {
	for i := range ports {
		check.Set(&ports[i].HostPort, ports[i].ContainerPort)
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
