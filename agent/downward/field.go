package downward

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Field returns the text of a pod's field, such as metadata.name or
// metadata.labels['app']. A label or annotation that the pod does not have, and
// an address that is not known, is "".
func Field(pod *v1.Pod, ref *v1.ObjectFieldSelector) (string, error) {
	if ref.APIVersion != "" && ref.APIVersion != "v1" {
		return "", fmt.Errorf("unsupported pod version: %s", ref.APIVersion)
	}
	if path, key, ok := Subscript(ref.FieldPath); ok {
		return subscripted(pod, path, key, ref.FieldPath)
	}
	switch ref.FieldPath {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "metadata.labels":
		return formatMap(pod.Labels), nil
	case "metadata.annotations":
		return formatMap(pod.Annotations), nil
	case "spec.nodeName", "spec.host":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return pod.Status.HostIP, nil
	case "status.hostIPs":
		return join(pod.Status.HostIPs, func(ip v1.HostIP) string { return ip.IP }), nil
	case "status.podIP":
		return pod.Status.PodIP, nil
	case "status.podIPs":
		return join(pod.Status.PodIPs, func(ip v1.PodIP) string { return ip.IP }), nil
	case "spec.restartPolicy", "spec.schedulerName", "status.phase": // selectors know them, the downward API does not
		return "", fmt.Errorf("unsupported fieldPath: %s", ref.FieldPath)
	}
	return "", fmt.Errorf("field label not supported: %s", ref.FieldPath)
}

// Subscript splits a['b'] into a and b. ok is false for a path without a
// subscript.
func Subscript(fieldPath string) (path, key string, ok bool) {
	rest, ok := strings.CutSuffix(fieldPath, "']")
	if !ok {
		return fieldPath, "", false
	}
	path, key, ok = strings.Cut(rest, "['")
	if !ok || path == "" {
		return fieldPath, "", false
	}
	return path, key, true
}

func subscripted(pod *v1.Pod, path, key, fieldPath string) (string, error) {
	var from map[string]string
	name := key
	switch path {
	case "metadata.labels":
		from = pod.Labels
	case "metadata.annotations":
		from, name = pod.Annotations, strings.ToLower(key) // annotations may have capitals before the slash
	default:
		return "", fmt.Errorf("field label does not support subscript: %s", fieldPath)
	}
	if errs := validation.IsQualifiedName(name); len(errs) > 0 {
		return "", fmt.Errorf("invalid key subscript in %s: %s", fieldPath, strings.Join(errs, ";"))
	}
	return from[key], nil
}

// formatMap writes one key="value" a line, by key; the value is escaped as in
// Go, and the last line has no newline.
func formatMap(m map[string]string) string {
	lines := make([]string, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, fmt.Sprintf("%s=%q", key, m[key]))
	}
	return strings.Join(lines, "\n")
}

func join[T any](list []T, text func(T) string) string {
	out := make([]string, len(list))
	for i, item := range list {
		out[i] = text(item)
	}
	return strings.Join(out, ",")
}
