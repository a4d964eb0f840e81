package hooks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// agent is what servers see of whoever calls.
const agent = "kube-lifecycle/1.36"

// plainAnswer is how Go's client words that a server speaks HTTP where HTTPS was
// asked for. There is no other sign of it.
const plainAnswer = "server gave HTTP response to HTTPS client"

// httpGet makes the request of a hook. Any answer is a success.
func (r *Runner) httpGet(ctx context.Context, hook Request, get *v1.HTTPGetAction) error {
	req, err := request(ctx, hook, get)
	if err != nil {
		return err
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return r.dial(ctx, hook.UID, address)
		},
		// As documented for hooks. Nothing secret goes this way but what the pod's
		// own manifest says in its headers.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		// No Proxy: the environment's is the node's.
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: redirect}
	err = ask(client, req)
	if err == nil || !strings.Contains(err.Error(), plainAnswer) {
		return err
	}
	plain := req.Clone(ctx)
	plain.URL.Scheme = "http"
	plain.Header.Del("Authorization")
	if ask(client, plain) != nil {
		return err
	}
	if r.cfg.Events != nil {
		r.cfg.Events.Event(hook.Pod, "", v1.EventTypeWarning, "LifecycleHTTPFallback",
			fmt.Sprintf("request to HTTPS lifecycle hook %s got HTTP response, retry with HTTP succeeded", req.URL.Host))
	}
	return nil
}

// ask makes a request and reads a little of the answer, so that the server is
// not cut off in the middle of it.
func ask(client *http.Client, req *http.Request) error {
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	io.CopyN(io.Discard, resp.Body, maxOutput)
	return resp.Body.Close()
}

// redirect follows up to ten redirects as long as they stay with the host.
func redirect(req *http.Request, via []*http.Request) error {
	if req.URL.Hostname() != via[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	return nil
}

func request(ctx context.Context, hook Request, get *v1.HTTPGetAction) (*http.Request, error) {
	host := get.Host
	if host == "" {
		if !hook.PodIP.IsValid() {
			return nil, errors.New("the pod has no address")
		}
		host = hook.PodIP.String()
	}
	port, err := portOf(get.Port, hook.Container)
	if err != nil {
		return nil, err
	}
	// The path may carry a query. What does not parse is sent as it is.
	target, err := url.Parse(get.Path)
	if err != nil {
		target = &url.URL{Path: get.Path}
	}
	target.Scheme = strings.ToLower(string(get.Scheme))
	if target.Scheme == "" {
		target.Scheme = "http"
	}
	target.Host = net.JoinHostPort(host, strconv.Itoa(port))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = headers(get.HTTPHeaders)
	req.Host = req.Header.Get("Host")
	return req, nil
}

// headers adds what is always sent, unless the pod says otherwise; an empty
// Accept or User-Agent means none.
func headers(list []v1.HTTPHeader) http.Header {
	h := http.Header{}
	for _, header := range list {
		h.Add(header.Name, header.Value)
	}
	if _, ok := h["User-Agent"]; !ok {
		h.Set("User-Agent", agent)
	}
	if _, ok := h["Accept"]; !ok {
		h.Set("Accept", "*/*")
	} else if h.Get("Accept") == "" {
		h.Del("Accept")
	}
	return h
}

// portOf is a port by its number or by the name that the container gives it. The
// errors are kubelet's, the odd one too.
func portOf(port intstr.IntOrString, c *v1.Container) (int, error) {
	n := int(port.IntVal)
	if port.Type == intstr.String {
		n = -1
		for _, p := range c.Ports {
			if p.Name == port.StrVal {
				n = int(p.ContainerPort)
			}
		}
		if n < 0 {
			var err error
			if n, err = strconv.Atoi(port.StrVal); err != nil {
				return 0, err
			}
		}
	}
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("invalid port number: %d", n)
	}
	return n, nil
}

// dial connects to "host:port" from inside the pod. Errors are worded as those
// of Go's own dialer, which are what kubelet shows.
func (r *Runner) dial(ctx context.Context, uid, address string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.AddrError{Err: "invalid port", Addr: portText}}
	}
	var addrs []netip.Addr
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, addr)
	} else if addrs, err = r.cfg.Lookup(ctx, host); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	err = &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
	for i, addr := range addrs {
		to := netip.AddrPortFrom(addr.Unmap(), uint16(port))
		conn, failure := r.cfg.Dial.Dial(ctx, uid, to)
		if failure == nil {
			return conn, nil
		}
		var call *os.SyscallError
		if errors.As(failure, &call) && call.Syscall == "connect" {
			failure = &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: call}
		}
		if i == 0 { // of several addresses the first one's error is told
			err = failure
		}
	}
	return nil, err
}
