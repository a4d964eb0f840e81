package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// api is a Cluster whose API server is a handler.
func api(t *testing.T, serve http.HandlerFunc) *Cluster {
	s := httptest.NewServer(serve)
	t.Cleanup(s.Close)
	return &Cluster{t: t, API: &Client{HTTP: s.Client(), Base: s.URL}}
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func TestCreateFillsIn(t *testing.T) {
	c := api(t, func(w http.ResponseWriter, r *http.Request) {
		var pod v1.Pod
		if err := json.NewDecoder(r.Body).Decode(&pod); err != nil {
			t.Error(err)
		}
		if r.Method != http.MethodPost || r.URL.Path != "/api/v1/namespaces/default/pods" || pod.Kind != "Pod" || pod.Spec.NodeName != NodeName {
			t.Errorf("%s %s with a %s on node %q", r.Method, r.URL, pod.Kind, pod.Spec.NodeName)
		}
		pod.UID = "u"
		answer(w, http.StatusCreated, pod)
	})
	made, err := c.Create(t.Context(), &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}})
	if err != nil || made.UID != "u" {
		t.Errorf("made %v, %v", made, err)
	}
}

// An object that is there already is replaced; other refusals are errors that
// tell what the server said.
func TestApply(t *testing.T) {
	for _, test := range []struct {
		code  int
		calls string
		fails string
	}{
		{http.StatusCreated, "POST /api/v1/namespaces/n/configmaps", ""},
		{http.StatusConflict, "POST /api/v1/namespaces/n/configmaps PUT /api/v1/namespaces/n/configmaps/m", ""},
		{http.StatusForbidden, "POST /api/v1/namespaces/n/configmaps", "403 Forbidden: no entry"},
	} {
		var calls []string
		c := api(t, func(w http.ResponseWriter, r *http.Request) {
			calls = append(calls, r.Method+" "+r.URL.Path)
			switch {
			case r.Method == http.MethodPut || test.code < 300:
				answer(w, http.StatusOK, v1.ConfigMap{})
			default:
				answer(w, test.code, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status"},
					Reason: metav1.StatusReason(http.StatusText(test.code)), Message: "no entry"})
			}
		})
		err := c.Apply(t.Context(), "n", &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}})
		if got := strings.Join(calls, " "); got != test.calls {
			t.Errorf("%d: calls %s, want %s", test.code, got, test.calls)
		}
		if (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%d: error %v, want %q in it", test.code, err, test.fails)
		}
	}
	if err := api(t, nil).Apply(t.Context(), "n", &v1.Pod{}); err == nil {
		t.Error("a pod was applied as if it were a ConfigMap")
	}
}

// watched serves a watch: one line each.
func watched(t *testing.T, lines ...string) *Cluster {
	return api(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") != "1" {
			t.Errorf("no watch: %s", r.URL)
		}
		for _, l := range lines {
			fmt.Fprintln(w, l)
		}
	})
}

func TestWatch(t *testing.T) {
	added := `{"type":"ADDED","object":{"metadata":{"name":"p"}}}`
	changed := `{"type":"MODIFIED","object":{"metadata":{"name":"p"},"status":{"phase":"Running"}}}`
	deleted := `{"type":"DELETED","object":{"metadata":{"name":"p"}}}`
	for _, test := range []struct {
		name  string
		lines []string
		stop  bool // at the first that is Running
		seen  string
		fails string
	}{
		{"to its deletion", []string{added, changed, deleted, added}, false, "- Running- -gone", ""},
		{"until it is enough", []string{added, changed, deleted}, true, "- Running-", ""},
		{"the server ends it", []string{added}, false, "-", "EOF"},
		{"the server complains", []string{added, `{"type":"ERROR","object":{"code":410}}`}, false, "-", "410"},
		{"no JSON", []string{added, "x"}, false, "-", "invalid character"},
		{"no pod", []string{`{"type":"ADDED","object":7}`}, false, "", "decoding a pod"},
	} {
		var seen []string
		err := watched(t, test.lines...).Watch(t.Context(), &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n"}}, func(s Sight) bool {
			what := string(s.Pod.Status.Phase) + "-"
			if s.Deleted {
				what += "gone"
			}
			seen = append(seen, what)
			return test.stop && s.Pod.Status.Phase == v1.PodRunning
		})
		if got := strings.Join(seen, " "); got != test.seen {
			t.Errorf("%s: saw %q, want %q", test.name, got, test.seen)
		}
		if (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%s: error %v, want %q in it", test.name, err, test.fails)
		}
	}
}

// Only what an event was when it was made is told, and an end that was asked for
// is no error.
func TestWatchEvents(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := watched(t, `{"type":"ADDED","object":{"reason":"A"}}`, `{"type":"MODIFIED","object":{"reason":"A","count":2}}`, `{"type":"ADDED","object":{"reason":"B"}}`)
	var seen []string
	err := c.WatchEvents(ctx, "n", func(e v1.Event) {
		seen = append(seen, e.Reason)
		if e.Reason == "B" {
			cancel()
		}
	})
	if err != nil || strings.Join(seen, " ") != "A B" {
		t.Errorf("saw %v, %v", seen, err)
	}
	if err := watched(t).WatchEvents(t.Context(), "n", func(v1.Event) {}); err == nil {
		t.Error("a watch that the server ended is no error")
	}
}

func TestEventsInOrder(t *testing.T) {
	c := api(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, v1.EventList{Items: []v1.Event{
			{ObjectMeta: metav1.ObjectMeta{Name: "p.18a2"}}, {ObjectMeta: metav1.ObjectMeta{Name: "p.18a1"}}}})
	})
	events, err := c.Events(t.Context(), &v1.Pod{})
	if err != nil || len(events) != 2 || events[0].Name != "p.18a1" {
		t.Errorf("events %v, %v", events, err)
	}
}

func TestIsCode(t *testing.T) {
	err := fmt.Errorf("doing: %w", &StatusError{Code: 409})
	if !IsCode(err, 409) || IsCode(err, 404) || IsCode(errors.New("409"), 409) || IsCode(nil, 409) {
		t.Error("IsCode mistakes one answer for another")
	}
}
