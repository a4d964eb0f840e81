package model

import (
	"fmt"
	"path"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/davit-agent/davit/test/oracle/actor"
)

// Program returns what a container does.
func Program(c *v1.Container) (*actor.Program, error) {
	p, err := actor.Parse(c.Args)
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", c.Name, err)
	}
	return p, nil
}

// Probe returns how a probe of the attempt of container c ends, so long after
// its start.
func Probe(c *v1.Container, a *actor.Attempt, h v1.ProbeHandler, since time.Duration) actor.Answer {
	switch {
	case h.Exec != nil:
		return exec(a, h.Exec.Command, since)
	case h.HTTPGet != nil:
		return get(c, a, h.HTTPGet, since)
	case h.TCPSocket != nil:
		return dial(c, a, h.TCPSocket, since)
	case h.GRPC != nil:
		if a.Listens(int(h.GRPC.Port), since) != "grpc" {
			return actor.Answer{Refused: true}
		}
		service := ""
		if h.GRPC.Service != nil {
			service = *h.GRPC.Service
		}
		serving, _ := a.Serving(service, since)
		return actor.Answer{OK: serving}
	}
	return actor.Answer{}
}

// Hook returns how a hook of the attempt of container c ends.
func Hook(c *v1.Container, a *actor.Attempt, h *v1.LifecycleHandler, since time.Duration) actor.Answer {
	switch {
	case h.Exec != nil:
		return exec(a, h.Exec.Command, since)
	case h.HTTPGet != nil:
		return get(c, a, h.HTTPGet, since)
	case h.TCPSocket != nil:
		return dial(c, a, h.TCPSocket, since)
	case h.Sleep != nil:
		return actor.Answer{OK: true, Takes: time.Duration(h.Sleep.Seconds) * time.Second}
	}
	return actor.Answer{}
}

func exec(a *actor.Attempt, command []string, since time.Duration) actor.Answer {
	if len(command) < 2 || path.Base(command[0]) != "actor" {
		return actor.Answer{Missing: true}
	}
	return a.Exec(command[1:], since)
}

func get(c *v1.Container, a *actor.Attempt, h *v1.HTTPGetAction, since time.Duration) actor.Answer {
	kind := "http"
	if h.Scheme == v1.URISchemeHTTPS {
		kind = "https"
	}
	if a.Listens(port(c, h.Port), since) != kind {
		return actor.Answer{Refused: true}
	}
	r := actor.Request{Path: h.Path, Host: h.Host, Header: map[string]string{}}
	for _, x := range h.HTTPHeaders {
		r.Header[strings.ToLower(x.Name)] = x.Value
		if strings.EqualFold(x.Name, "host") {
			r.Host = x.Value
		}
	}
	for answer := a.HTTP(r, since); ; answer = a.HTTP(r, since) {
		if !strings.HasPrefix(r.Path, "/redirect/") {
			return answer
		}
		r.Path = actor.Location(r.Path)
	}
}

func dial(c *v1.Container, a *actor.Attempt, h *v1.TCPSocketAction, since time.Duration) actor.Answer {
	up := a.Listens(port(c, h.Port), since) != ""
	return actor.Answer{OK: up, Refused: !up}
}

func port(c *v1.Container, p intstr.IntOrString) int {
	for _, x := range c.Ports {
		if p.Type == intstr.String && x.Name == p.StrVal {
			return int(x.ContainerPort)
		}
	}
	return p.IntValue()
}
