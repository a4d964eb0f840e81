package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/davit-agent/davit/agent/server/wire"
)

// Errors of the client; test with errors.Is.
var (
	// ErrNotRunning: nobody answers at the socket.
	ErrNotRunning = errors.New("davit is not running")
	// ErrDenied: the socket is there, but not for this user.
	ErrDenied = errors.New("not allowed to talk to davit")
	// ErrBrokeOff: the server ended a stream before its time.
	ErrBrokeOff = errors.New("davit went away")
)

// Client talks to the davit at one socket. It is safe for concurrent use.
type Client struct {
	socket string
	http   *http.Client
}

// New returns a client; it does not connect.
func New(socket string) *Client {
	c := &Client{socket: socket}
	c.http = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
	}}
	return c
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w at %s: %w", ErrNotRunning, c.socket, bareDial(err))
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w at %s: %w", ErrDenied, c.socket, bareDial(err))
	}
	return conn, err
}

// Version returns what runs at the socket.
func (c *Client) Version(ctx context.Context) (v wire.Version, err error) {
	return v, c.getJSON(ctx, "/v1/version", nil, &v)
}

// Problems returns the manifests that are not used, ordered by file and line.
func (c *Client) Problems(ctx context.Context) ([]wire.Problem, error) {
	var p wire.Problems
	err := c.getJSON(ctx, "/v1/problems", nil, &p)
	return p.Items, err
}

// Pods returns the pods of a namespace, or all for "", ordered by namespace and
// name.
func (c *Client) Pods(ctx context.Context, namespace string) (*v1.PodList, error) {
	var list v1.PodList
	if err := c.getJSON(ctx, "/v1/pods", url.Values{"namespace": {namespace}}, &list); err != nil {
		return nil, err
	}
	return &list, nil
}

// Pod returns the pod of this name; the node's suffix may be left out.
func (c *Client) Pod(ctx context.Context, namespace, name string) (*v1.Pod, error) {
	var pod v1.Pod
	if err := c.getJSON(ctx, podPath(namespace, name, ""), nil, &pod); err != nil {
		return nil, err
	}
	return &pod, nil
}

// Watch calls each for every pod there is, as ADDED, and then for every change,
// until each returns an error, which it returns, or the server goes away
// (ErrBrokeOff), or ctx ends (nil).
func (c *Client) Watch(ctx context.Context, namespace string, each func(watch.EventType, *v1.Pod) error) error {
	resp, err := c.get(ctx, "/v1/pods", url.Values{"namespace": {namespace}, "watch": {"true"}})
	if err != nil {
		return ended(ctx, err)
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var ev struct {
			Type   watch.EventType
			Object *v1.Pod
		}
		if err := dec.Decode(&ev); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = ErrBrokeOff
			}
			return ended(ctx, err)
		}
		if err := each(ev.Type, ev.Object); err != nil {
			return err
		}
	}
}

// ended hides the error of a stream that its reader has ended.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func podPath(namespace, name, sub string) string {
	return "/v1/pods/" + url.PathEscape(namespace) + "/" + url.PathEscape(name) + sub
}

func setFlags(q url.Values, flags map[string]bool) {
	for name, on := range flags {
		if on {
			q.Set(name, "true")
		}
	}
}

func (c *Client) getJSON(ctx context.Context, path string, q url.Values, into any) error {
	resp, err := c.get(ctx, path, q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("reading davit's answer to %s: %w", path, err)
	}
	return nil
}

func (c *Client) get(ctx context.Context, path string, q url.Values) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://davit"+path+"?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, bare(err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	return resp, nil
}

// bare removes the method and made-up address that net/http puts before errors.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// bareDial is what the system said, without the address, which is told already.
func bareDial(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}

// refusal is the error in an answer.
func refusal(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("reading davit's answer: %w", err)
	}
	var status metav1.Status
	if json.Unmarshal(body, &status) == nil && status.Message != "" {
		return errors.New(status.Message)
	}
	return fmt.Errorf("davit answered %s: %s", resp.Status, body)
}
