// Package lifecycle decides. It holds the Kubernetes semantics of a pod's life
// on its node as functions from values to values:
//
//	Accept(pod, boot, now) Facts           what is known of a new pod
//	Observe(pod, facts, seen, now) Facts   fold what is seen into what is known
//	Decide(Input) Plan                     what to do next
//	Apply(pod, facts, step, result, now) Facts  fold in what a step did
//	RequestDeletion(facts, grace, reason, now) Facts
//	Status(Input) v1.PodStatus             what to report
//	Explain(Input) Explanation             why, what next, how it got there
//	Probings(pod, facts) []Probing         what is to be probed
//
// Beside it stand, pure as well, restart (who is run again, and when), retry
// (failed steps), podstatus (phase and conditions out of container statuses),
// mutable (what may change of a pod that runs) and explain (words for people).
//
// There is no context, no clock and no IO here, and no argument is changed; the
// worker in agent/pods turns the crank:
//
//	facts = Observe(pod, facts, seen, now); persist if changed
//	plan  = Decide({pod, facts, seen, now})
//	for step in plan.Steps:
//	        result = execute(step)
//	        facts  = Apply(pod, facts, step, result, now); persist
//	        stop at the first result that is an error
//	status = Status({pod, facts, seen, now}); facts.Conditions = status.Conditions
//	sleep until a wake or plan.Again; after an error, only a moment
//
// The pod may be cut at any point of this and is taken up from Facts and Seen.
// A container attempt passes through
//
//	(none) -> Create -> [Starting recorded] -> Start -> running -> exit seen
//	      -> [Exit recorded] -> Remove -> back-off -> next attempt
//
// where what stands in brackets is on disk before the arrow after it is taken:
// the worker makes Facts durable before it executes OpStart and OpRemove.
//
// # Decisions
//
//   - Facts say what happened, never what is meant to happen: init order, "the
//     pod is over", back-off of failures, deadlines are computed from them each
//     time. Only Ended is stored, as phases are sticky.
//   - A plan goes as far as can be told beforehand: Decide applies each step it
//     plans to its own copy of the facts. So a new pod is one plan (setup,
//     create, start, create, start ...), not five turns. Steps that unblock
//     others come before removals, so what cannot be removed holds up little.
//   - A container is judged by its recorded attempt; Seen is needed in Decide
//     only for strays and for RuntimeDown (then the plan is empty).
//   - A lost sandbox (reboot, lost namespace) starts a new Generation. What
//     still runs in the old one is stopped as in a deletion, with the pod's own
//     grace; nothing starts before it is gone. OpTeardown is not part of this:
//     volumes outlive a sandbox. A loss is believed only while the runtime
//     answers.
//   - restartCount is counted when the next attempt's container exists. The
//     first restart is immediate, then 10 s, 20 s ... 5 min from the exit; more
//     than 10 min of running start the row anew.
//   - A pull is no step: a step must not take minutes. OpCreate of a container
//     whose image is absent begins a pull and is pending; Seen.Pulling keeps it
//     from being tried again until the pull has ended. Other containers do not
//     wait for it (with kubelet they wait if they stand behind it in the spec).
//   - Back-off is there to spare what will fail again. So it is cut short when
//     what a step may have failed for want of (a ConfigMap, an image) changed.
//   - A hook is no step either: OpHook begins it, Seen.Hooks tells how it ended,
//     and until then postStart holds up what stands after its container and
//     preStop the stop signal, within the one grace. A hook that an agent left
//     behind is begun again by the next: at least once.
//   - What probes have come to is folded into the attempt, so that a status
//     after a restart of the agent is the one from before it. A liveness or
//     startup probe that fails stops its container alone, with its own grace
//     (the pod's, if nothing else of the pod goes on, as with kubelet).
//   - A rule that restarts all containers (KEP-5532) starts a new Generation
//     without a loss: Rounds tells the two apart.
//   - An eviction is a fact, like a deletion, that the caller asks for (Evict).
//   - All within one grace: main and init containers get the stop signal at
//     once, sidecars one by one in reverse order when no main container runs,
//     or at the deadline. From the stop signal to SIGKILL there are at least
//     2 s, kubelet's minimum. A deletion with grace 0 means SIGKILL at once.
//
// # Where Status knows better, or less, than kubelet
//
// CrashLoopBackOff shows from the exit on (kubelet: from its next sync, up to
// 10 s later); ErrImagePull gives way to ImagePullBackOff after 5 s. A phase is
// terminal when the last container is gone, which is what the API shows of
// kubelet, too. test/oracle holds all of it to what a real kubelet reported.
//
// # Out of scope
//
// In-place resize, which podspec refuses; running probes and hooks.
package lifecycle
