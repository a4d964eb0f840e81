package handler

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestPort(t *testing.T) {
	c := &v1.Container{Ports: []v1.ContainerPort{{Name: "web", ContainerPort: 8080}}}
	for _, x := range []struct {
		port intstr.IntOrString
		want int
		err  string
	}{
		{intstr.FromInt32(80), 80, ""},
		{intstr.FromString("web"), 8080, ""},
		{intstr.FromString("81"), 81, ""},
		{intstr.FromString("none"), 0, `parsing "none"`},
		{intstr.FromInt32(0), 0, "invalid port number: 0"},
		{intstr.FromInt32(65536), 0, "invalid port number: 65536"},
	} {
		got, err := Port(x.port, c)
		if got != x.want || (err == nil) != (x.err == "") || err != nil && !strings.Contains(err.Error(), x.err) {
			t.Errorf("%v: %d, %v", x.port, got, err)
		}
	}
}

func TestRequest(t *testing.T) {
	get := &v1.HTTPGetAction{Path: "/a?b=c", Port: intstr.FromInt32(80), Scheme: "HTTPS", HTTPHeaders: []v1.HTTPHeader{
		{Name: "Host", Value: "x.test"}, {Name: "Accept", Value: ""}, {Name: "X", Value: "1"}, {Name: "X", Value: "2"},
	}}
	req, err := Request(t.Context(), get, &v1.Container{}, "fd00::1", "me/1")
	if err != nil {
		t.Fatal(err)
	}
	_, accept := req.Header["Accept"]
	if req.URL.String() != "https://[fd00::1]:80/a?b=c" || req.Host != "x.test" || accept || len(req.Header["X"]) != 2 || req.UserAgent() != "me/1" {
		t.Errorf("%s, host %s, %v", req.URL, req.Host, req.Header)
	}
	away, err := http.NewRequest(http.MethodGet, "http://elsewhere/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := Redirect(away, []*http.Request{req}); !errors.Is(err, http.ErrUseLastResponse) {
		t.Errorf("a redirect to elsewhere: %v", err)
	}
	via := []*http.Request{req}
	for range 9 {
		if err := Redirect(req, via); err != nil {
			t.Fatalf("redirect %d: %v", len(via), err)
		}
		via = append(via, req)
	}
	if err := Redirect(req, via); err == nil {
		t.Error("redirects go on for ever")
	}
}

func TestDial(t *testing.T) {
	var tried []netip.AddrPort
	refused := errors.New("refused")
	l := Line{
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}, nil
		},
		Connect: func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
			tried = append(tried, to)
			return nil, refused
		},
		Explain: func(_ context.Context, to netip.AddrPort, err error) error {
			return errors.Join(errors.New(to.String()), err)
		},
	}
	_, err := l.Dial(t.Context(), "name.test:80")
	if len(tried) != 2 || !errors.Is(err, refused) || !strings.Contains(err.Error(), "192.0.2.1:80") {
		t.Errorf("tried %v: %v", tried, err)
	}
	for _, address := range []string{"no port", "192.0.2.1:70000"} {
		if _, err := l.Dial(t.Context(), address); err == nil || len(tried) != 2 {
			t.Errorf("%s: %v, tried %v", address, err, tried)
		}
	}
}
