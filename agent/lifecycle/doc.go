// Package lifecycle decides. It holds the Kubernetes semantics of a pod's life
// on its node as functions from values to values:
//
//	Observe(facts, seen, now) Facts      fold what is seen into what is known
//	Decide(Input) Plan                   what to do next
//	Apply(facts, step, result, now) Facts  fold what a step did into what is known
//	Status(Input) v1.PodStatus           what to report
//
// There is no context, no clock and no IO here; the worker in agent/pods turns
// the crank:
//
//	facts = Observe(facts, seen, now); persist if changed
//	plan  = Decide({pod, facts, seen, now})
//	for step in plan.Steps:
//	        result = execute(step)
//	        facts  = Apply(facts, step, result, now); persist
//	        stop at the first result that is an error
//	report Status({pod, facts, seen, now})
//	sleep until a wake or plan.Again
//
// The pod may be cut at any point of this and is taken up from Facts and Seen.
// A container attempt passes through
//
//	(none) -> Create -> [Starting recorded] -> Start -> running -> exit seen
//	      -> [Exit recorded] -> Remove -> back-off -> next attempt
//
// where what stands in brackets is on disk before the arrow after it is taken:
// the worker makes Facts durable before it executes OpStart and OpRemove.
package lifecycle
