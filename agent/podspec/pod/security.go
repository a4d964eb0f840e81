package pod

import (
	"fmt"
	"regexp"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/davit-agent/davit/agent/podspec/check"
)

func validatePodSecurity(spec *v1.PodSpec, path *field.Path) field.ErrorList {
	sc := spec.SecurityContext
	errs := validateIDs(path, sc.RunAsUser, sc.RunAsGroup)
	for i, gid := range sc.SupplementalGroups {
		errs = append(errs, check.Invalid(path.Child("supplementalGroups").Index(i), gid, validation.IsValidGroupID(gid))...)
	}
	if p := sc.SupplementalGroupsPolicy; p != nil {
		errs = append(errs, check.OneOf(path.Child("supplementalGroupsPolicy"), *p,
			v1.SupplementalGroupsPolicyMerge, v1.SupplementalGroupsPolicyStrict)...)
	}
	if sc.FSGroup != nil {
		errs = append(errs, check.Invalid(path.Child("fsGroup"), *sc.FSGroup, validation.IsValidGroupID(*sc.FSGroup))...)
	}
	if p := sc.FSGroupChangePolicy; p != nil {
		errs = append(errs, check.OneOf(path.Child("fsGroupChangePolicy"), *p, v1.FSGroupChangeAlways, v1.FSGroupChangeOnRootMismatch)...)
	}
	errs = append(errs, validateSeccomp(sc.SeccompProfile, path.Child("seccompProfile"))...)
	errs = append(errs, validateAppArmor(sc.AppArmorProfile, path.Child("appArmorProfile"))...)
	return append(errs, validateSysctls(spec, path.Child("sysctls"))...)
}

// A sysctl's name as Kubernetes has it.
var (
	maxSysctl    = 253
	sysctlFormat = regexp.MustCompile(`^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`)
)

// validateSysctls checks names only: which of them a pod may set is the node's
// to say.
func validateSysctls(spec *v1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	for i, s := range spec.SecurityContext.Sysctls {
		at := path.Index(i).Child("name")
		name := strings.ReplaceAll(s.Name, "/", ".")
		switch {
		case s.Name == "":
			errs = append(errs, field.Required(at, "name the sysctl"))
		case len(s.Name) > maxSysctl || !sysctlFormat.MatchString(s.Name):
			errs = append(errs, field.Invalid(at, s.Name, fmt.Sprintf(
				"must be lower case words joined by dots, such as net.ipv4.tcp_syncookies, of at most %d characters", maxSysctl)))
		case names[name]:
			errs = append(errs, field.Duplicate(at, s.Name))
		case spec.HostNetwork && strings.HasPrefix(name, "net."):
			errs = append(errs, field.Invalid(at, s.Name, "may not be set when hostNetwork is true"))
		case spec.HostIPC && ofIPC(name):
			errs = append(errs, field.Invalid(at, s.Name, "may not be set when hostIPC is true"))
		}
		names[name] = true
	}
	return errs
}

// ofIPC tells of the sysctls that belong to an IPC namespace (ipc_namespaces(7)).
func ofIPC(name string) bool {
	rest, kernel := strings.CutPrefix(name, "kernel.")
	switch rest {
	case "sem", "shm", "shmall", "shmmax", "shmmni", "shm_rmid_forced", "msg", "msgmax", "msgmnb", "msgmni":
		return kernel
	}
	return strings.HasPrefix(name, "fs.mqueue.")
}

func validateIDs(path *field.Path, user, group *int64) field.ErrorList {
	var errs field.ErrorList
	if user != nil {
		errs = append(errs, check.Invalid(path.Child("runAsUser"), *user, validation.IsValidUserID(*user))...)
	}
	if group != nil {
		errs = append(errs, check.Invalid(path.Child("runAsGroup"), *group, validation.IsValidGroupID(*group))...)
	}
	return errs
}

func validateSeccomp(p *v1.SeccompProfile, path *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	if p.Type == "" {
		return field.ErrorList{field.Required(path.Child("type"), "write RuntimeDefault, Unconfined or Localhost")}
	}
	errs := check.OneOf(path.Child("type"), p.Type,
		v1.SeccompProfileTypeRuntimeDefault, v1.SeccompProfileTypeUnconfined, v1.SeccompProfileTypeLocalhost)
	at, file := path.Child("localhostProfile"), p.LocalhostProfile
	switch {
	case p.Type != v1.SeccompProfileTypeLocalhost && file != nil:
		errs = append(errs, field.Invalid(at, *file, "may only be set with type Localhost"))
	case p.Type == v1.SeccompProfileTypeLocalhost && (file == nil || *file == ""):
		errs = append(errs, field.Required(at, "must be set when seccomp type is Localhost: name the file below the node's seccomp directory"))
	case file != nil:
		errs = append(errs, validateSubPath(*file, at)...)
	}
	return errs
}

// maxAppArmorName is how long the name of an AppArmor profile may be (PATH_MAX).
const maxAppArmorName = 4095

func validateAppArmor(p *v1.AppArmorProfile, path *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	if p.Type == "" {
		return field.ErrorList{field.Required(path.Child("type"), "write RuntimeDefault, Unconfined or Localhost")}
	}
	errs := check.OneOf(path.Child("type"), p.Type,
		v1.AppArmorProfileTypeLocalhost, v1.AppArmorProfileTypeRuntimeDefault, v1.AppArmorProfileTypeUnconfined)
	at, name := path.Child("localhostProfile"), p.LocalhostProfile
	switch {
	case p.Type != v1.AppArmorProfileTypeLocalhost && name != nil:
		errs = append(errs, field.Invalid(at, *name, "may only be set with type Localhost"))
	case p.Type == v1.AppArmorProfileTypeLocalhost && (name == nil || strings.TrimSpace(*name) == ""):
		errs = append(errs, field.Required(at, "must be set when AppArmor type is Localhost: name a profile that is loaded on the node"))
	case name == nil:
	case strings.TrimSpace(*name) != *name:
		errs = append(errs, field.Invalid(at, *name, "must not be padded with whitespace"))
	case len(*name) > maxAppArmorName:
		errs = append(errs, field.TooLong(at, "", maxAppArmorName))
	}
	return errs
}

func validateSecurity(sc *v1.SecurityContext, spec *v1.PodSpec, at *field.Path) field.ErrorList {
	errs := validateIDs(at, sc.RunAsUser, sc.RunAsGroup)
	errs = append(errs, validateSeccomp(sc.SeccompProfile, at.Child("seccompProfile"))...)
	errs = append(errs, validateAppArmor(sc.AppArmorProfile, at.Child("appArmorProfile"))...)
	if p := sc.ProcMount; p != nil {
		at := at.Child("procMount")
		errs = append(errs, check.OneOf(at, *p, v1.DefaultProcMount, v1.UnmaskedProcMount)...)
		if *p == v1.UnmaskedProcMount && (spec.HostUsers == nil || *spec.HostUsers) {
			errs = append(errs, field.Invalid(at, *p, "`hostUsers` must be false to use `Unmasked`"))
		}
	}
	if sc.AllowPrivilegeEscalation == nil || *sc.AllowPrivilegeEscalation {
		return errs
	}
	at = at.Child("allowPrivilegeEscalation")
	if sc.Privileged != nil && *sc.Privileged {
		errs = append(errs, field.Invalid(at, false, "cannot be false when privileged is true"))
	}
	if sc.Capabilities != nil {
		for _, c := range sc.Capabilities.Add {
			if c == "CAP_SYS_ADMIN" { // SYS_ADMIN, without CAP_, passes in Kubernetes
				errs = append(errs, field.Invalid(at, false, "cannot be false when the capability CAP_SYS_ADMIN is added"))
			}
		}
	}
	return errs
}
