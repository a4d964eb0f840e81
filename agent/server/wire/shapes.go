package wire

// Version is the answer to GET /v1/version.
type Version struct {
	Version string `json:"version"` // as stamped at build time
	Go      string `json:"go"`      // of the toolchain
	Node    string `json:"node"`    // name of the node
	// Manifests is the directory of manifests, on the machine where davit runs;
	// "": it reads none.
	Manifests string `json:"manifests,omitempty"`
}

// Problem is something in a pod source that davit cannot use: a broken or
// refused manifest. Its fields are those of podspec.Problem.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`   // from 1; 0 if not known
	Object  string `json:"object,omitempty"` // kind/namespace/name as far as known
	Field   string `json:"field,omitempty"`  // spec.containers[0].image
	Message string `json:"message"`
}

// Problems is the answer to GET /v1/problems, ordered by file and line.
type Problems struct {
	Items []Problem `json:"items"`
}

// HeaderNotice is a response header with a line for the person who asked.
const HeaderNotice = "Davit-Notice"

// TrailerError is the trailer of a log stream that broke off, with the cause.
const TrailerError = "Davit-Error"
