// Package runtime is the contract between davit's agent and whatever runs its
// containers. It holds types, sentinels and label keys and imports no runtime:
// the implementation is runtime/containerd, the strict fake is runtime/fake,
// and one suite (runtime/runtimetest) holds both to what is written here.
//
// # Vocabulary
//
// A pod is a group of containers that share namespaces. A Sandbox is what they
// share, made before the first of them and removed after the last: the pinned
// namespaces, the pod's /dev/shm, its cgroup and, for pods that share a PID
// namespace, its init. There is no pause container.
//
// A container is one attempt to run one container of the pod's spec. Its ID is
// a function of pod UID, container name and attempt (ContainerID), so that a
// caller that was killed in the middle names the same object when it resumes.
// An ID is never used for a second attempt in one life of a pod; a static pod that
// was removed, forgotten and put back has its UID again, and with it its IDs.
//
//	           Create            Start              exit             Delete
//	(nothing) --------> Created ---------> Running ---------> Exited --------> (nothing)
//	                       \                                     ^
//	                        `--- Start fails: ErrStart ----------'  (caller records, Deletes)
//
// # Two uses
//
// Starting: Image -> Create -> Start. Create makes everything that is not a
// process (the container object, its snapshot, its log streams); Start makes
// the task and runs it. What Kubernetes calls CreateContainerError comes out of
// Create, what it calls StartError (exit code 128) comes out of Start.
//
// Stopping: Signal(TERM), later Signal(KILL), then, when List shows Exited and
// the exit is safely recorded by the caller, Delete. A stopped task is no
// store: containerd from 1.7 on discards stopped tasks when it restarts, so the
// record comes first and Delete follows at once.
//
// # What holds
//
//   - Every method is idempotent. Create of what exists in any state, Delete of
//     what does not, Signal to what has exited return nil.
//   - Every method may be cut by kill -9 at any instant; calling it again
//     completes it. Delete completes any half-made Create or half-done Delete.
//   - A cancelled context ends the call, never a container.
//   - Nothing is removed that was not named: List shows what is there, and the
//     caller decides what is an orphan.
//   - While the daemon is away (ErrUnavailable from everything) List still
//     answers, beside that error, for the containers that this process has seen or was told of by
//     Adopt, by asking their shims; exits are seen and Events fires.
//   - What hangs holds up its own container alone: a call that gets no answer for a
//     while returns ErrStuck, goes on behind, and the next one for that
//     container waits for it; there is one at a time.
//   - An Exit is never guessed. If a task vanished and nobody saw its end, List
//     reports StateUnknown.
package runtime
