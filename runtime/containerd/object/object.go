// Package object writes and reads what davit keeps in containerd's container
// objects: labels and spec. It is part of the format that davit leaves running.
package object

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	"github.com/containerd/containerd/v2/core/containers"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/davit-agent/davit/runtime"
)

// Label keys of this package's own, beside those of runtime/labels.go.
const (
	LabelDaemon  = "davit.io/daemon" // identity of the daemon that made the object
	LabelImageID = "davit.io/image-id"
	LabelIO      = "davit.io/io" // Streams, as JSON
)

// AnnotationGroup has the runc shim share itself between containers.
const AnnotationGroup = "io.containerd.runc.v2.group"

// Streams is what LabelIO holds: what Start needs to know of a container's
// input and output when another process called Create.
type Streams struct {
	Log      runtime.LogStream `json:"log,omitzero"`
	Stdin    bool              `json:"stdin,omitempty"`
	Terminal bool              `json:"terminal,omitempty"`
}

// Labels makes the labels of a container's object.
func Labels(cfg *runtime.ContainerConfig, group, daemon string) (map[string]string, error) {
	io, err := json.Marshal(Streams{Log: cfg.Log, Stdin: cfg.Stdin, Terminal: cfg.Terminal})
	if err != nil {
		return nil, fmt.Errorf("encoding streams: %w", err)
	}
	labels := map[string]string{
		runtime.LabelPodUID:        cfg.Pod.UID,
		runtime.LabelPodName:       cfg.Pod.Name,
		runtime.LabelPodNamespace:  cfg.Pod.Namespace,
		runtime.LabelContainerName: cfg.Name, // containerd drops empty ones, which read as "" too
		runtime.LabelAttempt:       strconv.FormatUint(uint64(cfg.Attempt), 10),
		runtime.LabelGroup:         group,
		runtime.LabelFormat:        runtime.FormatVersion,
		LabelDaemon:                daemon,
		LabelIO:                    string(io),
	}
	if cfg.Image != nil {
		labels[LabelImageID] = cfg.Image.Identity()
	}
	return labels, nil
}

// Ref reads who a container is from its labels; false: it is not davit's.
func Ref(o *containers.Container) (runtime.ContainerRef, bool) {
	if o.Labels[runtime.LabelFormat] == "" {
		return runtime.ContainerRef{}, false
	}
	attempt, err := strconv.ParseUint(o.Labels[runtime.LabelAttempt], 10, 32)
	if err != nil {
		return runtime.ContainerRef{}, false
	}
	return runtime.ContainerRef{
		Pod: runtime.PodRef{
			UID:       o.Labels[runtime.LabelPodUID],
			Namespace: o.Labels[runtime.LabelPodNamespace],
			Name:      o.Labels[runtime.LabelPodName],
		},
		Name:    o.Labels[runtime.LabelContainerName],
		Attempt: uint32(attempt),
		ID:      o.ID,
	}, true
}

// StreamsOf reads what Labels wrote of the streams.
func StreamsOf(o *containers.Container) (Streams, error) {
	var s Streams
	if err := json.Unmarshal([]byte(o.Labels[LabelIO]), &s); err != nil {
		return s, fmt.Errorf("reading label %s of container %s: %w", LabelIO, o.ID, err)
	}
	return s, nil
}

// Spec reads the OCI spec of an object.
func Spec(o *containers.Container) (*specs.Spec, error) {
	if o.Spec == nil {
		return nil, fmt.Errorf("container %s has no spec", o.ID)
	}
	var s specs.Spec
	if err := json.Unmarshal(o.Spec.GetValue(), &s); err != nil {
		return nil, fmt.Errorf("reading spec of container %s: %w", o.ID, err)
	}
	return &s, nil
}

// CgroupOf returns the cgroup of a spec, "" if it has none.
func CgroupOf(s *specs.Spec) string {
	if s == nil || s.Linux == nil {
		return ""
	}
	return s.Linux.CgroupsPath
}

// WithGroup returns a copy of a spec that belongs to a shim group.
func WithGroup(s *specs.Spec, group string) *specs.Spec {
	spec := *s
	spec.Annotations = maps.Clone(s.Annotations)
	if spec.Annotations == nil {
		spec.Annotations = map[string]string{}
	}
	spec.Annotations[AnnotationGroup] = group
	return &spec
}
