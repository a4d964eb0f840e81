// Package shimgroup decides which containers share a shim, and when a shim may
// be joined or ended.
//
// A shim leaves when its last container is deleted, and one that is leaving
// can neither be joined nor be told from a live one. Hence the rules: a group
// is joined only while a container lives in it or is being made in it; the
// deletion of the last one closes it for good; a container is deleted from a
// group only when no other's creation hangs on it; and a name is used for one
// life of one group. All of it is bookkeeping under one short lock, so that a
// stuck create or delete holds up only whom it must.
package shimgroup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
)

// Groups is the bookkeeping. Its methods may be used concurrently.
type Groups struct {
	mu          sync.Mutex
	podsPerShim int
	all         map[string]*group
	of          map[string]*group // by container ID
}

type group struct {
	name    string
	runtime string // containerd runtime; containers of different ones cannot share a shim
	members map[string]*member
	used    bool // a task was made in it, or tried
	closed  bool
	change  chan struct{} // closed and replaced whenever a creation ends
}

type member struct {
	pod  string
	busy bool // its task is being made
	live bool // it has a task
}

// New makes an empty bookkeeping for at most podsPerShim pods in a shim.
func New(podsPerShim int) *Groups {
	return &Groups{podsPerShim: podsPerShim, all: map[string]*group{}, of: map[string]*group{}}
}

func (g *group) count(is func(*member) bool, except string) int {
	n := 0
	for id, m := range g.members {
		if id != except && is(m) {
			n++
		}
	}
	return n
}

func isBusy(m *member) bool { return m.busy }
func isLive(m *member) bool { return m.live }

// open says whether a container may be given to the group: its shim is alive
// or will first be made by one of the members.
func (g *group) open() bool {
	if g.closed {
		return false
	}
	return !g.used || g.count(isLive, "")+g.count(isBusy, "") > 0
}

func (g *group) hasPod(pod string) bool {
	for _, m := range g.members {
		if m.pod == pod {
			return true
		}
	}
	return false
}

func (g *group) pods() int {
	pods := map[string]bool{}
	for _, m := range g.members {
		pods[m.pod] = true
	}
	return len(pods)
}

// Choose gives a container that has no group one and returns its name. The
// same container gets the same answer again.
func (gs *Groups) Choose(id, pod, rt string) string {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.chooseLocked(id, pod, rt, id)
}

// chooseLocked chooses a group; fresh is the name of the one that is founded
// if there is none to join.
func (gs *Groups) chooseLocked(id, pod, rt, fresh string) string {
	if g, ok := gs.of[id]; ok {
		return g.name
	}
	var join *group
	for _, g := range gs.all {
		if g.runtime != rt || !g.open() {
			continue
		}
		if g.hasPod(pod) {
			join = g
			break
		}
		// The fullest one that has room, so that emptying ones may go.
		if n := g.pods(); n < gs.podsPerShim && (join == nil || n > join.pods()) {
			join = g
		}
	}
	if join == nil {
		join = gs.add(fresh, rt)
	}
	join.members[id] = &member{pod: pod}
	gs.of[id] = join
	return join.name
}

func (gs *Groups) add(name, rt string) *group {
	g := &group{name: name, runtime: rt, members: map[string]*member{}, change: make(chan struct{})}
	gs.all[name] = g
	return g
}

// Seed enters a container as it was found. A group of which no member has a
// task is not joined any more, but for one that its founder never used.
func (gs *Groups) Seed(id, pod, rt, name string, live bool) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if g, ok := gs.of[id]; ok {
		if m := g.members[id]; live && !m.live && !m.busy {
			m.live, g.used = true, true
		}
		return
	}
	g, ok := gs.all[name]
	if !ok {
		g = gs.add(name, rt)
	}
	g.members[id] = &member{pod: pod, live: live}
	g.used = g.used || live || name != id
	gs.of[id] = g
}

// Enter is called before a container's task is made and returns the group in
// which to make it: its own, or a fresh one if that one's shim has gone or
// again says that it has failed the container. If the group that it leaves has
// no task then, abandoned is its name. Leave must follow, if err is nil.
//
// While another container's task is made as the group's first, it waits: two
// that start a shim for one address at a time can end up with two shims, of
// which one is never used (seen on 1.6.20).
func (gs *Groups) Enter(ctx context.Context, id string, again bool) (name, abandoned string, err error) {
	for {
		gs.mu.Lock()
		g := gs.of[id]
		if g == nil {
			gs.mu.Unlock()
			return "", "", nil
		}
		if !again && !g.closed && g.count(isLive, "") == 0 && g.count(isBusy, id) > 0 {
			change := g.change
			gs.mu.Unlock()
			select {
			case <-change:
				continue
			case <-ctx.Done():
				return "", "", ctx.Err()
			}
		}
		name, abandoned = gs.enterLocked(g, id, again)
		gs.mu.Unlock()
		return name, abandoned, nil
	}
}

func (gs *Groups) enterLocked(g *group, id string, again bool) (name, abandoned string) {
	if again || !g.open() {
		old, pod := g, g.members[id].pod
		old.closed = old.closed || again // for newcomers; who is in it stays
		gs.dropLocked(id)
		gs.chooseLocked(id, pod, old.runtime, freshName(id))
		g = gs.of[id]
		if old.count(isLive, "")+old.count(isBusy, "") == 0 {
			abandoned = old.name
		}
	}
	g.members[id].busy, g.used = true, true
	return g.name, abandoned
}

// NameOf returns the group of a container, "" if it has none.
func (gs *Groups) NameOf(id string) string {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if g := gs.of[id]; g != nil {
		return g.name
	}
	return ""
}

// Members returns how many containers there are in all groups.
func (gs *Groups) Members() int {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return len(gs.of)
}

// Leave is called when the making of a task has ended.
func (gs *Groups) Leave(id string, live bool) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g := gs.of[id]
	if g == nil {
		return
	}
	m := g.members[id]
	m.busy, m.live = false, live
	close(g.change)
	g.change = make(chan struct{})
}

// Retire is called before a container's task is deleted. It waits while the
// creation of another's task hangs on the shim that this deletion would end.
// From its return on the task does not count as one any more, so that of two
// that are deleted at a time neither relies on the other.
func (gs *Groups) Retire(ctx context.Context, id string) error {
	for {
		gs.mu.Lock()
		g := gs.of[id]
		if g == nil {
			gs.mu.Unlock()
			return nil
		}
		others := g.count(isLive, id) > 0
		if others || g.count(isBusy, id) == 0 {
			g.members[id].live = false
			g.closed = g.closed || g.used && !others
			gs.mu.Unlock()
			return nil
		}
		change := g.change
		gs.mu.Unlock()
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Idle says whether a container's group has no other one with a task, or with
// one in the making.
func (gs *Groups) Idle(id string) bool {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g := gs.of[id]
	return g != nil && g.count(isLive, id)+g.count(isBusy, id) == 0
}

// Drop forgets a container whose task is gone.
func (gs *Groups) Drop(id string) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.dropLocked(id)
}

func (gs *Groups) dropLocked(id string) {
	g := gs.of[id]
	if g == nil {
		return
	}
	delete(gs.of, id)
	delete(g.members, id)
	if len(g.members) == 0 {
		delete(gs.all, g.name)
	}
}

// freshName names a group that a container founds after its first one. The
// random part keeps a name from ever serving twice, whatever was in between.
func freshName(id string) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, see its documentation
	return id + "." + hex.EncodeToString(b[:])
}
