package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/davit-agent/davit/agent/server/client"
)

// logs is one `davit logs`.
type logs struct {
	client    *client.Client
	out, errw io.Writer
	o         client.LogOptions

	tail, limit          int64
	since                time.Duration
	sinceTime, selector  string
	all, prefix, ignore  bool
	maxRequests          int
	sinceGiven, tailGive bool
}

func newLogs(g *global) *cobra.Command {
	l := &logs{}
	cmd := &cobra.Command{
		Use:   "logs POD [CONTAINER]",
		Short: "Show what a container printed",
		Long: "Show what a container printed, or the containers of a pod, or those of all pods with certain labels.\n" +
			"With -f it goes on until the container ends; its next attempt has a log of its own.\n\n" +
			"Ctrl-C ends it with exit code 130.",
		Example: "  davit logs web -c server -f --timestamps\n  davit logs web --previous --tail 20\n" +
			"  davit logs web --all-containers --prefix --since 10m\n  davit logs -f -l 'app in (web,db)' --max-log-requests 10",
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l.client, l.out, l.errw = g.client(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			l.sinceGiven, l.tailGive = cmd.Flags().Changed("since"), cmd.Flags().Changed("tail")
			if err := l.parse(args, cmd.Flags().Changed("limit-bytes")); err != nil {
				return err
			}
			return l.run(cmd.Context())
		},
		ValidArgsFunction: g.podNames(&l.o.Namespace),
	}
	namespaceFlag(cmd, &l.o.Namespace)
	f := cmd.Flags()
	f.StringVarP(&l.o.Container, "container", "c", "", "container; the default one if left out")
	f.BoolVarP(&l.o.Follow, "follow", "f", false, "go on until the container ends")
	f.BoolVar(&l.o.Timestamps, "timestamps", false, "begin each line with its time")
	f.BoolVarP(&l.o.Previous, "previous", "p", false, "of the attempt before the newest")
	f.Int64Var(&l.tail, "tail", -1, "only the last so many lines; -1: all, but 10 of each container with -l")
	f.DurationVar(&l.since, "since", 0, "only what is not older, such as 5s, 2m or 3h")
	f.StringVar(&l.sinceTime, "since-time", "", "only what is from that time or later (RFC 3339, such as 2026-01-02T15:04:05Z)")
	f.Int64Var(&l.limit, "limit-bytes", 0, "end after so many bytes of each container; 0: no limit")
	f.BoolVar(&l.all, "all-containers", false, "of all containers of the pod, those that run before the others included")
	f.BoolVar(&l.prefix, "prefix", false, "begin each line with where it is from: [pod/NAME/CONTAINER]")
	f.StringVarP(&l.selector, "selector", "l", "", "of all pods with these labels, such as app=web,tier!=db or 'app in (web,db)'")
	f.IntVar(&l.maxRequests, "max-log-requests", 5, "follow at most so many containers at once")
	f.BoolVar(&l.ignore, "ignore-errors", false, "go on when the log of one of several containers cannot be read")
	return cmd
}

// parse checks what is given together.
func (l *logs) parse(args []string, limited bool) error {
	switch {
	case len(args) == 0 && l.selector == "":
		return usagef("logs takes POD [CONTAINER], or -l SELECTOR")
	case len(args) > 0 && l.selector != "":
		return usagef("only a selector (-l) or a POD name is allowed")
	case len(args) == 2 && l.o.Container != "" && l.o.Container != args[1]:
		return usagef("two containers are named, %s and %s", l.o.Container, args[1])
	case len(args) == 2:
		l.o.Container = args[1]
	}
	if len(args) > 0 {
		var err error
		if l.o.Pod, err = podArgument(args[0]); err != nil {
			return err
		}
	}
	switch {
	case l.all && l.o.Container != "":
		return usagef("--all-containers=true should not be specified with container name %s", l.o.Container)
	case l.tail < -1:
		return usagef("--tail must be greater than or equal to -1")
	case limited && l.limit <= 0:
		return usagef("--limit-bytes must be greater than 0")
	case l.sinceGiven && l.sinceTime != "":
		return usagef("only one of --since-time / --since may be used")
	case l.sinceGiven && l.since <= 0:
		return usagef("--since must be greater than 0")
	case l.maxRequests < 1:
		return usagef("--max-log-requests must be greater than 0")
	}
	return l.window(time.Now())
}

// window turns the flags about how much into options.
func (l *logs) window(now time.Time) error {
	if l.since > 0 {
		l.o.Since = now.Add(-l.since)
	}
	if l.sinceTime != "" {
		at, err := time.Parse(time.RFC3339, l.sinceTime)
		if err != nil {
			return usagef("--since-time %q is no RFC 3339 time, such as 2026-01-02T15:04:05Z", l.sinceTime)
		}
		l.o.Since = at
	}
	if l.selector != "" && !l.tailGive {
		l.tail = 10
	}
	if l.tail >= 0 {
		l.o.Tail = &l.tail
	}
	l.o.LimitBytes = l.limit
	l.o.Notice = func(text string) { fmt.Fprintln(l.errw, text) }
	return nil
}

// logSource is one log of those that are wanted.
type logSource struct {
	client.LogOptions
	label string // pod/NAME/CONTAINER; "" if nobody asked
}

func (l *logs) run(ctx context.Context) error {
	sources, err := l.sources(ctx)
	if err != nil {
		return err
	}
	if l.o.Follow && len(sources) > 1 {
		if len(sources) > l.maxRequests {
			return fmt.Errorf("you are attempting to follow %d log streams, but maximum allowed concurrency is %d, use --max-log-requests to increase the limit", len(sources), l.maxRequests)
		}
		err = l.follow(ctx, sources)
	} else {
		err = l.inTurn(ctx, sources)
	}
	if ctx.Err() != nil {
		return interrupted(ctx)
	}
	return err
}

// sources finds out which logs are meant.
func (l *logs) sources(ctx context.Context) ([]logSource, error) {
	if l.selector == "" && !l.all && !l.prefix {
		return []logSource{{LogOptions: l.o}}, nil
	}
	pods, err := l.pods(ctx)
	if err != nil {
		return nil, err
	}
	var out []logSource
	for i := range pods {
		p := &pods[i]
		names := []string{l.o.Container}
		if l.all {
			names = containerNames(p)
		}
		for _, name := range names {
			s := logSource{LogOptions: l.o}
			s.Pod, s.Container = p.Name, name
			if name == "" {
				name = defaultContainer(p)
			}
			s.label = "pod/" + p.Name + "/" + name
			out = append(out, s)
		}
	}
	return out, nil
}

func (l *logs) pods(ctx context.Context) ([]v1.Pod, error) {
	if l.selector == "" {
		p, err := l.client.Pod(ctx, l.o.Namespace, l.o.Pod)
		if err != nil {
			return nil, err
		}
		return []v1.Pod{*p}, nil
	}
	selector, err := labels.Parse(l.selector)
	if err != nil {
		return nil, usagef("-l %s: %v", l.selector, err)
	}
	list, err := l.client.Pods(ctx, l.o.Namespace)
	if err != nil {
		return nil, err
	}
	var out []v1.Pod
	for _, p := range list.Items {
		if selector.Matches(labels.Set(p.Labels)) {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		fmt.Fprintf(l.errw, "No resources found in %s namespace.\n", l.o.Namespace)
	}
	return out, nil
}

// containerNames returns the names of all containers in the order they start.
func containerNames(p *v1.Pod) []string {
	var out []string
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for _, c := range list {
			out = append(out, c.Name)
		}
	}
	for _, c := range p.Spec.EphemeralContainers {
		out = append(out, c.Name)
	}
	return out
}

// defaultContainer is the one that the daemon takes if none is named.
func defaultContainer(p *v1.Pod) string {
	marked := p.Annotations["kubectl.kubernetes.io/default-container"]
	for _, name := range containerNames(p) {
		if name == marked {
			return name
		}
	}
	if len(p.Spec.Containers) == 0 {
		return ""
	}
	return p.Spec.Containers[0].Name
}

// podArgument is the name in POD or pod/POD.
func podArgument(arg string) (string, error) {
	kind, name, ok := strings.Cut(arg, "/")
	switch {
	case !ok:
		return arg, nil
	case name == "" || strings.Contains(name, "/"):
		return "", usagef("%s: a pod is named as POD or pod/POD", arg)
	case kind != "pod" && kind != "pods" && kind != "po":
		return "", usagef("%s: only a pod can be named, as POD or pod/POD", arg)
	}
	return name, nil
}
