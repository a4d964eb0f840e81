package containerd

import (
	"context"
	"io"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/images"
)

// PreloadResult tells what became of one archive.
type PreloadResult = images.PreloadResult

// Image implements runtime.Runtime; see images.Store.
func (c *Client) Image(ctx context.Context, ref string) (*runtime.Image, error) {
	return c.images.Image(ctx, ref)
}

// Preload imports the archives of a directory; see images.Store.
func (c *Client) Preload(ctx context.Context, dir string) ([]PreloadResult, error) {
	return c.images.Preload(ctx, dir)
}

// Pull implements runtime.Images.
func (c *Client) Pull(ctx context.Context, req runtime.PullRequest) (*runtime.Image, error) {
	return c.images.Pull(ctx, req)
}

// Images implements runtime.Images.
func (c *Client) Images(ctx context.Context) ([]runtime.ImageInfo, error) {
	return c.images.Images(ctx)
}

// Load implements runtime.Images.
func (c *Client) Load(ctx context.Context, archive io.Reader) ([]string, error) {
	return c.images.Load(ctx, archive)
}

// RemoveImage implements runtime.Images.
func (c *Client) RemoveImage(ctx context.Context, ref string) error {
	return c.images.RemoveImage(ctx, ref)
}
