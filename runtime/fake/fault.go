package fake

// Fault is an error that a call will return.
type Fault struct {
	// Op is the call: image, create, start, signal, delete, list, exec; ensure,
	// inspect, remove, sandboxes; open, close, streams.
	Op    string
	Nth   int   // which call from now on, counted from 1; 0 is every
	Err   error // what it returns
	After bool  // it takes effect all the same, as one that is cut while it answers
}

// Fail has a call fail. Faults of the same Op count side by side; the first
// that is due counts.
func (n *Node) Fail(f Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = append(n.faults, &f)
}

// Heal takes all faults away.
func (n *Node) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = nil
}

// dueLocked counts a call and returns the fault that hits it, if any.
func (n *Node) dueLocked(op string) *Fault {
	var due *Fault
	left := n.faults[:0]
	for _, f := range n.faults {
		if f.Op != op {
			left = append(left, f)
			continue
		}
		every := f.Nth == 0
		if !every {
			f.Nth--
		}
		if due == nil && f.Nth == 0 {
			due = f
		}
		if every || f.Nth > 0 {
			left = append(left, f)
		}
	}
	n.faults = left
	return due
}
