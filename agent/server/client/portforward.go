package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/davit-agent/davit/agent/server/wire"
)

// ForwardOptions names a port of a pod.
type ForwardOptions struct {
	Namespace, Pod string
	UID            string // "": of whatever pod has the name
	Port           uint16
}

// Forward connects local with a TCP port on the pod's loopback and copies both
// ways until both directions have ended. It closes local; when it returns an
// error, local's peer sees a reset. The error is the server's if nobody listens
// at the port, and wraps ErrBrokeOff if the server goes away.
func (c *Client) Forward(ctx context.Context, o ForwardOptions, local wire.HalfConn) error {
	q := url.Values{"port": {strconv.Itoa(int(o.Port))}, "uid": {o.UID}}
	conn, in, _, err := c.upgrade(ctx, podPath(o.Namespace, o.Pod, "/portforward")+"?"+q.Encode(), wire.ForwardProtocol)
	if err != nil {
		if l, ok := local.(interface{ SetLinger(int) error }); ok {
			l.SetLinger(0)
		}
		local.Close()
		return err
	}
	err = wire.Tunnel(ctx, conn, in, local)
	if errors.Is(err, wire.ErrGone) {
		err = fmt.Errorf("%w: %w", ErrBrokeOff, err)
	}
	return err
}
