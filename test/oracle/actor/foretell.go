package actor

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Sent is a signal that a container got: TERM, USR1, KILL and so on.
type Sent struct {
	Signal string
	At     time.Duration // since its start
}

// End is how an attempt ends.
type End struct {
	At   time.Duration // since its start
	Code int32
	OOM  bool
}

// End returns how an attempt ends that got these signals, in their order; false:
// it does not.
func (a *Attempt) End(signals ...Sent) (End, bool) {
	end, ends := End{At: a.Wait, Code: a.Code}, !a.Forever
	if a.OOM {
		end.Code, end.OOM = 137, true
	}
	sooner := func(e End) {
		if !ends || e.At < end.At {
			end, ends = e, true
		}
	}
	for _, s := range signals {
		r, told := a.Reactions[s.Signal]
		switch {
		case s.Signal == "KILL":
			sooner(End{At: s.At, Code: 137})
		case told && !r.Ignore:
			sooner(End{At: s.At + r.After, Code: r.Code})
		case !told && s.Signal == "TERM":
			sooner(End{At: s.At})
		}
	}
	return end, ends
}

// Answer is what a probe or a hook gets.
type Answer struct {
	OK    bool
	Takes time.Duration // how long it waits for that, if nobody ends it before
	// Code is the exit code, or the status of HTTP; 0 if there is none.
	Code   int
	Output string // what it printed, or the body
	// Refused: nobody listens there.
	Refused bool
	// Missing: there is no such program.
	Missing bool
}

// Exec returns how the program ends that is called in the container.
func (a *Attempt) Exec(args []string, since time.Duration) Answer {
	w := &words{left: args}
	switch w.next("a word") {
	case "check":
		what := w.next("what to check")
		if w.err == nil && a.is(what, since) {
			return Answer{OK: true, Output: what + "\n"}
		}
		return Answer{Code: 1, Output: "not " + what + "\n"}
	case "hook":
		r := Answer{Takes: w.duration(), Code: w.number(255)}
		if len(w.left) > 0 && w.next("") == "say" {
			r.Output = w.next("a text") + "\n"
		}
		if w.err == nil {
			r.OK = r.Code == 0
			return r
		}
	}
	return Answer{Code: 2}
}

func (a *Attempt) is(what string, since time.Duration) bool {
	switch what {
	case "ready", "live", "started":
		return a.Answers[what].On(since)
	}
	return false
}

// Request is what an HTTP server of an actor looks at.
type Request struct {
	Path, Host string
	Header     map[string]string // by name in lower case
}

// HTTP returns what the HTTP servers answer:
//
//	/ready /live /started      200 or 503
//	/redirect/PATH             302 to /PATH
//	/away                      302 to another host
//	/hook/DURATION/STATUS      STATUS, after DURATION
//	/header/NAME/VALUE         200 if the request has it, else 400
//	/host/NAME                 200 if it was asked for by that name, else 400
//
// all else 404. Refused is not told: see Listens.
func (a *Attempt) HTTP(r Request, since time.Duration) Answer {
	status := func(code int, body string) Answer {
		return Answer{OK: code >= 200 && code < 400, Code: code, Output: body}
	}
	met := func(ok bool) Answer {
		if ok {
			return status(200, "as wanted")
		}
		return status(400, "not as wanted")
	}
	w := strings.Split(strings.TrimPrefix(r.Path, "/"), "/")
	switch {
	case len(w) == 1 && (w[0] == "ready" || w[0] == "live" || w[0] == "started"):
		if a.is(w[0], since) {
			return status(200, w[0])
		}
		return status(503, "not "+w[0])
	case w[0] == "redirect" && len(w) > 1, w[0] == "away":
		return status(302, "")
	case w[0] == "hook" && len(w) == 3:
		takes, err := time.ParseDuration(w[1])
		code, err2 := strconv.Atoi(w[2])
		if err == nil && err2 == nil && code >= 100 && code < 600 {
			answer := status(code, "hook")
			answer.Takes = takes
			return answer
		}
	case w[0] == "header" && len(w) == 3:
		return met(r.Header[strings.ToLower(w[1])] == w[2])
	case w[0] == "host" && len(w) == 2:
		return met(bare(r.Host) == w[1])
	}
	return status(404, "no such page")
}

// bare is a host without its port.
func bare(host string) string {
	if a, err := netip.ParseAddrPort(host); err == nil {
		return a.Addr().String()
	}
	name, _, _ := strings.Cut(host, ":")
	return name
}

// Location returns where a path of a redirect leads.
func Location(path string) string {
	if path == "/away" {
		return "http://elsewhere.invalid/"
	}
	return strings.TrimPrefix(path, "/redirect")
}

// Serving tells whether the gRPC health service calls a service served, and
// whether it knows it.
func (a *Attempt) Serving(service string, since time.Duration) (serving, known bool) {
	switch service {
	case "":
		return a.is("ready", since), true
	case "ready", "live", "started":
		return a.is(service, since), true
	}
	return false, false
}

// Listens returns what listens at a port, "" if nothing does.
func (a *Attempt) Listens(port int, since time.Duration) string {
	for _, s := range a.Servers {
		if s.Port == port && (s.Kind != "tcp" || a.is("ready", since)) {
			return s.Kind
		}
	}
	return ""
}

// String is for messages of tests.
func (e End) String() string {
	return fmt.Sprintf("%d at %v, oom %v", e.Code, e.At, e.OOM)
}
