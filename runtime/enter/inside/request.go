package inside

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Request is one command, and everything that a process of the container is given.
type Request struct {
	Target Target

	Paths []string // programs to try in this order
	Args  []string
	Env   []string
	Home  bool // HOME is to be looked up in the container's /etc/passwd
	Cwd   string

	User            User
	Caps            Caps
	NoNewPrivileges bool
	OOMScoreAdj     int32
	Rlimits         []Rlimit // instead of those that the container's first process has

	Filters     [][]byte // seccomp programs (struct sock_filter), the oldest first
	FilterFlags uint32
}

// Target is a container that runs.
type Target struct {
	ID      string
	Pid     uint32   // of its first process, for this process
	Start   uint64   // when that began, in clock ticks since boot (/proc/PID/stat, field 22)
	Cgroups []string // its directories in hierarchies of version 1
	Unified string   // its directory in the unified hierarchy; "" is none
}

// User is who the process runs as.
type User struct {
	UID, GID, Umask uint32
	Groups          []uint32
}

// Caps are sets of capabilities, capability n as bit n.
type Caps struct{ Bounding, Effective, Permitted, Inheritable, Ambient uint64 }

// Rlimit is a limit of setrlimit(2).
type Rlimit struct {
	Resource   uint32
	Soft, Hard uint64
}

// maxRequest bounds a request: the kernel takes 2 MiB of arguments at most, and a
// seccomp program is 32 KiB at most.
const maxRequest = 8 << 20

var errRequest = errors.New("malformed request")

// Encode returns r as Decode reads it.
func (r *Request) Encode() []byte {
	w := &writer{b: make([]byte, 4, 4096)}
	r.fields(w)
	binary.LittleEndian.PutUint32(w.b, uint32(len(w.b)-4))
	return w.b
}

// Decode reads one request and no byte more.
func Decode(in io.Reader) (*Request, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, fmt.Errorf("reading request: %w", err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxRequest {
		return nil, errRequest
	}
	d := &reader{b: make([]byte, n)}
	if _, err := io.ReadFull(in, d.b); err != nil {
		return nil, fmt.Errorf("reading request: %w", err)
	}
	r := &Request{}
	r.fields(d)
	if d.bad || len(d.b) != 0 {
		return nil, errRequest
	}
	return r, nil
}

// codec is what fields is walked with: one order for both directions.
type codec interface {
	u64(v *uint64)
	str(v *string)
	count(n int) int // of the list that follows
}

func (r *Request) fields(c codec) {
	c.str(&r.Target.ID)
	u32(c, &r.Target.Pid)
	c.u64(&r.Target.Start)
	list(c, &r.Target.Cgroups, codec.str)
	c.str(&r.Target.Unified)
	for _, l := range []*[]string{&r.Paths, &r.Args, &r.Env} {
		list(c, l, codec.str)
	}
	c.str(&r.Cwd)
	for _, v := range []*uint32{&r.User.UID, &r.User.GID, &r.User.Umask, &r.FilterFlags} {
		u32(c, v)
	}
	list(c, &r.User.Groups, u32)
	for _, v := range []*uint64{&r.Caps.Bounding, &r.Caps.Effective, &r.Caps.Permitted, &r.Caps.Inheritable, &r.Caps.Ambient} {
		c.u64(v)
	}
	for _, v := range []*bool{&r.Home, &r.NoNewPrivileges} {
		n := uint64(0)
		if *v {
			n = 1
		}
		c.u64(&n)
		*v = n != 0
	}
	score := uint32(r.OOMScoreAdj)
	u32(c, &score)
	r.OOMScoreAdj = int32(score)
	list(c, &r.Rlimits, func(c codec, l *Rlimit) { u32(c, &l.Resource); c.u64(&l.Soft); c.u64(&l.Hard) })
	list(c, &r.Filters, func(c codec, f *[]byte) {
		s := string(*f)
		c.str(&s)
		*f = []byte(s)
	})
}

func u32(c codec, v *uint32) {
	n := uint64(*v)
	c.u64(&n)
	*v = uint32(n)
}

func list[T any](c codec, l *[]T, item func(codec, *T)) {
	n := c.count(len(*l))
	if n != len(*l) {
		*l = make([]T, n)
	}
	for i := range *l {
		item(c, &(*l)[i])
	}
}

type writer struct{ b []byte }

func (w *writer) u64(v *uint64) { w.b = binary.LittleEndian.AppendUint64(w.b, *v) }

func (w *writer) str(v *string) {
	w.count(len(*v))
	w.b = append(w.b, *v...)
}

func (w *writer) count(n int) int {
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(n))
	return n
}

type reader struct {
	b   []byte
	bad bool
}

func (d *reader) take(n int) []byte {
	if n > len(d.b) {
		d.bad, d.b = true, nil
		return make([]byte, min(n, 8))
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *reader) u64(v *uint64) { *v = binary.LittleEndian.Uint64(d.take(8)) }

func (d *reader) str(v *string) {
	if n := d.count(0); n > 0 {
		*v = string(d.take(n))
	}
}

// count never returns more than there are bytes left: no item is smaller than one.
func (d *reader) count(int) int {
	n := binary.LittleEndian.Uint32(d.take(4))
	if uint64(n) > uint64(len(d.b)) {
		d.bad = true
		return 0
	}
	return int(n)
}
