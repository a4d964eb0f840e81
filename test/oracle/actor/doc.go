// Package actor is the tiny language in which scenarios say what containers do.
// A real program (cmd/actor, in the image that package image makes) performs it,
// and a model without clock or IO foretells it, so that the same scenario is
// played with real containers and with a synthetic clock.
//
// A container's arguments are what it does in each attempt, with "--" between
// them; all attempts after the last do as that. An attempt is a row of words:
//
//	as NAME               who counts attempts in /state, "main" by default; once, first of all
//	on-term DURATION CODE end with CODE so long after SIGTERM; on-usr1 likewise
//	ignore-term           go on
//	ready TIMES           when it is ready, alive, started: "4s-", "-8s", "2s-5s,9s-",
//	live TIMES            "never"; always by default; since the attempt's start
//	started TIMES
//	http PORT             serve; see Attempt.HTTP
//	https PORT
//	grpc PORT             gRPC's health service; services "", ready, live, started
//	tcp PORT              listen while it is ready
//	say TEXT              print a line
//	message FILE TEXT     write a termination message
//	wait DURATION         then
//	  exit CODE | oom     end; or
//	run                   go on for ever
//
// Without on-term, SIGTERM ends it with 0 at once. Attempts are counted in a file
// in /state, an emptyDir of the pod, which only who has more than one part needs.
//
// In hooks and exec probes the program is called as
//
//	actor check ready|live|started
//	actor hook DURATION CODE [say TEXT]
//
// # Out of scope
//
// What kubelet makes of it; Kubernetes' types (package model).
package actor
