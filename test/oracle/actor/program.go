package actor

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Program is what a container does in its attempts.
type Program struct {
	// Name is the file in /state in which attempts are counted.
	Name     string
	Attempts []Attempt
}

// Attempt is what a container does once.
type Attempt struct {
	Reactions map[string]Reaction // by signal: TERM, USR1
	Answers   map[string]Schedule // by what is asked: ready, live, started
	Servers   []Server
	Say       []string
	Messages  []Message

	Forever bool          // it does not end of itself
	Wait    time.Duration // after which it ends
	Code    int32         // with this
	OOM     bool          // or by taking memory until it is killed
}

// Reaction is what a signal does.
type Reaction struct {
	Ignore bool
	After  time.Duration
	Code   int32
}

// Server is something that listens: http, https, grpc or tcp.
type Server struct {
	Kind string
	Port int
}

// Message is a text that is written to a file.
type Message struct{ File, Text string }

// Attempt returns what the n-th attempt does, from 0.
func (p *Program) Attempt(n int) *Attempt {
	return &p.Attempts[min(n, len(p.Attempts)-1)]
}

// Parse reads a container's arguments.
func Parse(args []string) (*Program, error) {
	p := &Program{Name: "main"}
	if len(args) >= 2 && args[0] == "as" {
		p.Name, args = args[1], args[2:]
	}
	for {
		part := args
		n := len(args)
		for i, w := range args {
			if w == "--" {
				part, n = args[:i], i
				break
			}
		}
		a, err := parseAttempt(part)
		if err != nil {
			return nil, fmt.Errorf("reading attempt %d of actor: %w", len(p.Attempts), err)
		}
		p.Attempts = append(p.Attempts, *a)
		if n == len(args) {
			return p, nil
		}
		args = args[n+1:]
	}
}

// words is what is left of an attempt's words.
type words struct {
	left []string
	err  error
}

func (w *words) next(what string) string {
	if len(w.left) == 0 {
		w.fail("%s is missing at the end", what)
		return ""
	}
	v := w.left[0]
	w.left = w.left[1:]
	return v
}

func (w *words) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

func (w *words) duration() time.Duration {
	v := w.next("a duration")
	d, err := time.ParseDuration(v)
	if w.err == nil && (err != nil || d < 0) {
		w.fail("%q is no duration", v)
	}
	return d
}

func (w *words) number(most int) int {
	v := w.next("a number")
	n, err := strconv.Atoi(v)
	if w.err == nil && (err != nil || n < 0 || n > most) {
		w.fail("%q is no number from 0 to %d", v, most)
	}
	return n
}

func (w *words) schedule() Schedule {
	v := w.next("times")
	s, err := parseSchedule(v)
	if err != nil {
		w.fail("%w", err)
	}
	return s
}

func parseAttempt(args []string) (*Attempt, error) {
	a := &Attempt{Reactions: map[string]Reaction{}, Answers: map[string]Schedule{}}
	w := &words{left: args}
	ended := false
	for len(w.left) > 0 && w.err == nil {
		if ended {
			return nil, fmt.Errorf("%q stands after the end", w.left[0])
		}
		switch word := w.next("a word"); word {
		case "on-term", "on-usr1":
			a.Reactions[strings.ToUpper(strings.TrimPrefix(word, "on-"))] = Reaction{After: w.duration(), Code: int32(w.number(255))}
		case "ignore-term":
			a.Reactions["TERM"] = Reaction{Ignore: true}
		case "ready", "live", "started":
			a.Answers[word] = w.schedule()
		case "http", "https", "grpc", "tcp":
			a.Servers = append(a.Servers, Server{word, w.number(65535)})
		case "say":
			a.Say = append(a.Say, w.next("a text"))
		case "message":
			a.Messages = append(a.Messages, Message{w.next("a file"), w.next("a text")})
		case "run":
			a.Forever, ended = true, true
		case "wait":
			a.Wait = w.duration()
		case "exit":
			a.Code, ended = int32(w.number(255)), true
		case "oom":
			a.OOM, ended = true, true
		default:
			w.fail("%q is no word of an actor", word)
		}
	}
	if w.err == nil && !ended {
		w.fail("it says not how it ends: run, exit CODE or oom")
	}
	return a, w.err
}

// Schedule is when something is so, as times since the attempt's start, in
// order; nil is always.
type Schedule []Span

// Span is from From until before To; To 0 is for ever.
type Span struct{ From, To time.Duration }

// On tells whether it is so at a time.
func (s Schedule) On(since time.Duration) bool {
	for _, x := range s {
		if since >= x.From && (x.To == 0 || since < x.To) {
			return true
		}
	}
	return s == nil
}

func parseSchedule(text string) (Schedule, error) {
	out := Schedule{}
	if text == "never" {
		return out, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, ok := strings.Cut(part, "-")
		var x Span
		var err error
		if ok && from != "" {
			x.From, err = time.ParseDuration(from)
		}
		if ok && to != "" && err == nil {
			x.To, err = time.ParseDuration(to)
		}
		after := len(out) == 0 || out[len(out)-1].To > 0 && out[len(out)-1].To <= x.From
		if !ok || err != nil || to != "" && x.To <= x.From || !after {
			return nil, fmt.Errorf("%q is no times: want FROM-TO,FROM-TO in order, or never", text)
		}
		out = append(out, x)
	}
	return out, nil
}
