// Package await waits for what the daemon makes of changed manifests: pods that
// become Ready, or go. It asks again and again, which on a unix socket costs little,
// and so needs no more of the daemon than any look does.
package await

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/server/client"
	"github.com/davit-agent/davit/agent/server/wire"
	"github.com/davit-agent/davit/cmd/davit/manifests"
	"github.com/davit-agent/davit/cmd/davit/printer"
)

const (
	// waitEvery is how often somebody who waits looks.
	waitEvery = 200 * time.Millisecond
	// settle is how long a problem of a file that was just written may still be
	// that of what stood in it before.
	settle = 2 * time.Second
)

// podKey is a pod as one manifest makes it: another manifest of the same name
// gives another UID or at least another hash.
type podKey struct{ uid, hash string }

func keyOf(p *v1.Pod) podKey {
	return podKey{string(p.UID), p.Annotations["kubernetes.io/config.hash"]}
}

// Pods are pods as they were at one time.
type Pods map[podKey]bool

// Now returns the pods that there are.
func Now(ctx context.Context, c *client.Client) (Pods, error) {
	list, err := c.Pods(ctx, "")
	if err != nil {
		return nil, err
	}
	out := Pods{}
	for i := range list.Items {
		out[keyOf(&list.Items[i])] = true
	}
	return out, nil
}

// Waiter waits for what the daemon makes of changed manifests.
type Waiter struct {
	Client  *client.Client
	Out     io.Writer
	Node    string
	Timeout time.Duration // 0: none
}

// Ready waits until the pods of all changes are Ready or have succeeded. A pod
// that fails, or whose manifest the daemon refuses, is an error. before are the
// pods that were there before the change.
func (w *Waiter) Ready(ctx context.Context, changes []manifests.Change, before Pods) error {
	began := time.Now()
	return w.poll(ctx, "Ready", changes, func(c manifests.Change, list *v1.PodList, problems []wire.Problem) (bool, error) {
		for i := range list.Items {
			p := &list.Items[i]
			if !w.is(p, c) || c.Action != manifests.Unchanged && before[keyOf(p)] || p.DeletionTimestamp != nil {
				continue
			}
			if done, err := isReady(p); done || err != nil {
				if err == nil {
					fmt.Fprintln(w.Out, printer.Safe(c.ID.String()), "is", map[bool]string{true: "done", false: "Ready"}[p.Status.Phase == v1.PodSucceeded])
				}
				return true, err
			}
		}
		for _, p := range problems {
			if p.File == c.Path && time.Since(began) > settle {
				return true, errors.New(printer.ProblemLine(p))
			}
		}
		return false, nil
	})
}

// is tells whether p comes from the manifest that c is about.
func (w *Waiter) is(p *v1.Pod, c manifests.Change) bool {
	return p.Namespace == c.Namespace && p.Name == c.Name+"-"+strings.ToLower(w.Node)
}

func isReady(p *v1.Pod) (bool, error) {
	switch p.Status.Phase {
	case v1.PodFailed:
		return true, fmt.Errorf("pod %s/%s has failed: see 'davit explain pod %s -n %s'", p.Namespace, p.Name, p.Name, p.Namespace)
	case v1.PodSucceeded:
		return true, nil
	}
	for _, c := range p.Status.Conditions {
		if c.Type == v1.PodReady && c.Status == v1.ConditionTrue {
			return true, nil
		}
	}
	return false, nil
}

// Gone waits until none of the pods that there were before is left of what was
// deleted.
func (w *Waiter) Gone(ctx context.Context, changes []manifests.Change, before Pods) error {
	return w.poll(ctx, "gone", changes, func(c manifests.Change, list *v1.PodList, _ []wire.Problem) (bool, error) {
		for i := range list.Items {
			if p := &list.Items[i]; w.is(p, c) && before[keyOf(p)] {
				return false, nil
			}
		}
		return true, nil
	})
}

// poll looks until every change about a pod is done.
func (w *Waiter) poll(ctx context.Context, what string, changes []manifests.Change, done func(manifests.Change, *v1.PodList, []wire.Problem) (bool, error)) error {
	var left []manifests.Change
	for _, c := range changes {
		if c.Kind == "Pod" {
			left = append(left, c)
		}
	}
	limit := time.Now().Add(w.Timeout)
	var errs []error
	for len(left) > 0 {
		list, err := w.Client.Pods(ctx, "")
		var problems []wire.Problem
		if err == nil {
			problems, err = w.Client.Problems(ctx)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("waiting for %s to be %s: interrupted; davit goes on with it", left[0].ID, what)
		}
		if err != nil {
			return err
		}
		var still []manifests.Change
		for _, c := range left {
			ok, err := done(c, list, problems)
			if !ok {
				still = append(still, c)
			}
			errs = append(errs, err)
		}
		if left = still; len(left) == 0 {
			break
		}
		if w.Timeout > 0 && time.Now().After(limit) {
			return errors.Join(append(errs, w.late(ctx, what, left)...)...)
		}
		select {
		case <-ctx.Done():
		case <-time.After(waitEvery):
		}
	}
	return errors.Join(errs...)
}

// late tells what each of left waits for.
func (w *Waiter) late(ctx context.Context, what string, left []manifests.Change) (errs []error) {
	for _, c := range left {
		why := ""
		if e, err := w.Client.Explain(ctx, c.Namespace, c.Name); err == nil && e.Pod != nil {
			why = ": " + e.Pod.Why
		}
		errs = append(errs, fmt.Errorf("%s is not %s after %s%s", c.ID, what, w.Timeout, why))
	}
	return errs
}
