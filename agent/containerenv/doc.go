// Package containerenv resolves the environment of a container as far as it
// comes from elsewhere than its own spec: envFrom, and env with valueFrom, out
// of ConfigMaps, Secrets, fields of the pod and resources. It is pure: whatever
// is referred to is looked up through Objects.
//
//	Resolve(input)      oci.Env, for runtime/oci to put the variables in order
//	SubPath(mount, env) subPath or subPathExpr of a mount, expanded
//
// Decisions:
//   - runtime/oci owns the order of precedence and $(VAR) in env, command and
//     args; here only values are fetched. So both can be tested alone.
//   - Errors have kubelet's texts and are *oci.Error, whose reason is
//     CreateContainerConfigError. They name objects and keys, never values: those
//     may be secret. For the same reason an error about a subPathExpr shows the
//     expression where kubelet shows what it came to.
//   - The keys of an object come in the order of their names (kubelet: in any),
//     so that the same pod has the same spec.
//   - Any name that Linux can have in an environment will do, as in Kubernetes
//     1.36; a key of an envFrom that cannot be one is left out and told.
//
// Out of scope: fileKeyRef, the variables of Services (passed through), and
// changes to objects, which reach variables only with the next container.
package containerenv
