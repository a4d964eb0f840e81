package containerenv

import (
	"maps"
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/oci"
)

// SubPath returns the path below its volume that a mount names: subPath, or
// subPathExpr expanded with env (what oci.Environ returns). It is "" for the
// whole volume, and otherwise relative and without ".."; symbolic links are for
// whoever opens it.
func SubPath(m v1.VolumeMount, env []oci.Var) (string, error) {
	sub, shown := m.SubPath, m.SubPath
	if m.SubPathExpr != "" {
		var err error
		if sub, err = expandSubPath(m.SubPathExpr, env); err != nil {
			return "", err
		}
		shown = m.SubPathExpr // what it came to may hold a secret
	}
	switch {
	case path.IsAbs(sub):
		return "", config("error SubPath `%s` must not be an absolute path", shown)
	case slices.Contains(strings.Split(sub, "/"), ".."):
		return "", config("unable to provision SubPath `%s`: must not contain '..'", shown)
	case strings.ContainsRune(sub, 0):
		return "", config("unable to provision SubPath `%s`: must not contain a zero byte", shown)
	}
	return sub, nil
}

// expandSubPath expands $(VAR). Other than in arguments each variable must be
// there and not empty, else pods would share what is meant to be apart.
func expandSubPath(expr string, env []oci.Var) (string, error) {
	values := make(map[string]string, len(env))
	for _, e := range env {
		values[e.Name] = e.Value
	}
	missing := map[string]bool{}
	sub := oci.Expand(expr, func(name string) (string, bool) {
		if values[name] == "" {
			missing[name] = true
		}
		return values[name], true
	})
	if len(missing) > 0 {
		return "", config("missing value for %s", strings.Join(slices.Sorted(maps.Keys(missing)), ", "))
	}
	return sub, nil
}
