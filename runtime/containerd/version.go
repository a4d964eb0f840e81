package containerd

import (
	"context"
	"fmt"

	"github.com/davit-agent/davit/runtime/containerd/fault"
)

// Version returns the daemon's version, such as 1.6.20 or v2.2.3, or an error
// that wraps runtime.ErrUnavailable.
func (c *Client) Version(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(c.withNS(ctx), callTimeout)
	defer cancel()
	v, err := c.client.Version(ctx)
	if err != nil {
		return "", fmt.Errorf("asking containerd for its version: %w", fault.Classify(err))
	}
	return v.Version, nil
}
