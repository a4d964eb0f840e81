package cgroups

import (
	_ "embed"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

var (
	//go:embed pods.yaml
	podsYAML []byte
	//go:embed hugepages.yaml
	hugepagesYAML []byte
)

// partOfMemory is a number of bytes in the manifests: $MEMORY/16.
var partOfMemory = regexp.MustCompile(`\$MEMORY/([0-9]+)`)

// onV2 are the pods that are compared on v2 as well. The formulas are the same
// there, the files are not; and on the VM's emulated processor a container takes
// seconds to start, with a small limit of CPU minutes.
var onV2 = []string{
	"guaranteed", "guaranteed-all-kinds", "requests-only", "limits-above-requests", "best-effort", "node-critical", "init-runs",
	"pod-level", "pod-level-guaranteed-alone", "hugepages", "hugepages-guaranteed", "hugepages-pod-level", "hugepages-of-containers",
}

// Pods returns the pods for a node with so much memory, in order of name, those
// with huge pages if the node has some. Their containers are of image, which has
// busybox in /bin.
func Pods(n Node, image string) ([]*v1.Pod, error) {
	texts := [][]byte{podsYAML}
	if n.Hugepages["2MB"] > 0 {
		texts = append(texts, hugepagesYAML)
	}
	specs := map[string]v1.PodSpec{}
	for _, text := range texts {
		text = partOfMemory.ReplaceAllFunc(text, func(m []byte) []byte {
			part, _ := strconv.ParseInt(string(partOfMemory.FindSubmatch(m)[1]), 10, 64)
			return strconv.AppendInt(nil, n.Memory/part, 10)
		})
		if err := yaml.UnmarshalStrict(text, &specs); err != nil {
			return nil, fmt.Errorf("decoding the pods: %w", err)
		}
	}
	var pods []*v1.Pod
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		if n.V2 && !slices.Contains(onV2, name) {
			continue
		}
		spec, grace := specs[name], int64(0)
		// Without a network of its own a pod needs no plugin, and starts sooner.
		spec.HostNetwork, spec.TerminationGracePeriodSeconds = true, &grace
		for _, cs := range [][]v1.Container{spec.InitContainers, spec.Containers} {
			for i := range cs {
				cs[i].Image, cs[i].ImagePullPolicy = image, v1.PullNever
				if cs[i].Command == nil {
					cs[i].Command = []string{"/bin/sleep", "1000000"}
				}
			}
		}
		pods = append(pods, &v1.Pod{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault}, Spec: spec,
		})
	}
	return pods, nil
}

// Waiting tells what of a pod does not run yet that will go on running; "" if
// nothing.
func Waiting(pod *v1.Pod) string {
	for _, name := range steady(pod) {
		if id(pod, name) == "" {
			return fmt.Sprintf("container %s of pod %s does not run: %s %s %s", name, pod.Name, pod.Status.Phase, pod.Status.Reason, pod.Status.Message)
		}
	}
	return ""
}

// steady are the containers that go on running: nothing starts behind an init
// container that sleeps.
func steady(pod *v1.Pod) []string {
	var names []string
	for _, c := range pod.Spec.InitContainers {
		sleeps := slices.Contains(c.Command, "/bin/sleep")
		if sleeps {
			names = append(names, c.Name)
		}
		if sleeps && c.RestartPolicy == nil {
			return names
		}
	}
	for _, c := range pod.Spec.Containers {
		names = append(names, c.Name)
	}
	return names
}
