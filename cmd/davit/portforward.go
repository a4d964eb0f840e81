package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/davit-agent/davit/agent/server/client"
)

// portForward is one `davit port-forward`.
type portForward struct {
	client         *client.Client
	out, errw      io.Writer
	namespace, pod string
	specs          []string
	addresses      []string
}

func newPortForward(g *global) *cobra.Command {
	o := &portForward{}
	cmd := &cobra.Command{
		Use:   "port-forward POD [LOCAL:]REMOTE...",
		Short: "Let local connections through to ports of a pod",
		Long: "Listen on local ports and carry each connection to a TCP port on the pod's own loopback address, whatever\n" +
			"the pod's network. REMOTE is a number or the name of a container's port; without LOCAL the local port is\n" +
			"the same, and an empty one (:80) is one that is free.\n\n" +
			"It ends when the pod does, and with Ctrl-C.",
		Example: "  davit port-forward web 8080:80\n  davit port-forward web :http\n" +
			"  davit port-forward --address 127.0.0.1,192.0.2.1 web 5432 9000:metrics",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("port-forward takes POD and at least one [LOCAL:]REMOTE port")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			o.client, o.out, o.errw = g.client(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			if o.pod, err = podArgument(args[0]); err != nil {
				return err
			}
			o.specs = args[1:]
			return o.run(cmd.Context())
		},
		ValidArgsFunction: g.podNames(&o.namespace),
	}
	namespaceFlag(cmd, &o.namespace)
	cmd.Flags().StringSliceVar(&o.addresses, "address", []string{"localhost"},
		"addresses to listen on, with commas between; localhost is 127.0.0.1 and ::1")
	return cmd
}

// forwardedPort is a local port that leads to a remote one.
type forwardedPort struct {
	local, remote uint16 // local 0: any
}

// parsePort reads [LOCAL:]REMOTE; a name is looked up among the pod's ports.
func parsePort(spec string, pod *v1.Pod) (p forwardedPort, err error) {
	local, remote, two := strings.Cut(spec, ":")
	if !two {
		local, remote = "", spec
	}
	if strings.Contains(remote, ":") {
		return p, usagef("invalid port format '%s': it is [LOCAL:]REMOTE", spec)
	}
	n, err := strconv.ParseUint(remote, 10, 16)
	switch {
	case err == nil && n == 0:
		return p, usagef("remote port must be > 0")
	case err == nil:
		p.remote = uint16(n)
	case remote == "" || remote[0] >= '0' && remote[0] <= '9':
		return p, usagef("error parsing remote port '%s': it is a number from 1 to 65535, or the name of a container's port", remote)
	default:
		if p.remote = namedPort(pod, remote); p.remote == 0 {
			return p, fmt.Errorf("pod '%s' does not have a named port '%s'", pod.Name, remote)
		}
	}
	switch {
	case !two:
		p.local = p.remote
	case local != "":
		n, err := strconv.ParseUint(local, 10, 16)
		if err != nil {
			return p, usagef("error parsing local port '%s': it is a number up to 65535; none, or 0, is any free one", local)
		}
		p.local = uint16(n)
	}
	return p, nil
}

// namedPort returns the number of a TCP port of the pod's containers, 0 if there
// is none of that name.
func namedPort(pod *v1.Pod, name string) uint16 {
	for _, list := range [][]v1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for _, c := range list {
			for _, p := range c.Ports {
				if p.Name == name && (p.Protocol == "" || p.Protocol == v1.ProtocolTCP) {
					return uint16(p.ContainerPort)
				}
			}
		}
	}
	return 0
}

func (o *portForward) run(ctx context.Context) error {
	pod, err := o.client.Pod(ctx, o.namespace, o.pod)
	if err != nil {
		return err
	}
	var ports []forwardedPort
	for _, spec := range o.specs {
		p, err := parsePort(spec, pod)
		if err != nil {
			return err
		}
		ports = append(ports, p)
	}
	if pod.Status.Phase != v1.PodRunning {
		return fmt.Errorf("unable to forward port because pod is not running. Current status=%v", pod.Status.Phase)
	}
	// The pod is watched before anything is told, so that no end is missed.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	seen, gone := make(chan struct{}), make(chan error, 1)
	go func() { gone <- o.untilGone(ctx, pod, seen) }()
	select {
	case err := <-gone:
		return err
	case <-seen:
	}
	f := &forwarder{client: o.client, out: &lockedWriter{w: o.out}, errw: &lockedWriter{w: o.errw},
		to: client.ForwardOptions{Namespace: o.namespace, Pod: pod.Name, UID: string(pod.UID)}}
	defer f.close()
	for _, p := range ports {
		if err := f.listen(p, o.addresses); err != nil {
			return err
		}
	}
	var all sync.WaitGroup
	all.Go(func() { f.serve(ctx) })
	err = <-gone
	cancel()
	f.close()
	all.Wait()
	return err
}

// errPodEnds is how a watch ends that has seen enough; errUnseen, one that has
// seen nothing of the pod although it begins with all there are.
var (
	errPodEnds = errors.New("the pod has ended")
	errUnseen  = errors.New("it was deleted")
)

// seenWithin is how long a watch may take to tell what there is.
const seenWithin = 10 * time.Second

// untilGone closes seen when the pod is being watched. It returns nil when ctx
// ends, and else what became of the pod.
func (o *portForward) untilGone(ctx context.Context, pod *v1.Pod, seen chan<- struct{}) error {
	watching, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	unseen := time.AfterFunc(seenWithin, func() { cancel(errUnseen) })
	defer unseen.Stop()
	why, first := "", true
	err := o.client.Watch(watching, o.namespace, func(typ watch.EventType, p *v1.Pod) error {
		switch {
		case p.UID != pod.UID:
			return nil
		case typ == watch.Deleted:
			why = "it was deleted"
		case p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed:
			why = "it has ended, its phase is " + string(p.Status.Phase)
		default:
			if first {
				first = false
				unseen.Stop()
				close(seen)
			}
			return nil
		}
		return errPodEnds
	})
	switch {
	case ctx.Err() != nil:
		return nil
	case err == nil:
		err = context.Cause(watching)
	case errors.Is(err, errPodEnds):
		return fmt.Errorf("lost connection to pod %s: %s", pod.Name, why)
	}
	return fmt.Errorf("lost connection to pod %s: %w", pod.Name, err)
}

// lockedWriter is an output that several connections write to.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// forwarder listens and carries connections.
type forwarder struct {
	client    *client.Client
	out, errw io.Writer
	to        client.ForwardOptions
	listeners []forwardListener
}

type forwardListener struct {
	net.Listener
	port forwardedPort // local is the one that it listens on
}

// serve accepts until the listeners are closed and ends connections with ctx. It
// returns when all have ended.
func (f *forwarder) serve(ctx context.Context) {
	var all sync.WaitGroup
	for _, l := range f.listeners {
		all.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					if !errors.Is(err, net.ErrClosed) {
						fmt.Fprintf(f.errw, "error: accepting connections on %s: %v\n", l.Addr(), err)
						if retryAccept(ctx) {
							continue
						}
					}
					return
				}
				all.Go(func() { f.carry(ctx, conn.(*net.TCPConn), l.port) })
			}
		})
	}
	all.Wait()
}

// carry carries one connection to its end. An error is told; the forwarding goes
// on.
func (f *forwarder) carry(ctx context.Context, conn *net.TCPConn, p forwardedPort) {
	fmt.Fprintf(f.out, "Handling connection for %d\n", p.local)
	to := f.to
	to.Port = p.remote
	if err := f.client.Forward(ctx, to, conn); err != nil && ctx.Err() == nil {
		fmt.Fprintf(f.errw, "error: an error occurred forwarding %d -> %d: %v\n", p.local, p.remote, err)
	}
}

func (f *forwarder) close() {
	for _, l := range f.listeners {
		l.Close()
	}
}
