package wire

import "time"

// Image is an image on the node.
type Image struct {
	ID          string    `json:"id"`                    // digest of its configuration
	Names       []string  `json:"names,omitempty"`       // with tags, in full, ascending
	RepoDigests []string  `json:"repoDigests,omitempty"` // name@digest, ascending
	Size        int64     `json:"size"`                  // bytes of content, compressed as stored
	Created     time.Time `json:"created,omitzero"`
	Pinned      bool      `json:"pinned,omitempty"` // it is not removed
	Pods        []string  `json:"pods,omitempty"`   // namespace/name of those that use it, ascending
}

// Images is the answer to GET /v1/images, ordered by first name.
type Images struct {
	Items []Image `json:"items"`
}

// ImagePull is the body of POST /v1/images/pull.
type ImagePull struct {
	Ref string `json:"ref"`
	// Username and Password, if set, are tried before the node's credentials.
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
}

// ImagePullEvent is one line of the answer to it. Progress comes any number of
// times, then one of the others, once.
type ImagePullEvent struct {
	Progress *ImageProgress `json:"progress,omitempty"`
	Image    *Image         `json:"image,omitempty"`
	Error    string         `json:"error,omitempty"`
}

// ImageProgress is how far a pull is.
type ImageProgress struct {
	// Stage is waiting (for other pulls), resolving, fetching or unpacking.
	Stage      string `json:"stage"`
	Layers     int    `json:"layers,omitempty"`     // of the image; 0: not known yet
	LayersDone int    `json:"layersDone,omitempty"` // that are here
	Bytes      int64  `json:"bytes,omitempty"`      // that are here
	Total      int64  `json:"total,omitempty"`      // of all of it; 0: not known yet
}

// ImagesLoaded is the answer to POST /v1/images/load.
type ImagesLoaded struct {
	Names []string `json:"names"` // in full, ascending
}
