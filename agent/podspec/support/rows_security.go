package support

import "slices"

const (
	noteWindows  = "davit runs on Linux"
	noteAppArmor = "a node without AppArmor refuses the pod"
	noteSELinux  = "a node without SELinux refuses the pod"
)

// profileFields are those that pods and containers have alike.
var profileFields = []string{"", ".runAsUser", ".runAsGroup", ".runAsNonRoot", ".seccompProfile", ".seccompProfile.type", ".seccompProfile.localhostProfile",
	".seLinuxOptions.user", ".seLinuxOptions.role", ".seLinuxOptions.type", ".seLinuxOptions.level",
	".appArmorProfile.type", ".appArmorProfile.localhostProfile"}

var securityRows = slices.Concat(
	all("spec.containers[].securityContext", profileFields...),
	all("spec.containers[].securityContext", ".capabilities", ".capabilities.add", ".capabilities.drop", ".privileged",
		".readOnlyRootFilesystem", ".allowPrivilegeEscalation"),
	[]Row{
		{Path: "spec.containers[].securityContext.seLinuxOptions", Support: Supported, Note: noteSELinux},
		{Path: "spec.containers[].securityContext.windowsOptions", Support: Refused, Note: noteWindows},
		{Path: "spec.containers[].securityContext.procMount", Support: Supported, Note: "Unmasked needs hostUsers: false, which is not there yet"},
		{Path: "spec.containers[].securityContext.appArmorProfile", Support: Supported, Note: noteAppArmor},
	},
	all("spec.securityContext", profileFields...),
	all("spec.securityContext", ".supplementalGroups", ".supplementalGroupsPolicy", ".fsGroup",
		".sysctls", ".sysctls[].value"),
	[]Row{
		{Path: "spec.securityContext.seLinuxOptions", Support: Supported, Note: noteSELinux},
		{Path: "spec.securityContext.windowsOptions", Support: Refused, Note: noteWindows},
		{Path: "spec.securityContext.sysctls[].name", Support: Supported, Note: "one that is neither safe nor allowed by the node's configuration fails the pod (SysctlForbidden)"},
		{Path: "spec.securityContext.appArmorProfile", Support: Supported, Note: noteAppArmor},
		{Path: "spec.securityContext.fsGroupChangePolicy", Support: Supported, Note: "the group is given once, to an empty directory, so both policies come to the same"},
		{Path: "spec.securityContext.seLinuxChangePolicy", Support: NotYet, Note: "volumes are not relabelled"},
	},
)
