package record

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
)

func entry(uid string) Entry {
	return Entry{
		UID: uid, Origin: "/etc/davit/manifests/web.yaml",
		Pod: &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{UID: "u1", Namespace: "default", Name: "web-n1"},
			Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "a", Image: "x:1"}}},
		},
		Facts: lifecycle.Facts{
			Format: "1", BootID: "b", Accepted: time.Unix(1700000000, 0).UTC(),
			PodIPs: []netip.Addr{netip.MustParseAddr("10.85.0.2"), netip.MustParseAddr("fd00::2")},
		},
	}
}

func TestStoreKeepsWhatItWasGiven(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := entry("u1")
	if err := s.Create(want); err != nil {
		t.Fatal(err)
	}
	want.Facts.Containers = map[string]lifecycle.ContainerFacts{"a": {RestartCount: 3}}
	if err := s.SaveFacts("u1", want.Facts); err != nil {
		t.Fatal(err)
	}
	got, leftovers, problems := s.Load()
	if len(leftovers) != 0 || len(problems) != 0 {
		t.Fatalf("leftovers %v, problems %v", leftovers, problems)
	}
	if diff := cmp.Diff([]Entry{want}, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
	for _, f := range []string{SpecFile, FactsFile} {
		info, err := os.Stat(filepath.Join(s.Dir("u1"), f))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v: a pod's environment may hold secrets", f, info.Mode(), err)
		}
	}
	if err := s.Remove("u1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("u1"); err != nil {
		t.Errorf("removing twice: %v", err)
	}
	if got, _, _ := s.Load(); len(got) != 0 {
		t.Errorf("still there: %v", got)
	}
}

// Wherever the making or removing of a record is cut, Load tells an accepted
// pod from a left-over, and a damaged record from both.
func TestStoreLoadAfterAnyCut(t *testing.T) {
	for _, c := range []struct {
		name, want string
		damage     func(dir string) error
	}{
		{"nothing", "record", func(string) error { return nil }},
		{"facts only, as before pod.json was written", "leftover", func(dir string) error { return os.Remove(filepath.Join(dir, SpecFile)) }},
		{"empty directory", "leftover", func(dir string) error {
			return os.Remove(filepath.Join(dir, SpecFile))
		}},
		{"a temporary file left over", "record", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, ".facts.json.tmp"), []byte("{"), 0o600)
		}},
		{"torn pod.json", "problem", func(dir string) error { return os.WriteFile(filepath.Join(dir, SpecFile), []byte(`{"pod":{`), 0o600) }},
		{"torn facts.json", "problem", func(dir string) error { return os.WriteFile(filepath.Join(dir, FactsFile), nil, 0o600) }},
		{"facts.json missing", "problem", func(dir string) error { return os.Remove(filepath.Join(dir, FactsFile)) }},
		{"another pod's record", "problem", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, SpecFile), []byte(`{"pod":{"metadata":{"uid":"u2"}}}`), 0o600)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Create(entry("u1")); err != nil {
				t.Fatal(err)
			}
			if err := c.damage(s.Dir("u1")); err != nil {
				t.Fatal(err)
			}
			records, leftovers, problems := s.Load()
			got := strings.Repeat("record", len(records)) + strings.Repeat("leftover", len(leftovers)) + strings.Repeat("problem", len(problems))
			if got != c.want {
				t.Errorf("got %q, want %q (%v)", got, c.want, problems)
			}
			for _, p := range problems {
				if !strings.Contains(p.Error(), "u1") {
					t.Errorf("the problem does not name the pod: %v", p)
				}
			}
		})
	}
}

func TestStoreRefusesUIDsThatLeaveTheDirectory(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, uid := range []string{"", ".", "..", "../x", "a/b", ".hidden", strings.Repeat("x", 129)} {
		r := entry(uid)
		if err := s.Create(r); err == nil {
			t.Errorf("UID %q was taken", uid)
		}
	}
}

// On a full disk a record cannot be made or changed, says so, keeps what it
// was, and can be removed.
func TestStoreOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("davit-test", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatalf("this test needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := entry("u1")
	if err := s.Create(r); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	changed := r.Facts
	changed.BootID = strings.Repeat("x", 8192)
	if err := s.SaveFacts("u1", changed); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("saving on a full disk: %v", err)
	}
	r2 := entry("u1")
	r2.UID, r2.Pod.UID = "u2", "u2"
	if err := s.Create(r2); err == nil {
		t.Error("a record was made on a full disk")
	}
	records, _, problems := s.Load()
	if len(records) != 1 || records[0].Facts.BootID != "b" || len(problems) != 0 {
		t.Errorf("the old record is not as it was: %v %v", records, problems)
	}
	if err := s.Remove("u1"); err != nil {
		t.Errorf("removing on a full disk: %v", err)
	}
}
