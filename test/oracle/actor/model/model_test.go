package model_test

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/davit-agent/davit/test/oracle/actor"
	"github.com/davit-agent/davit/test/oracle/actor/model"
)

func TestProbe(t *testing.T) {
	c := &v1.Container{
		Name:  "main",
		Args:  []string{"http", "80", "https", "81", "grpc", "82", "tcp", "83", "ready", "2s-", "run"},
		Ports: []v1.ContainerPort{{Name: "web", ContainerPort: 80}},
	}
	p, err := model.Program(c)
	if err != nil {
		t.Fatal(err)
	}
	live, nobody := "live", "nobody"
	get := func(path string, port intstr.IntOrString, scheme v1.URIScheme) v1.ProbeHandler {
		return v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: path, Port: port, Scheme: scheme}}
	}
	for name, c2 := range map[string]struct {
		h             v1.ProbeHandler
		before, after actor.Answer // at 1 s, at 2 s; only OK, Refused and Missing are compared
	}{
		"exec":              {v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"/bin/actor", "check", "ready"}}}, actor.Answer{}, actor.Answer{OK: true}},
		"no such program":   {v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"/bin/nope"}}}, actor.Answer{Missing: true}, actor.Answer{Missing: true}},
		"http":              {get("/ready", intstr.FromInt32(80), v1.URISchemeHTTP), actor.Answer{}, actor.Answer{OK: true}},
		"named port":        {get("/ready", intstr.FromString("web"), v1.URISchemeHTTP), actor.Answer{}, actor.Answer{OK: true}},
		"redirect":          {get("/redirect/ready", intstr.FromInt32(80), ""), actor.Answer{}, actor.Answer{OK: true}},
		"elsewhere":         {get("/away", intstr.FromInt32(80), ""), actor.Answer{OK: true}, actor.Answer{OK: true}},
		"https":             {get("/ready", intstr.FromInt32(81), v1.URISchemeHTTPS), actor.Answer{}, actor.Answer{OK: true}},
		"http to https":     {get("/ready", intstr.FromInt32(81), v1.URISchemeHTTP), actor.Answer{Refused: true}, actor.Answer{Refused: true}},
		"nobody there":      {get("/ready", intstr.FromInt32(99), ""), actor.Answer{Refused: true}, actor.Answer{Refused: true}},
		"tcp":               {v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt32(83)}}, actor.Answer{Refused: true}, actor.Answer{OK: true}},
		"grpc":              {v1.ProbeHandler{GRPC: &v1.GRPCAction{Port: 82}}, actor.Answer{}, actor.Answer{OK: true}},
		"grpc service":      {v1.ProbeHandler{GRPC: &v1.GRPCAction{Port: 82, Service: &live}}, actor.Answer{OK: true}, actor.Answer{OK: true}},
		"no such service":   {v1.ProbeHandler{GRPC: &v1.GRPCAction{Port: 82, Service: &nobody}}, actor.Answer{}, actor.Answer{}},
		"grpc not spoken":   {v1.ProbeHandler{GRPC: &v1.GRPCAction{Port: 80}}, actor.Answer{Refused: true}, actor.Answer{Refused: true}},
		"header is missing": {get("/header/X-A/b", intstr.FromInt32(80), ""), actor.Answer{}, actor.Answer{}},
	} {
		for i, want := range []actor.Answer{c2.before, c2.after} {
			got := model.Probe(c, p.Attempt(0), c2.h, time.Duration(i+1)*time.Second)
			if got.OK != want.OK || got.Refused != want.Refused || got.Missing != want.Missing {
				t.Errorf("%s after %d s: %+v, want %+v", name, i+1, got, want)
			}
		}
	}
	h := get("/header/X-A/b", intstr.FromInt32(80), "")
	h.HTTPGet.HTTPHeaders = []v1.HTTPHeader{{Name: "x-a", Value: "b"}}
	if got := model.Probe(c, p.Attempt(0), h, 0); !got.OK {
		t.Errorf("with the header: %+v", got)
	}
	h = get("/host/shop", intstr.FromInt32(80), "")
	h.HTTPGet.HTTPHeaders = []v1.HTTPHeader{{Name: "Host", Value: "shop"}}
	if got := model.Probe(c, p.Attempt(0), h, 0); !got.OK {
		t.Errorf("with the host: %+v", got)
	}
}

func TestHook(t *testing.T) {
	c := &v1.Container{Name: "main", Args: []string{"http", "80", "run"}}
	p, err := model.Program(c)
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		h    v1.LifecycleHandler
		want actor.Answer
	}{
		"exec":    {v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"/bin/actor", "hook", "3s", "0"}}}, actor.Answer{OK: true, Takes: 3 * time.Second}},
		"fails":   {v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"/bin/actor", "hook", "3s", "4", "say", "no"}}}, actor.Answer{Takes: 3 * time.Second, Code: 4, Output: "no\n"}},
		"sleep":   {v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 2}}, actor.Answer{OK: true, Takes: 2 * time.Second}},
		"http":    {v1.LifecycleHandler{HTTPGet: &v1.HTTPGetAction{Path: "/hook/2s/200", Port: intstr.FromInt32(80)}}, actor.Answer{OK: true, Takes: 2 * time.Second, Code: 200, Output: "hook"}},
		"refused": {v1.LifecycleHandler{HTTPGet: &v1.HTTPGetAction{Path: "/hook/2s/200", Port: intstr.FromInt32(90)}}, actor.Answer{Refused: true}},
	} {
		if got := model.Hook(c, p.Attempt(0), &x.h, 0); got != x.want {
			t.Errorf("%s: %+v, want %+v", name, got, x.want)
		}
	}
	if _, err := model.Program(&v1.Container{Name: "main", Args: []string{"dance"}}); err == nil {
		t.Error("nonsense is a program")
	}
}
