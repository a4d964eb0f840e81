package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/pelletier/go-toml/v2"

	"github.com/davit-agent/davit/runtime"
)

// Access is one pull's way to the hosts that serve an image.
type Access struct {
	named    reference.Named
	watch    *Watch
	secret   *secret
	resolver remotes.Resolver
	fetcher  remotes.Fetcher
	serves   map[string]bool // the hosts that are tried
	last     string          // the one after which there is none to try
	sends    []*transport
}

// Config says how a pull reaches registries.
type Config struct {
	HostsDir   string // holds <registry>/hosts.toml; "" is none
	Watch      *Watch
	Credential runtime.Credential // zero: anonymous
}

// Open makes the way to the registry of an image. No request is sent yet.
func Open(ctx context.Context, cfg Config, named reference.Named) (*Access, error) {
	a := &Access{named: named, watch: cfg.Watch, serves: map[string]bool{}}
	domain := reference.Domain(named)
	origin, err := docker.DefaultHost(domain)
	if err != nil {
		return nil, err
	}
	a.secret = &secret{host: origin, cred: cfg.Credential}
	opts := config.HostOptions{UpdateClient: a.update}
	if cfg.HostsDir != "" {
		opts.HostDir = config.HostDirFromRoot(cfg.HostsDir)
		if err := check(opts.HostDir, domain); err != nil {
			return nil, err
		}
	}
	hosts, err := config.ConfigureHosts(ctx, opts)(domain)
	if err != nil {
		return nil, fmt.Errorf("configuring registry %s from %s: %w", domain, cfg.HostsDir, err)
	}
	for i := range hosts {
		a.serves[hosts[i].Host], a.last = true, hosts[i].Host
		client := *hosts[i].Client
		client.Transport = tokens{client.Transport}
		hosts[i].Authorizer = &authorizer{secret: a.secret,
			Authorizer: docker.NewDockerAuthorizer(docker.WithAuthClient(&client), docker.WithAuthCreds(a.secret.get))}
	}
	a.resolver = docker.NewResolver(docker.ResolverOptions{
		Headers: http.Header{"User-Agent": {"davit"}},
		Hosts:   func(string) ([]docker.RegistryHost, error) { return hosts, nil },
	})
	if a.fetcher, err = a.resolver.Fetcher(ctx, named.String()); err != nil {
		return nil, err
	}
	return a, nil
}

// update puts the pull's transport into a client. Clients that differ in their
// headers only are updated twice.
func (a *Access) update(c *http.Client) error {
	if _, done := c.Transport.(*transport); !done {
		t := &transport{base: c.Transport, access: a}
		c.Transport, a.sends = t, append(a.sends, t)
	}
	return nil
}

// check finds what containerd's reader of hosts.toml passes over.
func check(find func(string) (string, error), domain string) error {
	dir, err := find(domain)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("configuring registry %s: %w", domain, err)
	}
	file := filepath.Join(dir, "hosts.toml")
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // certificates in docker's layout, perhaps
	}
	if err != nil {
		return fmt.Errorf("configuring registry %s: %w", domain, err)
	}
	if err := parse(data); err != nil {
		return fmt.Errorf("configuring registry %s: %s: %w", domain, file, err)
	}
	return nil
}

// entry is what hosts.toml may say of the server and of each host. What is
// not named here is containerd's to know.
type entry struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   *bool          `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
	DialTimeout  string         `toml:"dial_timeout"`
}

func parse(data []byte) error {
	var file struct {
		entry
		Server string           `toml:"server"`
		Host   map[string]entry `toml:"host"`
	}
	if err := toml.Unmarshal(data, &file); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			row, col := at.Position()
			return fmt.Errorf("line %d, column %d: %w", row, col, err)
		}
		return err
	}
	for name, e := range file.Host {
		if err := e.check(); err != nil {
			return fmt.Errorf("host %q: %w", name, err)
		}
	}
	return file.check()
}

func (e entry) check() error {
	for _, c := range e.Capabilities {
		switch strings.ToLower(c) {
		case "pull", "resolve", "push", "referrers":
		default:
			return fmt.Errorf("capabilities: %q is none; there are pull, resolve, push and referrers", c)
		}
	}
	for key, v := range map[string]any{"ca": e.CA, "client": e.Client} {
		switch v.(type) {
		case nil, string, []any:
		default:
			return fmt.Errorf("%s: it must be a file name or a list of them", key)
		}
	}
	return nil
}

// Close closes idle connections.
func (a *Access) Close() {
	for _, t := range a.sends {
		t.closeIdle()
	}
}

// Asked tells whether the host that the image names has asked for credentials.
func (a *Access) Asked() bool { return a.secret.asked.Load() }

// patient tells whether a host is asked again, as nobody else can be.
func (a *Access) patient(host string) bool {
	return host == a.last || !a.serves[host]
}

// Resolve asks what the image's name stands for.
func (a *Access) Resolve(ctx context.Context) (imagespec.Descriptor, error) {
	_, desc, err := a.resolver.Resolve(ctx, a.named.String())
	return desc, mark(err)
}

// Fetch implements remotes.Fetcher. It never leaves the image's hosts for an
// address that an image names.
func (a *Access) Fetch(ctx context.Context, desc imagespec.Descriptor) (io.ReadCloser, error) {
	desc.URLs = nil
	r, err := a.fetcher.Fetch(ctx, desc)
	if err != nil {
		return nil, mark(err)
	}
	return &body{r}, nil
}

// Error is an error that came from a registry or from the way there, so that
// it is not taken for one of containerd's.
type Error struct{ Err error }

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func mark(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &Error{err}
}

// body marks the errors of what is fetched.
type body struct{ io.ReadCloser }

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	return n, mark(err)
}

// Seek implements io.Seeker, which writing on from where it was cut needs.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	s, ok := b.ReadCloser.(io.Seeker)
	if !ok {
		return 0, errors.New("the registry's answer cannot be read from the middle")
	}
	n, err := s.Seek(offset, whence)
	return n, mark(err)
}
