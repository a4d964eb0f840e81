package printer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// ServiceHeader is the header of ServiceRow.
func ServiceHeader(wide bool) []string {
	h := []string{"NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"}
	if wide {
		h = append(h, "SELECTOR")
	}
	return h
}

// ServiceRow is the row of a Service.
func ServiceRow(s *v1.Service, wide bool, now time.Time) []string {
	typ := s.Spec.Type
	if typ == "" {
		typ = v1.ServiceTypeClusterIP
	}
	row := []string{s.Name, string(typ), orNone(clusterIP(s)), orNone(externalIP(s)), orNone(ports(s)), age(s.CreationTimestamp, now)}
	if wide {
		row = append(row, orNone(labels.FormatLabels(s.Spec.Selector)))
	}
	return row
}

func clusterIP(s *v1.Service) string {
	switch {
	case s.Spec.Type == v1.ServiceTypeExternalName:
		return ""
	case len(s.Spec.ClusterIPs) > 0:
		return s.Spec.ClusterIPs[0]
	}
	return s.Spec.ClusterIP
}

func externalIP(s *v1.Service) string {
	if s.Spec.Type == v1.ServiceTypeExternalName {
		return s.Spec.ExternalName
	}
	out := slices.Clone(s.Spec.ExternalIPs)
	for _, in := range s.Status.LoadBalancer.Ingress {
		out = append(out, in.IP+in.Hostname)
	}
	if len(out) == 0 && s.Spec.Type == v1.ServiceTypeLoadBalancer {
		return "<pending>"
	}
	return strings.Join(out, ",")
}

func ports(s *v1.Service) string {
	var out []string
	for _, p := range s.Spec.Ports {
		text := strconv.Itoa(int(p.Port))
		if p.NodePort > 0 {
			text += ":" + strconv.Itoa(int(p.NodePort))
		}
		proto := p.Protocol
		if proto == "" {
			proto = v1.ProtocolTCP
		}
		out = append(out, text+"/"+string(proto))
	}
	return strings.Join(out, ",")
}

// NodeHeader is the header of NodeRow.
func NodeHeader(wide bool) []string {
	h := []string{"NAME", "STATUS", "ROLES", "AGE", "VERSION"}
	if wide {
		h = append(h, "INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME")
	}
	return h
}

// NodeRow is the row of a Node.
func NodeRow(n *v1.Node, wide bool, now time.Time) []string {
	status := "Unknown"
	for _, c := range n.Status.Conditions {
		if c.Type == v1.NodeReady {
			status = map[v1.ConditionStatus]string{v1.ConditionTrue: "Ready", v1.ConditionFalse: "NotReady"}[c.Status]
			if status == "" {
				status = "Unknown"
			}
		}
	}
	if n.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	info := n.Status.NodeInfo
	row := []string{n.Name, status, orNone(roles(n)), age(n.CreationTimestamp, now), info.KubeletVersion}
	if wide {
		row = append(row, orNone(nodeIP(n, v1.NodeInternalIP)), orNone(nodeIP(n, v1.NodeExternalIP)),
			orUnknown(info.OSImage), orUnknown(info.KernelVersion), orUnknown(info.ContainerRuntimeVersion))
	}
	return row
}

func roles(n *v1.Node) string {
	var out []string
	for key := range n.Labels {
		if role, ok := strings.CutPrefix(key, "node-role.kubernetes.io/"); ok && role != "" {
			out = append(out, role)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

func nodeIP(n *v1.Node, typ v1.NodeAddressType) string {
	for _, a := range n.Status.Addresses {
		if a.Type == typ {
			return a.Address
		}
	}
	return ""
}

func orUnknown(text string) string {
	if text == "" {
		return "<unknown>"
	}
	return text
}

// ConfigMapHeader is the header of ConfigMapRow.
func ConfigMapHeader(bool) []string { return []string{"NAME", "DATA", "AGE"} }

// ConfigMapRow is the row of a ConfigMap.
func ConfigMapRow(c *v1.ConfigMap, now time.Time) []string {
	return []string{c.Name, strconv.Itoa(len(c.Data) + len(c.BinaryData)), age(c.CreationTimestamp, now)}
}

// SecretHeader is the header of SecretRow.
func SecretHeader(wide bool) []string {
	h := []string{"NAME", "TYPE", "DATA", "AGE"}
	if wide {
		h = append(h, "KEYS")
	}
	return h
}

// SecretRow is the row of a Secret of which only the sizes are known: bytes, by
// key.
func SecretRow(meta metav1.ObjectMeta, typ v1.SecretType, sizes map[string]int, wide bool, now time.Time) []string {
	if typ == "" {
		typ = v1.SecretTypeOpaque
	}
	row := []string{meta.Name, string(typ), strconv.Itoa(len(sizes)), age(meta.CreationTimestamp, now)}
	if wide {
		var keys []string
		for key, n := range sizes {
			keys = append(keys, fmt.Sprintf("%s(%d)", key, n))
		}
		slices.Sort(keys)
		row = append(row, orNone(strings.Join(keys, ",")))
	}
	return row
}
