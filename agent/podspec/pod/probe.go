package pod

import (
	"fmt"
	"slices"
	"strconv"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/davit-agent/davit/agent/podspec/check"
)

// validateServing checks what containers have that are there to serve, sidecars
// among them: probes and hooks.
func validateServing(c *v1.Container, spec *v1.PodSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if c.Lifecycle != nil {
		errs = append(errs, validateLifecycle(c.Lifecycle, spec, at.Child("lifecycle"))...)
	}
	once := func(p *v1.Probe, at *field.Path) {
		if p == nil {
			return
		}
		errs = append(errs, validateProbe(p, at)...)
		if p.SuccessThreshold != 1 {
			errs = append(errs, field.Invalid(at.Child("successThreshold"), p.SuccessThreshold, "must be 1"))
		}
	}
	once(c.LivenessProbe, at.Child("livenessProbe"))
	if p := c.ReadinessProbe; p != nil {
		at := at.Child("readinessProbe")
		errs = append(errs, validateProbe(p, at)...)
		if g := p.TerminationGracePeriodSeconds; g != nil {
			errs = append(errs, field.Invalid(at.Child("terminationGracePeriodSeconds"), *g, "must not be set for readinessProbes"))
		}
	}
	once(c.StartupProbe, at.Child("startupProbe"))
	return errs
}

// forbidServing refuses the same for init containers, which end.
func forbidServing(c *v1.Container, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"lifecycle", c.Lifecycle != nil}, {"livenessProbe", c.LivenessProbe != nil},
		{"readinessProbe", c.ReadinessProbe != nil}, {"startupProbe", c.StartupProbe != nil},
	} {
		if f.set {
			errs = append(errs, field.Forbidden(at.Child(f.name), "may not be set for init containers without restartPolicy=Always"))
		}
	}
	return errs
}

func validateProbe(p *v1.Probe, at *field.Path) field.ErrorList {
	errs := handler{exec: p.Exec, httpGet: p.HTTPGet, tcpSocket: p.TCPSocket, grpc: p.GRPC}.validate(0, at)
	for _, n := range []struct {
		name  string
		value int32
	}{
		{"initialDelaySeconds", p.InitialDelaySeconds}, {"timeoutSeconds", p.TimeoutSeconds}, {"periodSeconds", p.PeriodSeconds},
		{"successThreshold", p.SuccessThreshold}, {"failureThreshold", p.FailureThreshold},
	} {
		if n.value < 0 {
			errs = append(errs, field.Invalid(at.Child(n.name), n.value, "must be greater than or equal to 0"))
		}
	}
	if g := p.TerminationGracePeriodSeconds; g != nil && *g <= 0 {
		errs = append(errs, field.Invalid(at.Child("terminationGracePeriodSeconds"), *g, "must be greater than 0"))
	}
	return errs
}

func validateLifecycle(l *v1.Lifecycle, spec *v1.PodSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	grace := int64(v1.DefaultTerminationGracePeriodSeconds)
	if spec.TerminationGracePeriodSeconds != nil {
		grace = *spec.TerminationGracePeriodSeconds
	}
	hook := func(h *v1.LifecycleHandler, at *field.Path) {
		if h != nil {
			errs = append(errs, handler{exec: h.Exec, httpGet: h.HTTPGet, tcpSocket: h.TCPSocket, sleep: h.Sleep}.validate(grace, at)...)
		}
	}
	hook(l.PostStart, at.Child("postStart"))
	hook(l.PreStop, at.Child("preStop"))
	if l.StopSignal != nil {
		at := at.Child("stopSignal")
		if spec.OS == nil {
			errs = append(errs, field.Forbidden(at, "may not be set for containers with empty `spec.os.name`: write os: {name: linux} in the pod's spec"))
		} else {
			errs = append(errs, check.OneOf(at, *l.StopSignal, stopSignals...)...)
		}
	}
	return errs
}

// stopSignals are those that a container may be stopped with: all of Linux, by
// all of their names.
var stopSignals = func() []v1.Signal {
	all := []v1.Signal{
		"SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO", "SIGIOT",
		"SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGSEGV", "SIGSTKFLT", "SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP",
		"SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ", "SIGRTMIN", "SIGRTMAX",
	}
	for i := 1; i <= 15; i++ {
		all = append(all, v1.Signal("SIGRTMIN+"+strconv.Itoa(i)))
	}
	for i := 1; i <= 14; i++ {
		all = append(all, v1.Signal("SIGRTMAX-"+strconv.Itoa(i)))
	}
	slices.Sort(all)
	return all
}()

// handler is what a probe or hook does; one of its fields is set.
type handler struct {
	exec      *v1.ExecAction
	httpGet   *v1.HTTPGetAction
	tcpSocket *v1.TCPSocketAction
	grpc      *v1.GRPCAction
	sleep     *v1.SleepAction
}

// validate checks a handler; a hook may sleep for the pod's grace period at most.
func (h handler) validate(grace int64, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	some := false
	one := func(set bool, name string, validate func(at *field.Path) field.ErrorList) {
		switch {
		case !set:
		case some:
			errs = append(errs, field.Forbidden(at.Child(name), "may not specify more than 1 handler type"))
		default:
			some = true
			errs = append(errs, validate(at.Child(name))...)
		}
	}
	one(h.exec != nil, "exec", func(at *field.Path) field.ErrorList {
		if len(h.exec.Command) > 0 {
			return nil
		}
		return field.ErrorList{field.Required(at.Child("command"), "name the program to run in the container")}
	})
	one(h.httpGet != nil, "httpGet", func(at *field.Path) field.ErrorList { return validateHTTPGet(h.httpGet, at) })
	one(h.tcpSocket != nil, "tcpSocket", func(at *field.Path) field.ErrorList { return validatePort(h.tcpSocket.Port, at.Child("port")) })
	one(h.grpc != nil, "grpc", func(at *field.Path) field.ErrorList {
		return check.Invalid(at.Child("port"), h.grpc.Port, validation.IsValidPortNum(int(h.grpc.Port)))
	})
	one(h.sleep != nil, "sleep", func(at *field.Path) field.ErrorList {
		if s := h.sleep.Seconds; s < 0 || s > grace {
			return field.ErrorList{field.Invalid(at, s, fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d)", grace))}
		}
		return nil
	})
	if !some {
		errs = append(errs, field.Required(at, "must specify a handler type"))
	}
	return errs
}

func validateHTTPGet(h *v1.HTTPGetAction, at *field.Path) field.ErrorList {
	errs := validatePort(h.Port, at.Child("port"))
	errs = append(errs, check.OneOf(at.Child("scheme"), h.Scheme, v1.URISchemeHTTP, v1.URISchemeHTTPS)...)
	for i, header := range h.HTTPHeaders {
		errs = append(errs, check.Invalid(at.Child("httpHeaders").Index(i).Child("name"), header.Name, validation.IsHTTPHeaderName(header.Name))...)
	}
	return errs
}

// validatePort checks the number or name of a port.
func validatePort(p intstr.IntOrString, at *field.Path) field.ErrorList {
	if p.Type == intstr.String {
		return check.Invalid(at, p.StrVal, validation.IsValidPortName(p.StrVal))
	}
	return check.Invalid(at, p.IntVal, validation.IsValidPortNum(p.IntValue()))
}
