package pod

import (
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/davit-agent/davit/agent/podspec/check"
)

// validateVolumes returns the names of the volumes.
func validateVolumes(list []v1.Volume, path *field.Path) (map[string]bool, field.ErrorList) {
	var errs field.ErrorList
	names := map[string]bool{}
	for i := range list {
		v, at := &list[i], path.Index(i)
		switch {
		case v.Name == "":
			errs = append(errs, field.Required(at.Child("name"), "name the volume"))
		case names[v.Name]:
			errs = append(errs, field.Duplicate(at.Child("name"), v.Name))
		default:
			errs = append(errs, check.Invalid(at.Child("name"), v.Name, validation.IsDNS1123Label(v.Name))...)
		}
		names[v.Name] = true
		if n := countSet(v.VolumeSource); n > 1 {
			errs = append(errs, field.Forbidden(at, "a volume has one source, this one has more: remove all but one"))
		}
		errs = append(errs, validateVolume(v, at)...)
	}
	return names, errs
}

func validateVolume(v *v1.Volume, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if e := v.EmptyDir; e != nil {
		errs = append(errs, validateEmptyDir(e, at.Child("emptyDir"))...)
	}
	if h := v.HostPath; h != nil {
		errs = append(errs, validateHostPath(h, at.Child("hostPath"))...)
	}
	if s := v.Secret; s != nil {
		at := at.Child("secret")
		errs = append(errs, validateObjectName(s.SecretName, "Secret", at.Child("secretName"))...)
		errs = append(errs, validateMode(s.DefaultMode, at.Child("defaultMode"))...)
		errs = append(errs, validateItems(s.Items, at.Child("items"))...)
	}
	if s := v.ConfigMap; s != nil {
		at := at.Child("configMap")
		errs = append(errs, validateObjectName(s.Name, "ConfigMap", at.Child("name"))...)
		errs = append(errs, validateMode(s.DefaultMode, at.Child("defaultMode"))...)
		errs = append(errs, validateItems(s.Items, at.Child("items"))...)
	}
	if s := v.DownwardAPI; s != nil {
		at := at.Child("downwardAPI")
		errs = append(errs, validateMode(s.DefaultMode, at.Child("defaultMode"))...)
		errs = append(errs, validateDownwardFiles(s.Items, at.Child("items"))...)
	}
	if s := v.Projected; s != nil {
		errs = append(errs, validateProjected(s, at.Child("projected"))...)
	}
	return errs
}

func validateEmptyDir(e *v1.EmptyDirVolumeSource, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	size, ok := strings.CutPrefix(string(e.Medium), string(v1.StorageMediumHugePagesPrefix))
	switch {
	case ok:
		if q, err := resource.ParseQuantity(size); err != nil || q.Sign() <= 0 {
			errs = append(errs, field.Invalid(at.Child("medium"), e.Medium, "must name the size of the pages, such as HugePages-2Mi"))
		}
	default:
		errs = append(errs, check.OneOf(at.Child("medium"), e.Medium, v1.StorageMediumDefault, v1.StorageMediumMemory, v1.StorageMediumHugePages)...)
	}
	if e.SizeLimit != nil && e.SizeLimit.Sign() < 0 {
		errs = append(errs, field.Invalid(at.Child("sizeLimit"), e.SizeLimit.String(), "must not be negative"))
	}
	return errs
}

func validateHostPath(h *v1.HostPathVolumeSource, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case h.Path == "":
		errs = append(errs, field.Required(path.Child("path"), "name the path on the host"))
	case slices.Contains(strings.Split(h.Path, "/"), ".."):
		errs = append(errs, field.Invalid(path.Child("path"), h.Path, "must not contain '..'"))
	case !strings.HasPrefix(h.Path, "/"):
		errs = append(errs, field.Invalid(path.Child("path"), h.Path, "must be an absolute path"))
	}
	if h.Type != nil {
		errs = append(errs, check.OneOf(path.Child("type"), *h.Type, v1.HostPathUnset, v1.HostPathDirectoryOrCreate, v1.HostPathDirectory,
			v1.HostPathFileOrCreate, v1.HostPathFile, v1.HostPathSocket, v1.HostPathCharDev, v1.HostPathBlockDev)...)
	}
	return errs
}

// validateObjectName checks the name of a ConfigMap or Secret that something
// refers to.
func validateObjectName(name, kind string, at *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(at, "name the "+kind)}
	}
	return check.Invalid(at, name, validation.IsDNS1123Subdomain(name))
}

func validateMode(mode *int32, at *field.Path) field.ErrorList {
	if mode == nil || *mode >= 0 && *mode <= 0o777 {
		return nil
	}
	return field.ErrorList{field.Invalid(at, *mode, "must be a number between 0 and 0777 (octal), both inclusive")}
}

// validateFilePath checks where a file is put in a volume.
func validateFilePath(p string, at *field.Path) field.ErrorList {
	if p == "" {
		return field.ErrorList{field.Required(at, "name the file in the volume")}
	}
	errs := validateSubPath(p, at)
	if strings.HasPrefix(p, "..") && !strings.HasPrefix(p, "../") && p != ".." {
		errs = append(errs, field.Invalid(at, p, "must not start with '..'"))
	}
	return errs
}

// validateSubPath checks that a path leads nowhere but down, as far as its text
// tells.
func validateSubPath(p string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if path.IsAbs(p) {
		errs = append(errs, field.Invalid(at, p, "must be a relative path"))
	}
	if slices.Contains(strings.Split(p, "/"), "..") {
		errs = append(errs, field.Invalid(at, p, "must not contain '..'"))
	}
	if strings.ContainsRune(p, 0) {
		errs = append(errs, field.Invalid(at, p, "must not contain a zero byte"))
	}
	return errs
}

func validateItems(items []v1.KeyToPath, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, item := range items {
		at := at.Index(i)
		if item.Key == "" {
			errs = append(errs, field.Required(at.Child("key"), "name the key"))
		}
		errs = append(errs, validateFilePath(item.Path, at.Child("path"))...)
		errs = append(errs, validateMode(item.Mode, at.Child("mode"))...)
	}
	return errs
}

func validateDownwardFiles(files []v1.DownwardAPIVolumeFile, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range files {
		f, at := &files[i], at.Index(i)
		errs = append(errs, validateFilePath(f.Path, at.Child("path"))...)
		switch {
		case f.FieldRef != nil && f.ResourceFieldRef != nil:
			errs = append(errs, field.Invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
		case f.FieldRef != nil:
			errs = append(errs, validateFieldRef(f.FieldRef, volumeFields, at.Child("fieldRef"))...)
		case f.ResourceFieldRef != nil:
			at := at.Child("resourceFieldRef")
			if f.ResourceFieldRef.ContainerName == "" {
				errs = append(errs, field.Required(at.Child("containerName"), "name the container"))
			}
			errs = append(errs, validateResourceRef(f.ResourceFieldRef, at)...)
		default:
			errs = append(errs, field.Required(at, "one of fieldRef and resourceFieldRef is required"))
		}
		errs = append(errs, validateMode(f.Mode, at.Child("mode"))...)
	}
	return errs
}

// validateProjected checks a volume of several sources; two of them cannot write
// the same file where both name it.
func validateProjected(p *v1.ProjectedVolumeSource, at *field.Path) field.ErrorList {
	errs := validateMode(p.DefaultMode, at.Child("defaultMode"))
	taken := map[string]bool{}
	take := func(path string, at *field.Path) {
		if path != "" && taken[path] {
			errs = append(errs, field.Invalid(at, path, "conflicting duplicate paths"))
		}
		taken[path] = true
	}
	for i := range p.Sources {
		s, at := &p.Sources[i], at.Child("sources").Index(i)
		if countSet(*s) > 1 {
			errs = append(errs, field.Forbidden(at, "may not specify more than 1 volume type per source"))
		}
		var items []v1.KeyToPath
		var list *field.Path
		if s.Secret != nil {
			items, list = s.Secret.Items, at.Child("secret", "items")
			errs = append(errs, validateObjectName(s.Secret.Name, "Secret", at.Child("secret", "name"))...)
		}
		if s.ConfigMap != nil {
			items, list = s.ConfigMap.Items, at.Child("configMap", "items")
			errs = append(errs, validateObjectName(s.ConfigMap.Name, "ConfigMap", at.Child("configMap", "name"))...)
		}
		errs = append(errs, validateItems(items, list)...)
		for j, item := range items {
			take(item.Path, list.Index(j).Child("path"))
		}
		if s.DownwardAPI != nil {
			list := at.Child("downwardAPI", "items")
			errs = append(errs, validateDownwardFiles(s.DownwardAPI.Items, list)...)
			for j, file := range s.DownwardAPI.Items {
				take(file.Path, list.Index(j).Child("path"))
			}
		}
	}
	return errs
}
