package pods

import (
	"slices"
	"time"

	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/agent/lifecycle/explain"
)

// sight is what a worker looked at last and what it is at. It is published
// whole and never changed, so that others may read it while the worker goes on.
type sight struct {
	in    lifecycle.Input
	step  *lifecycle.Step // under way; nil: none
	began time.Time       // of step
}

// publish shows others what the worker is at.
func (w *worker) publish(in lifecycle.Input, step *lifecycle.Step) {
	w.shown.Store(&sight{in: in, step: step, began: stamp(w.now())})
}

// Explained is a pod's explanation and what it was made of.
type Explained struct {
	lifecycle.Explanation
	Origin string          // the file it came from
	Step   *lifecycle.Step // under way; what is explained is how the pod was before it
	Began  time.Time       // of Step
	// Successor is the UID of a pod that waits for this one's name; "": none does.
	Successor string
}

// Explain tells why the pod of this UID is where it is. False: there is no such
// pod, or nothing has looked at it yet.
func (p *Pods) Explain(uid string) (Explained, bool) {
	p.mu.Lock()
	w := p.workers[uid]
	p.mu.Unlock()
	if w == nil || w.shown.Load() == nil {
		return Explained{}, false
	}
	s := w.shown.Load()
	in := s.in
	in.Now = stamp(p.d.Now())
	e := Explained{Explanation: lifecycle.Explain(in), Origin: w.origin, Step: s.step, Began: s.began}
	if s.step != nil { // it is no longer to come
		e.Next = slices.DeleteFunc(e.Next, func(c explain.Coming) bool { return c.What == s.step.Describe() })
	}
	if d, ok := p.desired(in.Pod.Namespace, in.Pod.Name); ok && (string(d.Pod.UID) != uid || edited(in.Pod, d.Pod)) {
		e.Successor = string(d.Pod.UID)
	}
	return e, true
}

// Unstarted returns a pod of this name that is wanted but has no worker, and why;
// false: there is none. The node's suffix may be left out.
func (p *Pods) Unstarted(namespace, name string) (d Desired, why string, ok bool) {
	if d, ok = p.desired(namespace, name); !ok {
		if d, ok = p.desired(namespace, name+"-"+p.cfg.NodeName); !ok {
			return d, "", false
		}
	}
	uid := string(d.Pod.UID)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unreadable[uid] {
		return d, "the pod's record " + p.store.Dir(uid) + " cannot be read, so the pod is left as it is: repair or remove it and restart davit", true
	}
	return d, "the node has not taken the pod on yet", p.workers[uid] == nil
}

// desired returns what is wanted by that name.
func (p *Pods) desired(namespace, name string) (Desired, bool) {
	for _, d := range p.d.Source.List() {
		if d.Pod.Namespace == namespace && d.Pod.Name == name {
			return d, true
		}
	}
	return Desired{}, false
}
