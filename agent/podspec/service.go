package podspec

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/davit-agent/davit/agent/podspec/check"
)

// DefaultService fills in what the Kubernetes API fills in, but for addresses
// and node ports, which a control plane allocates.
func DefaultService(s *v1.Service) {
	spec := &s.Spec
	check.Set(&spec.Type, v1.ServiceTypeClusterIP)
	check.Set(&spec.SessionAffinity, v1.ServiceAffinityNone)
	if spec.SessionAffinity == v1.ServiceAffinityClientIP {
		check.SetPtr(&spec.SessionAffinityConfig, v1.SessionAffinityConfig{})
		check.SetPtr(&spec.SessionAffinityConfig.ClientIP, v1.ClientIPConfig{})
		check.SetPtr(&spec.SessionAffinityConfig.ClientIP.TimeoutSeconds, v1.DefaultClientIPServiceAffinitySeconds)
	}
	for i := range spec.Ports {
		p := &spec.Ports[i]
		check.Set(&p.Protocol, v1.ProtocolTCP)
		if p.TargetPort == (intstr.IntOrString{}) || p.TargetPort == intstr.FromString("") {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
	if spec.Type == v1.ServiceTypeExternalName {
		return
	}
	check.SetPtr(&spec.InternalTrafficPolicy, v1.ServiceInternalTrafficPolicyCluster)
	if exposed(spec) {
		check.Set(&spec.ExternalTrafficPolicy, v1.ServiceExternalTrafficPolicyCluster)
	}
	if spec.Type == v1.ServiceTypeLoadBalancer {
		check.SetPtr(&spec.AllocateLoadBalancerNodePorts, true)
	}
	switch {
	case spec.ClusterIP == "" && len(spec.ClusterIPs) > 0:
		spec.ClusterIP = spec.ClusterIPs[0]
	case spec.ClusterIP != "" && len(spec.ClusterIPs) == 0:
		spec.ClusterIPs = []string{spec.ClusterIP}
	}
}

// exposed tells whether traffic comes to a Service from outside.
func exposed(spec *v1.ServiceSpec) bool {
	return nodePorts(spec) || len(spec.ExternalIPs) > 0
}

func nodePorts(spec *v1.ServiceSpec) bool {
	return spec.Type == v1.ServiceTypeNodePort || spec.Type == v1.ServiceTypeLoadBalancer
}

// ValidateService returns what Kubernetes would refuse about a Service whose
// defaults are filled in, as far as it concerns what the Service means.
func ValidateService(s *v1.Service) []Problem {
	// KEP-5311, on by default since 1.36: a label as in RFC 1123, no longer RFC 1035.
	errs := check.ObjectMeta(KindService, &s.ObjectMeta, validation.IsDNS1123Label)
	path, spec := field.NewPath("spec"), &s.Spec
	errs = append(errs, check.OneOf(path.Child("type"), spec.Type,
		v1.ServiceTypeClusterIP, v1.ServiceTypeNodePort, v1.ServiceTypeLoadBalancer, v1.ServiceTypeExternalName)...)
	errs = append(errs, metavalidation.ValidateLabels(spec.Selector, path.Child("selector"))...)
	errs = append(errs, validateServicePorts(spec, path.Child("ports"))...)
	errs = append(errs, validateClusterIPs(spec, path)...)
	errs = append(errs, validateServiceAddresses(spec, path)...)
	errs = append(errs, validatePolicies(spec, path)...)
	if spec.Type == v1.ServiceTypeExternalName {
		name := strings.TrimSuffix(spec.ExternalName, ".")
		if name == "" {
			errs = append(errs, field.Required(path.Child("externalName"), "a Service of type ExternalName stands for a DNS name"))
		} else {
			errs = append(errs, check.Invalid(path.Child("externalName"), spec.ExternalName, validation.IsDNS1123Subdomain(name))...)
		}
	}
	return located(KindService, &s.ObjectMeta, errs)
}

func validateServicePorts(spec *v1.ServiceSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(spec.Ports) == 0 && spec.ClusterIP != v1.ClusterIPNone && spec.Type != v1.ServiceTypeExternalName {
		errs = append(errs, field.Required(path, "name at least one port, or make the Service headless (clusterIP: None)"))
	}
	type wire struct {
		port     int32
		protocol v1.Protocol
	}
	names, ports, nodes := map[string]bool{}, map[wire]bool{}, map[wire]bool{}
	for i := range spec.Ports {
		p, at := &spec.Ports[i], path.Index(i)
		errs = append(errs, validateServicePort(p, at)...)
		switch {
		case p.Name == "" && len(spec.Ports) > 1:
			errs = append(errs, field.Required(at.Child("name"), "ports have names where there are several"))
		case p.Name != "" && names[p.Name]:
			errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
		}
		names[p.Name] = true
		if key := (wire{p.Port, p.Protocol}); ports[key] {
			errs = append(errs, field.Duplicate(at, fmt.Sprintf("%s port %d", p.Protocol, p.Port)))
		} else {
			ports[key] = true
		}
		if p.NodePort == 0 {
			continue
		}
		if !nodePorts(spec) {
			errs = append(errs, field.Forbidden(at.Child("nodePort"), "may not be used when `type` is '"+string(spec.Type)+"'"))
		} else {
			errs = append(errs, check.Invalid(at.Child("nodePort"), p.NodePort, validation.IsValidPortNum(int(p.NodePort)))...)
		}
		if key := (wire{p.NodePort, p.Protocol}); nodes[key] {
			errs = append(errs, field.Duplicate(at.Child("nodePort"), p.NodePort))
		} else {
			nodes[key] = true
		}
	}
	return errs
}

func validateServicePort(p *v1.ServicePort, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if p.Name != "" {
		errs = append(errs, check.Invalid(at.Child("name"), p.Name, validation.IsDNS1123Label(p.Name))...)
	}
	errs = append(errs, check.Invalid(at.Child("port"), p.Port, validation.IsValidPortNum(int(p.Port)))...)
	errs = append(errs, check.OneOf(at.Child("protocol"), p.Protocol, v1.ProtocolTCP, v1.ProtocolUDP, v1.ProtocolSCTP)...)
	if p.TargetPort.Type == intstr.String {
		return append(errs, check.Invalid(at.Child("targetPort"), p.TargetPort.StrVal, validation.IsValidPortName(p.TargetPort.StrVal))...)
	}
	return append(errs, check.Invalid(at.Child("targetPort"), p.TargetPort.IntVal, validation.IsValidPortNum(p.TargetPort.IntValue()))...)
}

func validateClusterIPs(spec *v1.ServiceSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if spec.Type == v1.ServiceTypeExternalName {
		if spec.ClusterIP != "" || len(spec.ClusterIPs) > 0 {
			errs = append(errs, field.Forbidden(path.Child("clusterIP"), "may not be set when `type` is 'ExternalName'"))
		}
		return errs
	}
	if len(spec.ClusterIPs) > 0 && spec.ClusterIPs[0] != spec.ClusterIP {
		errs = append(errs, field.Invalid(path.Child("clusterIPs").Index(0), spec.ClusterIPs[0], "first value must match `clusterIP`"))
	}
	if len(spec.ClusterIPs) > 2 {
		return append(errs, field.TooMany(path.Child("clusterIPs"), len(spec.ClusterIPs), 2))
	}
	if spec.ClusterIP == v1.ClusterIPNone {
		if len(spec.ClusterIPs) > 1 {
			errs = append(errs, field.Invalid(path.Child("clusterIPs"), spec.ClusterIPs, "'None' must be the first and only value"))
		}
		if spec.Type != v1.ServiceTypeClusterIP {
			errs = append(errs, field.Invalid(path.Child("clusterIP"), spec.ClusterIP, "may not be 'None' when `type` is '"+string(spec.Type)+"'"))
		}
		return errs
	}
	at := path.Child("clusterIPs")
	for i, ip := range spec.ClusterIPs {
		errs = append(errs, validation.IsValidIP(at.Index(i), ip)...)
	}
	if len(spec.ClusterIPs) == 2 {
		a, aErr := netip.ParseAddr(spec.ClusterIPs[0])
		b, bErr := netip.ParseAddr(spec.ClusterIPs[1])
		if aErr == nil && bErr == nil && a.Is4() == b.Is4() {
			errs = append(errs, field.Invalid(at, spec.ClusterIPs, "may specify no more than one IP for each IP family"))
		}
	}
	return errs
}

// validateServiceAddresses checks the addresses that a Service has besides its
// cluster IPs.
func validateServiceAddresses(spec *v1.ServiceSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, ip := range spec.ExternalIPs {
		at := path.Child("externalIPs").Index(i)
		found := validation.IsValidIP(at, ip)
		if addr, err := netip.ParseAddr(ip); err == nil && (addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() || addr.IsLinkLocalUnicast()) {
			found = append(found, field.Invalid(at, ip, "may not be unspecified, loopback, link-local or multicast"))
		}
		errs = append(errs, found...)
	}
	if len(spec.LoadBalancerSourceRanges) > 0 && spec.Type != v1.ServiceTypeLoadBalancer {
		errs = append(errs, field.Forbidden(path.Child("loadBalancerSourceRanges"), "may only be used when `type` is 'LoadBalancer'"))
	}
	for i, cidr := range spec.LoadBalancerSourceRanges {
		errs = append(errs, validation.IsValidCIDR(path.Child("loadBalancerSourceRanges").Index(i), strings.TrimSpace(cidr))...)
	}
	if spec.IPFamilyPolicy != nil {
		errs = append(errs, check.OneOf(path.Child("ipFamilyPolicy"), *spec.IPFamilyPolicy,
			v1.IPFamilyPolicySingleStack, v1.IPFamilyPolicyPreferDualStack, v1.IPFamilyPolicyRequireDualStack)...)
	}
	for i, family := range spec.IPFamilies {
		at := path.Child("ipFamilies").Index(i)
		errs = append(errs, check.OneOf(at, family, v1.IPv4Protocol, v1.IPv6Protocol)...)
		if slices.Contains(spec.IPFamilies[:i], family) {
			errs = append(errs, field.Duplicate(at, family))
		}
	}
	return errs
}

const maxAffinity = 24 * 60 * 60 // seconds

func validatePolicies(spec *v1.ServiceSpec, path *field.Path) field.ErrorList {
	errs := check.OneOf(path.Child("sessionAffinity"), spec.SessionAffinity, v1.ServiceAffinityNone, v1.ServiceAffinityClientIP)
	if c := spec.SessionAffinityConfig; c != nil {
		at := path.Child("sessionAffinityConfig")
		switch {
		case spec.SessionAffinity != v1.ServiceAffinityClientIP:
			errs = append(errs, field.Forbidden(at, "must not be set when session affinity is None"))
		case c.ClientIP != nil:
			if t := ptr.Deref(c.ClientIP.TimeoutSeconds, 0); t <= 0 || t > maxAffinity {
				errs = append(errs, field.Invalid(at.Child("clientIP", "timeoutSeconds"), t, "must be 1 to 86400 seconds"))
			}
		}
	}
	if p := spec.InternalTrafficPolicy; p != nil {
		errs = append(errs, check.OneOf(path.Child("internalTrafficPolicy"), *p, v1.ServiceInternalTrafficPolicyCluster, v1.ServiceInternalTrafficPolicyLocal)...)
	}
	if p := spec.ExternalTrafficPolicy; p != "" {
		at := path.Child("externalTrafficPolicy")
		errs = append(errs, check.OneOf(at, p, v1.ServiceExternalTrafficPolicyCluster, v1.ServiceExternalTrafficPolicyLocal)...)
		if !exposed(spec) {
			errs = append(errs, field.Invalid(at, p, "may only be set for externally-accessible services"))
		}
	}
	if p := spec.HealthCheckNodePort; p != 0 {
		at := path.Child("healthCheckNodePort")
		errs = append(errs, check.Invalid(at, p, validation.IsValidPortNum(int(p)))...)
		if spec.Type != v1.ServiceTypeLoadBalancer || spec.ExternalTrafficPolicy != v1.ServiceExternalTrafficPolicyLocal {
			errs = append(errs, field.Invalid(at, p, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
		}
	}
	return errs
}
