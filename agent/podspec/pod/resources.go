package pod

import (
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// defaultRequests takes what is limited and not asked for to be asked for.
func defaultRequests(r *v1.ResourceRequirements) {
	fill(&r.Requests, r.Limits, func(v1.ResourceName) bool { return true })
}

// fill adds to list what is in others, of those resources that may be added.
func fill(list *v1.ResourceList, others v1.ResourceList, may func(v1.ResourceName) bool) {
	for name, q := range others {
		if _, there := (*list)[name]; there || !may(name) {
			continue
		}
		if *list == nil {
			*list = v1.ResourceList{}
		}
		(*list)[name] = q.DeepCopy()
	}
}

// defaultPodResources completes the resources of a pod that has any (KEP-2837):
// it may have as many huge pages as its containers together; and where it has
// limits, it asks for what its containers ask for, or else for its limits.
func defaultPodResources(spec *v1.PodSpec) {
	r := spec.Resources
	if r == nil || len(r.Limits)+len(r.Requests) == 0 {
		return
	}
	fill(&r.Limits, total(spec, limits), func(name v1.ResourceName) bool {
		_, asked := r.Requests[name]
		return hugepages(name) && !asked
	})
	if len(r.Limits) == 0 {
		return
	}
	fill(&r.Requests, total(spec, requests), basic)
	fill(&r.Requests, r.Limits, func(name v1.ResourceName) bool { return basic(name) || hugepages(name) })
}

func limits(r v1.ResourceRequirements) v1.ResourceList   { return r.Limits }
func requests(r v1.ResourceRequirements) v1.ResourceList { return r.Requests }

// basic tells of the resources that a pod may have as a whole and that are not
// used up by being asked for.
func basic(name v1.ResourceName) bool { return name == v1.ResourceCPU || name == v1.ResourceMemory }

// total is what a pod's containers have at most at one time: main containers
// and sidecars together, or an init container and the sidecars before it
// (KEP-753).
func total(spec *v1.PodSpec, of func(v1.ResourceRequirements) v1.ResourceList) v1.ResourceList {
	all, sidecars, most := v1.ResourceList{}, v1.ResourceList{}, v1.ResourceList{}
	for i := range spec.Containers {
		add(all, of(spec.Containers[i].Resources))
	}
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		now := sidecars
		if sidecar(c) {
			add(all, of(c.Resources))
		} else {
			now = maps.Clone(sidecars)
		}
		add(now, of(c.Resources))
		raise(most, now)
	}
	raise(all, most)
	return all
}

func sidecar(c *v1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
}

func add(list, more v1.ResourceList) {
	for name, q := range more {
		sum := list[name].DeepCopy()
		sum.Add(q)
		list[name] = sum
	}
}

// raise makes each of list as large as it is in other.
func raise(list, other v1.ResourceList) {
	for name, q := range other {
		if have, ok := list[name]; !ok || q.Cmp(have) > 0 {
			list[name] = q.DeepCopy()
		}
	}
}

func roundResources(spec *v1.PodSpec) {
	for _, list := range [][]v1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			roundUp(list[i].Resources)
		}
	}
	for i := range spec.EphemeralContainers {
		roundUp(spec.EphemeralContainers[i].Resources)
	}
	if spec.Resources != nil {
		roundUp(*spec.Resources)
	}
}

// roundUp rounds to thousandths, the finest that the API stores.
func roundUp(r v1.ResourceRequirements) {
	for _, list := range []v1.ResourceList{r.Limits, r.Requests} {
		for name, q := range list {
			q.RoundUp(resource.Milli)
			list[name] = q
		}
	}
}

// validatePodResources checks the resources of the pod as a whole, which its
// containers have to fit into.
func validatePodResources(spec *v1.PodSpec, path *field.Path) field.ErrorList {
	r, at := spec.Resources, path.Child("resources")
	if r == nil {
		return nil
	}
	errs := validateResources(*r, at)
	asked := total(spec, requests)
	for _, name := range sortedNames(asked) {
		sum, has := asked[name], r.Requests[name]
		if _, ok := r.Requests[name]; ok && sum.Cmp(has) > 0 {
			errs = append(errs, field.Invalid(at.Child("requests").Key(string(name)), has.String(),
				"must be greater than or equal to aggregate container requests of "+sum.String()))
		}
	}
	limited := total(spec, limits)
	for _, name := range sortedNames(limited) {
		sum, has := limited[name], r.Limits[name]
		if _, ok := r.Limits[name]; ok && hugepages(name) && sum.Cmp(has) > 0 {
			errs = append(errs, field.Invalid(at.Child("limits").Key(string(name)), has.String(),
				"must be greater than or equal to aggregate container limits of "+sum.String()))
		}
	}
	for i := range spec.Containers {
		list := spec.Containers[i].Resources.Limits
		for _, name := range sortedNames(list) {
			q, has := list[name], r.Limits[name]
			if _, ok := r.Limits[name]; ok && q.Cmp(has) > 0 {
				errs = append(errs, field.Invalid(path.Child("containers").Index(i).Child("resources", "limits").Key(string(name)), q.String(),
					"must be less than or equal to pod limits of "+has.String()))
			}
		}
	}
	return errs
}

func validateResources(r v1.ResourceRequirements, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	lists := []struct {
		key  string
		list v1.ResourceList
	}{{"limits", r.Limits}, {"requests", r.Requests}}
	for _, l := range lists {
		for _, name := range sortedNames(l.list) {
			if q := l.list[name]; q.Sign() < 0 {
				errs = append(errs, field.Invalid(at.Child(l.key).Key(string(name)), q.String(), "must be 0 or more"))
			}
		}
	}
	for _, name := range sortedNames(r.Requests) {
		request := r.Requests[name]
		limit, ok := r.Limits[name]
		at := at.Child("requests").Key(string(name))
		switch {
		case hugepages(name) && !ok:
			errs = append(errs, field.Required(at, "Limit must be set for non overcommitable resources"))
		case hugepages(name) && request.Cmp(limit) != 0:
			errs = append(errs, field.Invalid(at, request.String(), "must be equal to "+string(name)+" limit of "+limit.String()))
		case ok && request.Cmp(limit) > 0:
			errs = append(errs, field.Invalid(at, request.String(), "must be less than or equal to the limit of "+limit.String()))
		}
	}
	return append(errs, validateHugepages(r, at)...)
}

func hugepages(name v1.ResourceName) bool {
	return strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}

// validateHugepages checks that pages are asked for by whole ones, and not alone.
func validateHugepages(r v1.ResourceRequirements, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	others := false
	for _, list := range []v1.ResourceList{r.Limits, r.Requests} {
		_, cpu := list[v1.ResourceCPU]
		_, memory := list[v1.ResourceMemory]
		others = others || cpu || memory
	}
	any := false
	for _, name := range sortedNames(r.Limits) {
		if !hugepages(name) {
			continue
		}
		any = true
		q := r.Limits[name]
		size, err := resource.ParseQuantity(strings.TrimPrefix(string(name), v1.ResourceHugePagesPrefix))
		if err != nil || size.Sign() <= 0 || q.Value()%size.Value() != 0 {
			errs = append(errs, field.Invalid(at.Child("limits").Key(string(name)), q.String(),
				q.String()+" is not positive integer multiple of "+string(name)))
		}
	}
	if any && !others {
		errs = append(errs, field.Forbidden(at, "HugePages require cpu or memory"))
	}
	return errs
}

func sortedNames(list v1.ResourceList) []v1.ResourceName {
	var out []v1.ResourceName
	for name := range list {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
