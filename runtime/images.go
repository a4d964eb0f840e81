package runtime

import (
	"context"
	"io"
	"time"
)

// Images keeps the images of the node. Methods are safe for concurrent use,
// idempotent, and may be cut by kill -9 at any instant: the next call completes
// or clears away what was left. Everything is done under a lease of containerd,
// so nothing is collected half made and nothing stays that no image needs.
type Images interface {
	// Pull fetches what ref names now from its registry (or a mirror of it),
	// unpacks it and returns it. Content that is here already is not fetched
	// again, so pulling an image that has not moved costs one request.
	// Two Pulls of one image at a time are two pulls: sharing them, and how
	// many run at once, is the caller's. ErrInvalidImageName: ref does not
	// parse. A cancelled context ends the pull and frees what only it held.
	Pull(ctx context.Context, req PullRequest) (*Image, error)

	// Images returns what is here, ordered by its first name.
	Images(ctx context.Context) ([]ImageInfo, error)

	// Load imports and unpacks the images of an archive (OCI layout or "docker
	// save", gzipped or not) and returns their names in full, ascending.
	Load(ctx context.Context, archive io.Reader) ([]string, error)

	// RemoveImage removes a name (or, for a config digest, all names) of an
	// image; its content goes with the last of them. Containers that run from
	// it go on. ErrImageNotFound: there is none. An image that is pinned is
	// not removed: ErrImagePinned.
	RemoveImage(ctx context.Context, ref string) error
}

// PullRequest is what Pull needs.
type PullRequest struct {
	Ref string
	// Credentials are tried in this order when the registry asks for some, and
	// none at last. They are used for the host that Ref names and its mirrors'
	// own are from hosts.toml alone.
	Credentials []Credential
	// Progress, if set, is called from one goroutine, a few times a second at
	// most, and not after Pull has returned.
	Progress func(PullProgress)
}

// Credential is what a registry takes, in the shape of docker's config.json.
type Credential struct {
	Username, Password string
	IdentityToken      string // OAuth2 refresh token, instead of a password
	RegistryToken      string // bearer token that is sent as it is
}

// PullProgress is how far a pull is.
type PullProgress struct {
	Stage      PullStage
	Layers     int   // of the image; 0 until that is known
	LayersDone int   // fetched, or here before
	Bytes      int64 // of layers and config that are here
	Total      int64 // bytes of all of them; 0 until that is known
}

// PullStage is what a pull is at.
type PullStage string

// The stages of a pull, in this order.
const (
	PullResolving PullStage = "resolving"
	PullFetching  PullStage = "fetching"
	PullUnpacking PullStage = "unpacking"
)

// ImageInfo is an image as a list shows it.
type ImageInfo struct {
	ID          string   // digest of the config
	Names       []string // with tags, in full, ascending
	RepoDigests []string // name@digest, ascending
	Size        int64    // bytes of content, compressed as stored
	Created     time.Time
	Pinned      bool // not removed by RemoveImage or garbage collection
}
