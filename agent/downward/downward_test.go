package downward

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func testPod() *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web", Namespace: "prod", UID: "u-1",
			Labels:      map[string]string{"zone": "a", "app": "x", "example.com/tier": "front"},
			Annotations: map[string]string{"Example.com/Note": "two\nlines \"quoted\" \u00e4\x01", "b": ""},
		},
		Spec: v1.PodSpec{NodeName: "n1", ServiceAccountName: "sa"},
		Status: v1.PodStatus{
			HostIP: "192.0.2.1", HostIPs: []v1.HostIP{{IP: "192.0.2.1"}, {IP: "2001:db8::1"}},
			PodIP: "10.85.0.2", PodIPs: []v1.PodIP{{IP: "10.85.0.2"}, {IP: "fd00::2"}},
		},
	}
}

func TestField(t *testing.T) {
	for path, want := range map[string]string{
		"metadata.name":                            "web",
		"metadata.namespace":                       "prod",
		"metadata.uid":                             "u-1",
		"metadata.labels":                          "app=\"x\"\nexample.com/tier=\"front\"\nzone=\"a\"",
		"metadata.annotations":                     `Example.com/Note="two\nlines \"quoted\" ä\x01"` + "\n" + `b=""`,
		"metadata.labels['zone']":                  "a",
		"metadata.labels['example.com/tier']":      "front",
		"metadata.labels['none']":                  "",
		"metadata.annotations['Example.com/Note']": "two\nlines \"quoted\" \u00e4\x01",
		"metadata.annotations['example.com/note']": "",
		"spec.nodeName":                            "n1",
		"spec.host":                                "n1",
		"spec.serviceAccountName":                  "sa",
		"status.hostIP":                            "192.0.2.1",
		"status.hostIPs":                           "192.0.2.1,2001:db8::1",
		"status.podIP":                             "10.85.0.2",
		"status.podIPs":                            "10.85.0.2,fd00::2",
	} {
		for _, version := range []string{"", "v1"} {
			got, err := Field(testPod(), &v1.ObjectFieldSelector{APIVersion: version, FieldPath: path})
			if err != nil || got != want {
				t.Errorf("%s: %q, %v, want %q", path, got, err, want)
			}
		}
	}
}

func TestFieldOfNothing(t *testing.T) {
	for _, path := range []string{"metadata.labels", "metadata.annotations", "status.podIP", "status.podIPs", "status.hostIPs", "spec.nodeName"} {
		if got, err := Field(&v1.Pod{}, &v1.ObjectFieldSelector{FieldPath: path}); got != "" || err != nil {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

func TestFieldErrors(t *testing.T) {
	for path, want := range map[string]string{
		"":                              "field label not supported: ",
		"metadata.foo":                  "field label not supported: metadata.foo",
		"status.phase":                  "unsupported fieldPath: status.phase",
		"metadata.name['x']":            "field label does not support subscript: metadata.name['x']",
		"metadata.labels['']":           "invalid key subscript in metadata.labels['']: name part must be non-empty",
		"metadata.labels['a b']":        "invalid key subscript in metadata.labels['a b']: name part must consist of",
		"metadata.labels['EXAMPLE/a']":  "invalid key subscript in metadata.labels['EXAMPLE/a']: prefix part a lowercase RFC 1123 subdomain",
		"metadata.annotations['a['b']'": "field label not supported",
		"['x']":                         "field label not supported: ['x']",
		"']":                            "field label not supported: ']",
	} {
		got, err := Field(testPod(), &v1.ObjectFieldSelector{FieldPath: path})
		if err == nil || got != "" || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %q, %v, want %s", path, got, err, want)
		}
	}
	_, err := Field(testPod(), &v1.ObjectFieldSelector{APIVersion: "v2", FieldPath: "metadata.name"})
	if err == nil || err.Error() != "unsupported pod version: v2" {
		t.Errorf("v2: %v", err)
	}
}

func TestSubscript(t *testing.T) {
	for in, want := range map[string][2]string{
		"metadata.annotations['myKey']":  {"metadata.annotations", "myKey"},
		"metadata.annotations['a[b]c']":  {"metadata.annotations", "a[b]c"},
		"metadata.annotations['a['b']']": {"metadata.annotations", "a['b']"},
		"metadata.labels['']":            {"metadata.labels", ""},
	} {
		if path, key, ok := Subscript(in); !ok || path != want[0] || key != want[1] {
			t.Errorf("%s: %q %q %v", in, path, key, ok)
		}
	}
	for _, in := range []string{"metadata.labels", "", "['a']", "metadata.labels['a'", "metadata.labels[a]", "a']"} {
		if path, key, ok := Subscript(in); ok || path != in || key != "" {
			t.Errorf("%s: %q %q %v", in, path, key, ok)
		}
	}
}

func quantities(kv ...string) v1.ResourceList {
	list := v1.ResourceList{}
	for i := 0; i < len(kv); i += 2 {
		list[v1.ResourceName(kv[i])] = resource.MustParse(kv[i+1])
	}
	return list
}

func TestResource(t *testing.T) {
	pod := &v1.Pod{Spec: v1.PodSpec{
		InitContainers: []v1.Container{{Name: "init", Resources: v1.ResourceRequirements{Limits: quantities("memory", "5Mi")}}},
		Containers: []v1.Container{
			{Name: "full", Resources: v1.ResourceRequirements{
				Limits:   quantities("cpu", "1500m", "memory", "100Mi", "ephemeral-storage", "3G", "hugepages-2Mi", "8Mi"),
				Requests: quantities("cpu", "250m", "memory", "1", "ephemeral-storage", "1Gi", "hugepages-2Mi", "8Mi")}},
			{Name: "zero", Resources: v1.ResourceRequirements{Limits: quantities("cpu", "0", "memory", "9223372036854775807")}},
			{Name: "bare"},
		},
		EphemeralContainers: []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug"}}},
	}}
	allocatable := quantities("cpu", "3900m", "memory", "7Gi", "ephemeral-storage", "50Gi", "hugepages-2Mi", "1Gi")
	for _, c := range []struct{ own, named, resource, divisor, want string }{
		{"full", "", "limits.cpu", "", "2"},
		{"debug", "", "limits.cpu", "", "4"},
		{"full", "", "limits.cpu", "1", "2"},
		{"full", "", "limits.cpu", "1m", "1500"},
		{"full", "", "requests.cpu", "", "1"},
		{"full", "", "requests.cpu", "1m", "250"},
		{"full", "", "limits.memory", "", "104857600"},
		{"full", "", "limits.memory", "1Mi", "100"},
		{"full", "", "limits.memory", "1M", "105"},
		{"full", "", "limits.memory", "1Gi", "1"},
		{"full", "", "requests.memory", "1Ei", "1"},
		{"full", "", "limits.ephemeral-storage", "1Mi", "2862"},
		{"full", "", "requests.ephemeral-storage", "1k", "1073742"},
		{"full", "", "limits.hugepages-2Mi", "1Mi", "8"},
		{"full", "", "requests.hugepages-2Mi", "", "8388608"},
		{"full", "", "limits.hugepages-1Gi", "", "0"}, // no default
		{"full", "zero", "limits.cpu", "1m", "3900"},  // a zero limit is none
		{"zero", "", "limits.memory", "", "9223372036854775807"},
		{"zero", "", "limits.memory", "1Ki", "9007199254740992"}, // beyond what a float64 counts
		{"zero", "", "limits.memory", "1m", "9223372036854775807"},
		{"bare", "", "limits.cpu", "", "4"},
		{"bare", "", "limits.memory", "1Mi", "7168"},
		{"bare", "", "limits.ephemeral-storage", "1Gi", "50"},
		{"bare", "", "requests.cpu", "", "0"},
		{"bare", "full", "limits.memory", "1Mi", "100"},
		{"bare", "init", "limits.memory", "1Mi", "5"},
		{"init", "", "limits.cpu", "1m", "3900"},
	} {
		ref := &v1.ResourceFieldSelector{ContainerName: c.named, Resource: c.resource}
		if c.divisor != "" {
			ref.Divisor = resource.MustParse(c.divisor)
		}
		if got, err := Resource(pod, c.own, ref, allocatable); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
	if got, err := Resource(pod, "bare", &v1.ResourceFieldSelector{Resource: "limits.cpu"}, nil); got != "0" || err != nil {
		t.Errorf("without allocatable: %q, %v", got, err)
	}
	for ref, want := range map[v1.ResourceFieldSelector]string{
		{Resource: "limits.pods"}:                        "unsupported container resource : limits.pods",
		{Resource: "cpu"}:                                "unsupported container resource : cpu",
		{Resource: ""}:                                   "unsupported container resource : ",
		{Resource: "claims.cpu"}:                         "unsupported container resource : claims.cpu",
		{ContainerName: "who", Resource: "requests.cpu"}: "container who not found",
	} {
		if got, err := Resource(pod, "full", &ref, allocatable); err == nil || got != "" || err.Error() != want {
			t.Errorf("%+v: %q, %v, want %s", ref, got, err, want)
		}
	}
}

// Resource leaves what it is given as it was: asking for the decimal form of a
// quantity changes how it is kept.
func TestResourceChangesNothing(t *testing.T) {
	list := quantities("cpu", "1500m")
	pod := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{Limits: list}}}}}
	before := pod.DeepCopy()
	ref := &v1.ResourceFieldSelector{Resource: "limits.cpu", Divisor: resource.MustParse("1m")}
	if _, err := Resource(pod, "c", ref, list); err != nil {
		t.Fatal(err)
	}
	a, b := before.Spec.Containers[0].Resources.Limits["cpu"], list["cpu"]
	if a != b || ref.Divisor != resource.MustParse("1m") {
		t.Errorf("%#v is %#v now", a, b)
	}
}

func FuzzField(f *testing.F) {
	for _, s := range []string{"metadata.labels['zone']", "metadata.annotations['a['b']']", "status.podIPs", "']", "a['"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		text, err := Field(testPod(), &v1.ObjectFieldSelector{FieldPath: path})
		if err != nil && text != "" {
			t.Errorf("%q: text %q with error %v", path, text, err)
		}
		if p, key, ok := Subscript(path); ok && p+"['"+key+"']" != path {
			t.Errorf("%q is split into %q and %q", path, p, key)
		}
	})
}
