package keyring

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/davit-agent/davit/runtime"
)

// maxCredentials bounds what is tried for one image: each that is wrong costs
// the registry and the pod a few requests.
const maxCredentials = 50

// Keyring is a set of credentials by registry. The zero value has none; a
// Keyring is not changed once it is made.
type Keyring struct {
	entries  []entry
	problems []problem
}

// entry is a credential and what it is for.
type entry struct {
	pattern
	credential runtime.Credential
}

// problem is why a credential cannot be used.
type problem struct {
	// about is what the credential would be for; nil: that is not known.
	about *pattern
	// spare: of no interest where another credential of the Keyring matched.
	spare bool
	err   error
}

// pattern is the name of a registry in a config.json.
type pattern struct {
	labels []string // of the host, lower case, each a glob
	port   string
	path   string // "" or /...
}

// String is the name as it is sorted and shown.
func (p pattern) String() string {
	host := strings.Join(p.labels, ".")
	if p.port != "" {
		host = net.JoinHostPort(host, p.port)
	}
	return host + p.path
}

// dockerHub is the registry of images that name none, by the name it has in
// references; docker's config.json calls it dockerIndex.
const (
	dockerHub   = "docker.io"
	dockerIndex = "index.docker.io"
)

var errPattern = errors.New("it is not the name of a registry: write host, host:port or host/path")

// parsePattern reads the name of an entry. The error does not repeat it: it may
// hold a password.
func parsePattern(name string) (pattern, error) {
	if !strings.HasPrefix(name, "https://") && !strings.HasPrefix(name, "http://") {
		name = "https://" + name
	}
	u, err := url.Parse(name)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return pattern{}, errPattern
	}
	p := pattern{path: u.Path}
	for _, api := range []string{"/v1/", "/v2/"} { // of the registry's API, not of an image
		if strings.HasPrefix(p.path, api) {
			p.path = p.path[len(api)-1:]
			break
		}
	}
	if p.path == "/" {
		p.path = ""
	}
	p.labels, p.port = splitHost(u.Host)
	for _, l := range p.labels {
		if _, err := path.Match(l, ""); err != nil {
			return pattern{}, errPattern
		}
	}
	if p.port == "" && strings.Join(p.labels, ".") == dockerIndex {
		p.labels = strings.Split(dockerHub, ".")
	}
	return p, nil
}

func splitHost(hostport string) (labels []string, port string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil { // there is no port
		host, port = hostport, ""
	}
	if bare, ok := strings.CutPrefix(host, "["); ok { // IPv6: a bracket is no glob here
		return []string{strings.ToLower(strings.TrimSuffix(bare, "]"))}, port
	}
	if strings.Contains(host, ":") { // as SplitHostPort leaves it
		return []string{strings.ToLower(host)}, port
	}
	return strings.Split(strings.ToLower(host), "."), port
}

// matches tells whether p is for the image of that name (host and path, no tag).
func (p pattern) matches(target pattern) bool {
	if p.port != target.port || len(p.labels) != len(target.labels) || !strings.HasPrefix(target.path, p.path) {
		return false
	}
	for i, glob := range p.labels {
		if ok, err := path.Match(glob, target.labels[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// target splits an image's reference into what patterns are matched with.
func target(image string) (pattern, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return pattern{}, fmt.Errorf("looking for credentials for image %q: %w", image, err)
	}
	t := pattern{path: "/" + reference.Path(named)}
	t.labels, t.port = splitHost(reference.Domain(named))
	return t, nil
}

// Lookup returns the credentials for an image, in the order in which they are to
// be tried, and the problems that may be why one is missing. An image that does
// not parse has none.
func (k *Keyring) Lookup(image string) ([]runtime.Credential, []error) {
	t, err := target(image)
	if k == nil || err != nil {
		return nil, nil
	}
	var found []runtime.Credential
	for _, e := range k.entries {
		if len(found) == maxCredentials {
			break
		}
		if e.matches(t) && !slices.Contains(found, e.credential) {
			found = append(found, e.credential)
		}
	}
	var problems []error
	for _, p := range k.problems {
		if p.about != nil && !p.about.matches(t) || p.spare && len(found) > 0 {
			continue
		}
		problems = append(problems, p.err)
	}
	return found, problems
}

// Problems returns all that cannot be used of what the Keyring was made from.
func (k *Keyring) Problems() []error {
	var out []error
	for _, p := range k.problems {
		out = append(out, p.err)
	}
	return out
}

// join returns a Keyring of all entries of several; of those with one name the
// earlier Keyring's come first.
func join(rings ...*Keyring) *Keyring {
	all := &Keyring{}
	for _, k := range rings {
		all.entries = append(all.entries, k.entries...)
		all.problems = append(all.problems, k.problems...)
	}
	all.sort()
	return all
}

func (k *Keyring) sort() {
	slices.SortStableFunc(k.entries, func(a, b entry) int { return cmp.Compare(b.String(), a.String()) })
}
