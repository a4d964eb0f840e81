package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/davit-agent/davit/agent/server/wire"
)

// Images returns the images on the node, ordered by first name.
func (c *Client) Images(ctx context.Context) ([]wire.Image, error) {
	var list wire.Images
	err := c.getJSON(ctx, "/v1/images", nil, &list)
	return list.Items, err
}

// PullImage pulls an image and returns it, with the one name that it was pulled
// by. progress, if set, is called from this goroutine. When ctx ends so does the
// pull, unless a pod waits for it too.
func (c *Client) PullImage(ctx context.Context, req wire.ImagePull, progress func(wire.ImageProgress)) (wire.Image, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return wire.Image{}, err
	}
	resp, err := c.imageCall(ctx, http.MethodPost, "/v1/images/pull", bytes.NewReader(body))
	if err != nil {
		return wire.Image{}, err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var ev wire.ImagePullEvent
		err := dec.Decode(&ev)
		switch {
		case err != nil && ctx.Err() != nil:
			return wire.Image{}, ctx.Err()
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return wire.Image{}, fmt.Errorf("%w in the middle of the pull", ErrBrokeOff)
		case err != nil:
			return wire.Image{}, fmt.Errorf("reading davit's answer: %w", err)
		case ev.Error != "":
			return wire.Image{}, errors.New(ev.Error)
		case ev.Image != nil:
			return *ev.Image, nil
		case ev.Progress != nil && progress != nil:
			progress(*ev.Progress)
		}
	}
}

// LoadImages imports the images of an archive and returns their names in full,
// ascending. A Read under way is left behind when ctx ends or davit refuses.
func (c *Client) LoadImages(ctx context.Context, archive io.Reader) ([]string, error) {
	body, upload := io.Pipe() // net/http waits for a Read of the body, whatever happens
	defer body.Close()
	defer context.AfterFunc(ctx, func() { body.CloseWithError(ctx.Err()) })()
	go func() {
		_, err := io.Copy(upload, archive)
		upload.CloseWithError(err)
	}()
	resp, err := c.imageCall(ctx, http.MethodPost, "/v1/images/load", body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var loaded wire.ImagesLoaded
	if err := json.NewDecoder(resp.Body).Decode(&loaded); err != nil {
		return nil, fmt.Errorf("reading davit's answer: %w", err)
	}
	return loaded.Names, nil
}

// RemoveImage removes a name of an image; its content goes with the last.
func (c *Client) RemoveImage(ctx context.Context, ref string) error {
	resp, err := c.imageCall(ctx, http.MethodDelete, "/v1/images?"+url.Values{"ref": {ref}}.Encode(), nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// imageCall asks, and returns the answer if that is a success.
func (c *Client) imageCall(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://davit"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, bare(err)
	case resp.StatusCode != http.StatusOK:
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	return resp, nil
}
