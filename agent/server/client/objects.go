package client

import (
	"context"
	"net/url"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/server/wire"
)

// Services returns the Services of a namespace, or all for "", ordered by
// namespace and name.
func (c *Client) Services(ctx context.Context, namespace string) (*v1.ServiceList, error) {
	list := &v1.ServiceList{}
	return list, c.getJSON(ctx, "/v1/services", url.Values{"namespace": {namespace}}, list)
}

// ConfigMaps is the same of ConfigMaps.
func (c *Client) ConfigMaps(ctx context.Context, namespace string) (*v1.ConfigMapList, error) {
	list := &v1.ConfigMapList{}
	return list, c.getJSON(ctx, "/v1/configmaps", url.Values{"namespace": {namespace}}, list)
}

// Secrets is the same of Secrets, of which only keys and sizes are told.
func (c *Client) Secrets(ctx context.Context, namespace string) (*wire.SecretList, error) {
	list := &wire.SecretList{}
	return list, c.getJSON(ctx, "/v1/secrets", url.Values{"namespace": {namespace}}, list)
}

// Node returns the node as Kubernetes describes it.
func (c *Client) Node(ctx context.Context) (*v1.Node, error) {
	node := &v1.Node{}
	return node, c.getJSON(ctx, "/v1/node", nil, node)
}
