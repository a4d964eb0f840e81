package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Content types of patches.
const (
	MergePatch     = "application/merge-patch+json"
	StrategicPatch = "application/strategic-merge-patch+json"
)

// Client speaks to an API server in JSON. Paths are those of the REST API, with
// a query where one is wanted, as /api/v1/namespaces/default/pods?limit=5.
type Client struct {
	HTTP *http.Client
	Base string // as https://192.0.2.10:6443
}

// StatusError is an answer of the API server that is no success.
type StatusError struct {
	Code    int
	Reason  metav1.StatusReason
	Message string
}

// Error says what the server answered.
func (e *StatusError) Error() string {
	return fmt.Sprintf("the API server answers %d %s: %s", e.Code, e.Reason, e.Message)
}

// IsCode tells whether err is an answer with that HTTP status.
func IsCode(err error, code int) bool {
	var e *StatusError
	return errors.As(err, &e) && e.Code == code
}

// body is what a request carries.
type body struct {
	kind   string // content type, "" for no body
	object any
}

// Get reads an object into out.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, body{}, out)
}

// Post creates an object; out takes what the server made of it and may be nil.
func (c *Client) Post(ctx context.Context, path string, in, out any) error {
	return c.do(ctx, http.MethodPost, path, body{"application/json", in}, out)
}

// Put replaces an object.
func (c *Client) Put(ctx context.Context, path string, in, out any) error {
	return c.do(ctx, http.MethodPut, path, body{"application/json", in}, out)
}

// Patch changes an object; kind is a content type, as MergePatch.
func (c *Client) Patch(ctx context.Context, path, kind string, in, out any) error {
	return c.do(ctx, http.MethodPatch, path, body{kind, in}, out)
}

// Delete deletes an object.
func (c *Client) Delete(ctx context.Context, path string, o metav1.DeleteOptions) error {
	return c.do(ctx, http.MethodDelete, path, body{"application/json", o}, nil)
}

func (c *Client) do(ctx context.Context, method, path string, in body, out any) error {
	resp, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("reading the answer to %s %s: %w", method, path, err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("decoding the answer to %s %s: %w", method, path, err)
	}
	return nil
}

// send sends a request and returns the answer if it is a success.
func (c *Client) send(ctx context.Context, method, path string, in body) (*http.Response, error) {
	var text io.Reader
	if in.kind != "" {
		data, err := json.Marshal(in.object)
		if err != nil {
			return nil, fmt.Errorf("encoding the body of %s %s: %w", method, path, err)
		}
		text = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, text)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if in.kind != "" {
		req.Header.Set("Content-Type", in.kind)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	e := &StatusError{Code: resp.StatusCode, Message: strings.TrimSpace(string(data))}
	var s metav1.Status
	if json.Unmarshal(data, &s) == nil && s.Kind == "Status" {
		e.Reason, e.Message = s.Reason, s.Message
	}
	return nil, fmt.Errorf("%s %s: %w", method, path, e)
}

// WatchEvent is one change that a watch tells of.
type WatchEvent struct {
	Type   string          `json:"type"` // ADDED, MODIFIED, DELETED, BOOKMARK or ERROR
	Object json.RawMessage `json:"object"`
}

// Watch calls see for each change until ctx ends, see fails or the server ends
// the watch, which is an error too, so that nobody takes half for all. The path
// ends in a query with watch=1.
func (c *Client) Watch(ctx context.Context, path string, see func(WatchEvent) error) error {
	resp, err := c.send(ctx, http.MethodGet, path, body{})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	d := json.NewDecoder(resp.Body)
	for {
		var e WatchEvent
		if err := d.Decode(&e); err != nil {
			return fmt.Errorf("watching %s: %w", path, err)
		}
		if e.Type == "ERROR" {
			return fmt.Errorf("watching %s: %s", path, e.Object)
		}
		if err := see(e); err != nil {
			return err
		}
	}
}
