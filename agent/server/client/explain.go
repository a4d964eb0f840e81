package client

import (
	"context"

	"github.com/davit-agent/davit/agent/server/wire"
)

// Explain tells why the pod of this name is where it is, or why there is none
// although there is a manifest; the node's suffix may be left out.
func (c *Client) Explain(ctx context.Context, namespace, name string) (*wire.Explanation, error) {
	var e wire.Explanation
	if err := c.getJSON(ctx, podPath(namespace, name, "/explain"), nil, &e); err != nil {
		return nil, err
	}
	return &e, nil
}
