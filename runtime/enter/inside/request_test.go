package inside

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func sample() *Request {
	return &Request{
		Target: Target{ID: "c0", Pid: 4711, Start: 1 << 40, Cgroups: []string{"/sys/fs/cgroup/pids/a", "/sys/fs/cgroup/cpu/a"}, Unified: "/sys/fs/cgroup/a"},
		Paths:  []string{"/bin/sh", "/sbin/sh"}, Args: []string{"sh", "-c", "", "ünï"}, Env: []string{"A=b", "C="}, Home: true, Cwd: "/srv",
		User: User{UID: 1000, GID: 1 << 31, Umask: 0o22, Groups: []uint32{1, 2}},
		Caps: Caps{Bounding: 1 << 40, Effective: 2, Permitted: 3, Inheritable: 4, Ambient: 5}, NoNewPrivileges: true, OOMScoreAdj: -998,
		Rlimits: []Rlimit{{Resource: 7, Soft: 10, Hard: unix.RLIM_INFINITY}}, Filters: [][]byte{make([]byte, 16), {1, 2, 3, 4, 5, 6, 7, 8}}, FilterFlags: 2,
	}
}

func TestRequestThereAndBack(t *testing.T) {
	for _, want := range []*Request{sample(), {}} {
		b := want.Encode()
		in := bytes.NewReader(append(b, "what follows"...))
		got, err := Decode(in)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v comes back as %+v, %v", want, got, err)
		}
		if in.Len() != len("what follows") {
			t.Errorf("%d bytes are left", in.Len())
		}
	}
	// No field is forgotten: each changes the text.
	v := reflect.ValueOf(sample()).Elem()
	for i := range v.NumField() {
		r := sample()
		reflect.ValueOf(r).Elem().Field(i).SetZero()
		if bytes.Equal(r.Encode(), sample().Encode()) {
			t.Errorf("field %s is not encoded", v.Type().Field(i).Name)
		}
	}
}

func TestMalformedRequests(t *testing.T) {
	good := sample().Encode()
	for n := range good {
		cut := bytes.Clone(good[:n])
		if _, err := Decode(bytes.NewReader(cut)); err == nil {
			t.Fatalf("the first %d of %d bytes are taken for a request", n, len(good))
		}
		if n >= 4 {
			binary.LittleEndian.PutUint32(cut, uint32(n-4))
			if _, err := Decode(bytes.NewReader(cut)); err == nil {
				t.Fatalf("%d of %d bytes are taken for a request", n, len(good))
			}
		}
	}
	huge := binary.LittleEndian.AppendUint32(nil, maxRequest+1)
	if _, err := Decode(bytes.NewReader(append(huge, make([]byte, maxRequest+1)...))); err == nil {
		t.Error("more than the most is taken")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sample().Encode()[4:])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(bytes.NewReader(append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)))
		if err != nil {
			return
		}
		again, err := Decode(bytes.NewReader(r.Encode()))
		if err != nil || !reflect.DeepEqual(r.Encode(), again.Encode()) {
			t.Errorf("%+v comes back as %+v, %v", r, again, err)
		}
	})
}

func TestResultThereAndBack(t *testing.T) {
	for _, want := range []Result{{}, {Status: 0x2a00}, {NotRun: true, Reason: "why"}, {NotRun: true, Gone: true, Reason: "x"}} {
		if got, err := DecodeResult(want.Encode()); err != nil || got != want {
			t.Errorf("%+v comes back as %+v, %v", want, got, err)
		}
	}
	if _, err := DecodeResult([]byte("abcd")); err == nil {
		t.Error("four bytes are taken for a result")
	}
}

func TestFiltersThereAndBack(t *testing.T) {
	want := sample().Filters
	var b bytes.Buffer
	if err := WriteFilters(&b, want); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadFilters(b.Bytes()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v comes back as %v, %v", want, got, err)
	}
	for n := 1; n < b.Len(); n++ {
		if got, err := ReadFilters(b.Bytes()[:n]); err == nil && n != 20 { // the first, whole
			t.Errorf("%d bytes are taken for %v", n, got)
		}
	}
}

func TestParse(t *testing.T) {
	stat := "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000"
	if start, state := StartOf(stat); start != 98765 || state != "S" {
		t.Errorf("start %d, state %q", start, state)
	}
	for _, bad := range []string{"", ")", "1 (x) S 1 2"} {
		if start, state := StartOf(bad); start != 0 || state != "" {
			t.Errorf("%q: start %d, state %q", bad, start, state)
		}
	}
	passwd := "root:x:0:0:root:/root:/bin/sh\n# comment\nbroken:x\nneg:x:-1:1::/neg:\napp:x:1000:1000::/home/app:/bin/sh\nsecond:x:1000:1000::/no:\nhomeless:x:7:7:::\n"
	for uid, want := range map[uint32]string{0: "/root", 1000: "/home/app", 1: "/", 7: ""} {
		if got := homeOf(passwd, uid); got != want {
			t.Errorf("home of %d is %q, want %q", uid, got, want)
		}
	}
}

// A process' limit is what its Go runtime has raised it from.
func TestOpenFiles(t *testing.T) {
	const inf = unix.RLIM_INFINITY
	for _, c := range []struct{ have, want unix.Rlimit }{
		{unix.Rlimit{Cur: 524287, Max: 524288}, unix.Rlimit{Cur: 1024, Max: 524288}},
		{unix.Rlimit{Cur: 524288, Max: 524288}, unix.Rlimit{Cur: 524288, Max: 524288}},
		{unix.Rlimit{Cur: 200, Max: 5000}, unix.Rlimit{Cur: 200, Max: 5000}},
		{unix.Rlimit{Cur: 99, Max: 100}, unix.Rlimit{Cur: 99, Max: 100}},
		{unix.Rlimit{Cur: inf, Max: inf}, unix.Rlimit{Cur: inf, Max: inf}},
		{unix.Rlimit{Cur: inf - 1, Max: inf}, unix.Rlimit{Cur: 1024, Max: inf}},
		{unix.Rlimit{}, unix.Rlimit{}},
	} {
		if got := openFiles(c.have); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.have, got, c.want)
		}
	}
}

// The file of this very process says what getrlimit(2) says.
func TestParseLimits(t *testing.T) {
	fd, err := unix.Open("/proc/self", unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	text, err := readAt(fd, "limits")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseLimits(text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		var want unix.Rlimit
		if err := unix.Prlimit(0, i, nil, &want); err != nil || got[i] != want {
			t.Errorf("limit %d is %+v, want %+v, %v", i, got[i], want, err)
		}
	}
	for _, bad := range []string{"", text[:len(text)/2], strings.Replace(text, "Max open files ", "Max shut files ", 1), strings.ReplaceAll(text, "unlimited", "umlimited")} {
		if _, err := parseLimits(bad); err == nil {
			t.Errorf("%q is taken for limits", bad)
		}
	}
}
