package get

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/cmd/davit/usage"
)

func TestParseTargets(t *testing.T) {
	for args, want := range map[string]string{
		"pods":               "pods[]",
		"PO a b":             "pods[a b]",
		"svc,cm":             "services[] configmaps[]",
		"svc,cm a":           "services[a] configmaps[a]",
		"all":                "pods[] services[]",
		"pod/a":              "pods[a]",
		"pod/a svc/b pods/c": "pods[a c] services[b]",
		"problems":           "problems[]",
	} {
		targets, err := ParseTargets(strings.Fields(args))
		if err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		var got []string
		for _, x := range targets {
			got = append(got, fmt.Sprint(x.Kind.Name, x.Names))
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
	for _, args := range []string{"", "x", "pods,x", "pod/", "pod/a/b", "pod/a b", "pods a/b", "problems a", "problem/a", "pods,images", "/a"} {
		var wrong usage.Error
		if targets, err := ParseTargets(strings.Fields(args)); !errors.As(err, &wrong) {
			t.Errorf("%q: %v, %v", args, targets, err)
		}
	}
}

// What was printed is not printed again, until it says something new.
func TestShown(t *testing.T) {
	var out bytes.Buffer
	k, err := KindOf("pods")
	if err != nil {
		t.Fatal(err)
	}
	pod := func(phase v1.PodPhase, message string) entry {
		return podEntry(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", UID: "1"}, Status: v1.PodStatus{Phase: phase, Message: message}})
	}
	view := &rowView{out: &out, now: time.Now}
	view.open(k)
	s := &shown{view: view, kind: k, keys: map[string]string{}}
	s.remember(pod(v1.PodPending, ""))
	for _, e := range []entry{pod(v1.PodPending, "that no table shows"), pod(v1.PodRunning, ""), pod(v1.PodRunning, "x")} {
		if err := s.change(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.gone(pod(v1.PodRunning, "")); err != nil {
		t.Fatal(err)
	}
	if err := s.change(pod(v1.PodRunning, "")); err != nil { // it is there again
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "Running"); got != 3 || strings.Contains(out.String(), "Pending") {
		t.Errorf("%s", out.String())
	}
}
