package source

import (
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/podspec"
)

// refers tells whether a pod names one of these ConfigMaps and Secrets, by ID.
func refers(pod *v1.Pod, ids map[string]bool) bool {
	config := func(name string) bool { return ids[ID(podspec.KindConfigMap, pod.Namespace, name)] }
	secret := func(name string) bool { return ids[ID(podspec.KindSecret, pod.Namespace, name)] }
	for _, s := range pod.Spec.ImagePullSecrets {
		if secret(s.Name) {
			return true
		}
	}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.ConfigMap != nil && config(v.ConfigMap.Name) || v.Secret != nil && secret(v.Secret.SecretName) {
			return true
		}
		if v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(p v1.VolumeProjection) bool {
			return p.ConfigMap != nil && config(p.ConfigMap.Name) || p.Secret != nil && secret(p.Secret.Name)
		}) {
			return true
		}
	}
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if environmentRefers(&list[i], config, secret) {
				return true
			}
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if environmentRefers((*v1.Container)(&pod.Spec.EphemeralContainers[i].EphemeralContainerCommon), config, secret) {
			return true
		}
	}
	return false
}

func environmentRefers(c *v1.Container, config, secret func(string) bool) bool {
	for _, e := range c.EnvFrom {
		if e.ConfigMapRef != nil && config(e.ConfigMapRef.Name) || e.SecretRef != nil && secret(e.SecretRef.Name) {
			return true
		}
	}
	for _, e := range c.Env {
		from := e.ValueFrom
		if from == nil {
			continue
		}
		if from.ConfigMapKeyRef != nil && config(from.ConfigMapKeyRef.Name) || from.SecretKeyRef != nil && secret(from.SecretKeyRef.Name) {
			return true
		}
	}
	return false
}
