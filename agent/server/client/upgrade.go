package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/davit-agent/davit/agent/server/wire"
)

// upgrade asks for a protocol of package wire on a connection of its own. It
// returns the connection, where its frames come from, and the server's notice.
func (c *Client) upgrade(ctx context.Context, path, protocol string) (net.Conn, io.Reader, string, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, nil, "", err
	}
	in, notice, err := shakeHands(ctx, conn, path, protocol)
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, nil, "", err
	}
	return conn, in, notice, nil
}

func shakeHands(ctx context.Context, conn net.Conn, path, protocol string) (in io.Reader, notice string, err error) {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	req, err := http.NewRequest(http.MethodPost, "http://davit"+path, nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", protocol)
	if err := req.Write(conn); err != nil {
		return nil, "", fmt.Errorf("asking davit: %w", err)
	}
	buf := bufio.NewReader(conn)
	resp, err := http.ReadResponse(buf, req)
	if err != nil {
		return nil, "", fmt.Errorf("%w before it answered: %w", ErrBrokeOff, err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		return nil, "", refusal(resp)
	}
	return buf, resp.Header.Get(wire.HeaderNotice), nil
}
