package pod

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/davit-agent/davit/agent/podspec/check"
)

// Kubernetes' limits of a pod's DNS configuration, the search list's in domains
// and bytes, and of the name that a kernel takes.
const (
	maxNameservers    = 3
	maxSearches       = 32
	maxSearchBytes    = 2048
	maxKernelHostname = 64
)

// validateNames checks how the pod is called and whom it asks for names.
func validateNames(spec *v1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if spec.Hostname != "" {
		errs = append(errs, check.Invalid(path.Child("hostname"), spec.Hostname, validation.IsDNS1123Label(spec.Hostname))...)
	}
	if spec.Subdomain != "" {
		errs = append(errs, check.Invalid(path.Child("subdomain"), spec.Subdomain, validation.IsDNS1123Label(spec.Subdomain))...)
	}
	if name := spec.HostnameOverride; name != nil && *name != "" {
		at := path.Child("hostnameOverride")
		errs = append(errs, check.Invalid(at, *name, validation.IsDNS1123Subdomain(*name))...)
		if len(*name) > maxKernelHostname {
			errs = append(errs, field.Invalid(at, *name, validation.MaxLenError(maxKernelHostname)))
		}
		if spec.SetHostnameAsFQDN != nil && *spec.SetHostnameAsFQDN {
			errs = append(errs, field.Forbidden(at, "may not be set when setHostnameAsFQDN is true"))
		}
		if spec.HostNetwork {
			errs = append(errs, field.Forbidden(at, "may not be set when hostNetwork is true"))
		}
	}
	for i, alias := range spec.HostAliases {
		at := path.Child("hostAliases").Index(i)
		errs = append(errs, validation.IsValidIPForLegacyField(at.Child("ip"), alias.IP, true, nil)...)
		for j, name := range alias.Hostnames {
			errs = append(errs, check.Invalid(at.Child("hostnames").Index(j), name, validation.IsDNS1123Subdomain(name))...)
		}
	}
	return append(errs, validateDNSConfig(spec, path.Child("dnsConfig"))...)
}

func validateDNSConfig(spec *v1.PodSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	c := spec.DNSConfig
	if spec.DNSPolicy == v1.DNSNone {
		if c == nil {
			return append(errs, field.Required(at, "must provide `dnsConfig` when `dnsPolicy` is None"))
		}
		if len(c.Nameservers) == 0 {
			return append(errs, field.Required(at.Child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None"))
		}
	}
	if c == nil {
		return nil
	}
	if len(c.Nameservers) > maxNameservers {
		errs = append(errs, field.Invalid(at.Child("nameservers"), c.Nameservers, fmt.Sprintf("must not have more than %d nameservers", maxNameservers)))
	}
	for i, ip := range c.Nameservers {
		errs = append(errs, validation.IsValidIPForLegacyField(at.Child("nameservers").Index(i), ip, true, nil)...)
	}
	if len(c.Searches) > maxSearches {
		errs = append(errs, field.Invalid(at.Child("searches"), c.Searches, fmt.Sprintf("must not have more than %d search paths", maxSearches)))
	}
	if len(strings.Join(c.Searches, " ")) > maxSearchBytes {
		errs = append(errs, field.Invalid(at.Child("searches"), c.Searches,
			fmt.Sprintf("must not have more than %d characters (including spaces) in the search list", maxSearchBytes)))
	}
	for i, domain := range c.Searches {
		if domain != "." {
			errs = append(errs, check.Invalid(at.Child("searches").Index(i), domain,
				validation.IsDNS1123SubdomainWithUnderscore(strings.TrimSuffix(domain, ".")))...)
		}
	}
	for i, o := range c.Options {
		at := at.Child("options").Index(i)
		if o.Name == "" {
			errs = append(errs, field.Required(at, "must not be empty"))
		}
		// An option is a word in a line of resolv.conf.
		if strings.ContainsAny(o.Name, " \t\r\n\x00") {
			errs = append(errs, field.Invalid(at.Child("name"), o.Name, "must not contain spaces"))
		}
		if o.Value != nil && strings.ContainsAny(*o.Value, " \t\r\n\x00") {
			errs = append(errs, field.Invalid(at.Child("value"), *o.Value, "must not contain spaces"))
		}
	}
	return errs
}
