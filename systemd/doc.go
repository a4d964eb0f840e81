// Package systemd is davit's side of the service manager: it says when davit is
// ready, when it leaves, and that it is alive. Beside it lies the unit file.
//
// Without NOTIFY_SOCKET in the environment every call does nothing, so callers
// need not ask under what they run.
//
// # The unit
//
// davit.service is Type=notify: what is ordered after it starts when davit has
// adopted what it found. Pods outlive it, which shapes the rest:
//
//   - KillMode=process: the log pump, a child of davit, holds the pods' output
//     and stays when davit stops or is restarted. The pods' own processes belong
//     to containerd's shims and are in no cgroup of davit's unit.
//   - Nothing in it may give davit a mount namespace of its own (ProtectSystem,
//     PrivateTmp, ReadOnlyPaths, ...): namespaces are pinned by bind mounts and
//     volumes are mounts, which containerd must see.
//   - Delegate=yes: nobody else touches the cgroups below it.
//
// Out of scope so far: slices over D-Bus, the logind inhibitor, the journal.
package systemd
