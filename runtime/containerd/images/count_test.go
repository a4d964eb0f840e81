package images

import (
	"context"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
)

func countContent(n *int) content.WalkFunc {
	return func(content.Info) error { *n++; return nil }
}

func countSnapshots(n *int) snapshots.WalkFunc {
	return func(context.Context, snapshots.Info) error { *n++; return nil }
}
