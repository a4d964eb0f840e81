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
	"os"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/handler"
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
	client := &http.Client{Transport: transport, CheckRedirect: handler.Redirect}
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

func request(ctx context.Context, hook Request, get *v1.HTTPGetAction) (*http.Request, error) {
	host := get.Host
	if host == "" {
		if !hook.PodIP.IsValid() {
			return nil, errors.New("the pod has no address")
		}
		host = hook.PodIP.String()
	}
	return handler.Request(ctx, get, hook.Container, host, agent)
}

// dial connects to "host:port" from inside the pod.
func (r *Runner) dial(ctx context.Context, uid, address string) (net.Conn, error) {
	line := handler.Line{
		Lookup:  r.cfg.Lookup,
		Connect: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) { return r.cfg.Dial.Dial(ctx, uid, to) },
		Explain: explain,
	}
	return line.Dial(ctx, address)
}

func explain(_ context.Context, to netip.AddrPort, err error) error {
	var call *os.SyscallError
	if errors.As(err, &call) && call.Syscall == "connect" {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: call}
	}
	return err
}
