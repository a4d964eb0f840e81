package probes

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime/oci"
)

const (
	// tries is how often a probe that cannot be made is tried, as on kubelet.
	tries = 3
	// maxOutput is how much is read of what a probe answers, in bytes; kubelet's
	// figure.
	maxOutput = 10 << 10
	// version is the Kubernetes release whose kubelet the probes are like. Servers
	// see it in the User-Agent.
	version = "1.36"
)

// subject is what one probe asks.
type subject struct {
	pod       *v1.Pod
	ip        netip.Addr
	container *v1.Container
	id        string
	kind      kind
	spec      *v1.Probe
}

// verdict is what one try of a probe found, in the words that kubelet's messages
// use.
type verdict string

const (
	success verdict = "success"
	warning verdict = "warning" // a success that is told
	failure verdict = "failure"
	unknown verdict = "unknown"
)

// answer is what one try of a probe came to.
type answer struct {
	verdict verdict
	output  string
	err     error // it could not be made
}

func failed(format string, args ...any) answer {
	return answer{verdict: failure, output: fmt.Sprintf(format, args...)}
}

func broken(err error) answer { return answer{verdict: unknown, err: err} }

// probe asks until there is an answer, tells everybody whom it concerns but
// vitals, and returns what vitals is to hear.
func (p *Prober) probe(ctx context.Context, s subject) (outcome, string) {
	start := time.Now()
	var a answer
	for range tries {
		if a = p.try(ctx, s); a.err == nil || ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return errored, ""
	}
	// What a program writes may be anything, an event's text may not.
	a.output = strings.ToValidUTF8(a.output, "\uFFFD")
	var message string
	found, result, reason := healthy, "successful", "Unhealthy"
	switch {
	case a.err != nil:
		found, message = errored, fmt.Sprintf("%s probe errored and resulted in %s state: %v", s.kind, a.verdict, a.err)
	case a.verdict == failure:
		found, result, message = unhealthy, "failed", fmt.Sprintf("%s probe failed: %s", s.kind, a.output)
	case a.verdict == warning:
		reason, message = "ProbeWarning", fmt.Sprintf("%s probe warning: %s", s.kind, a.output)
	}
	p.cfg.Logger.Debug("probed", "pod", s.pod.Name, "namespace", s.pod.Namespace, "uid", s.pod.UID,
		"container", s.container.Name, "probe", s.kind.String(), "verdict", string(a.verdict), "made", a.err == nil)
	if message != "" && p.cfg.Events != nil {
		p.cfg.Events.Event(s.pod, s.container.Name, v1.EventTypeWarning, reason, message)
	}
	if found != errored && p.cfg.Metrics != nil {
		p.cfg.Metrics.Probed(s.kind.String(), result, time.Since(start))
	}
	return found, message
}

// try asks once.
func (p *Prober) try(ctx context.Context, s subject) answer {
	timeout := seconds(s.spec.TimeoutSeconds)
	switch {
	case s.spec.Exec != nil:
		return p.exec(ctx, s, timeout)
	case s.spec.HTTPGet != nil:
		return p.http(ctx, s, timeout)
	case s.spec.TCPSocket != nil:
		return p.tcp(ctx, s, timeout)
	case s.spec.GRPC != nil:
		return p.grpc(ctx, s, timeout)
	}
	return broken(fmt.Errorf("missing probe handler for %s_%s(%s):%s", s.pod.Name, s.pod.Namespace, s.pod.UID, s.container.Name))
}

func (p *Prober) exec(ctx context.Context, s subject, timeout time.Duration) answer {
	command := expand(s.spec.Exec.Command, s.container.Env)
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	code, output, err := p.cfg.Exec.Exec(within, s.id, command, maxOutput)
	switch {
	case err == nil && code == 0:
		return answer{verdict: success, output: string(output)}
	case errors.Is(within.Err(), context.DeadlineExceeded):
		return failed("command timed out: %q timed out after %s", strings.Join(command, " "), timeout)
	case err != nil:
		return broken(err)
	}
	return failed("%s", output[:min(len(output), maxOutput)])
}

// expand fills in variables that the container's spec gives a value. One whose
// value comes from elsewhere is empty here, as on kubelet.
func expand(command []string, env []v1.EnvVar) []string {
	values := make(map[string]string, len(env))
	for _, e := range env {
		values[e.Name] = e.Value
	}
	out := make([]string, len(command))
	for i, arg := range command {
		out[i] = oci.Expand(arg, func(name string) (string, bool) {
			value, ok := values[name]
			return value, ok
		})
	}
	return out
}
