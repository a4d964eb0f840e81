package containerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/runtime/containerd/fault"
	"github.com/davit-agent/davit/runtime/containerd/images"
	"github.com/davit-agent/davit/runtime/containerd/keyed"
	"github.com/davit-agent/davit/runtime/containerd/known"
	"github.com/davit-agent/davit/runtime/containerd/peer"
	"github.com/davit-agent/davit/runtime/containerd/process"
	"github.com/davit-agent/davit/runtime/containerd/shim"
	"github.com/davit-agent/davit/runtime/containerd/shimgroup"
	"github.com/davit-agent/davit/runtime/containerd/wake"
)

const (
	defaultNamespace   = "davit"
	defaultSnapshotter = "overlayfs"
	defaultRuntime     = "io.containerd.runc.v2"
	// callTimeout bounds calls that only read or write containerd's database,
	// so that a daemon that hangs counts as one that is away.
	callTimeout = 15 * time.Second
)

// Config says which containerd to use, and how.
type Config struct {
	Address     string // containerd's socket, spelt as containerd itself has it: shim addresses derive from it
	Namespace   string // "" is davit
	Snapshotter string // "" is overlayfs
	// Runtimes maps a RuntimeClass handler to a containerd runtime; a missing
	// "" is io.containerd.runc.v2.
	Runtimes map[string]string
	// OCIRuntime is the binary that the runc shim runs; "" is runc.
	OCIRuntime string
	// SystemdCgroup has the OCI runtime ask systemd for cgroups.
	SystemdCgroup bool
	// PodsPerShim is how many pods may share one shim process; 0 is 1.
	PodsPerShim int
	// RunDir holds what must not survive a reboot: start marks, exec FIFOs.
	RunDir string
	Logs   runtime.Logs
	Logger *slog.Logger
	// HostsDir holds a directory with a hosts.toml per registry, as
	// containerd's own /etc/containerd/certs.d; "" is none.
	HostsDir string
	// PullStall is how long a pull may go without a byte from its registry
	// before it is given up; 0 is a minute.
	PullStall time.Duration
}

// Client runs containers on containerd. It implements runtime.Runtime,
// runtime.Images and runtime.Watcher; Run must be running for Events to fire.
type Client struct {
	cfg    Config
	log    *slog.Logger
	client *client.Client
	daemon atomic.Pointer[string] // identity of the daemon that is connected to
	wakes  *wake.Queue
	table  *known.Table
	marks  known.Marks
	groups *shimgroup.Groups
	shims  *shim.Pool

	locks  keyed.Mutex // by container ID
	images *images.Store
	seeded atomic.Bool // groups and table hold what the daemon has

	procs *process.Runner
	hangs *hangs

	nsMu     sync.Mutex
	nsMade   bool   // the namespace is known to exist
	nsDaemon string // at this daemon
}

var (
	_ runtime.Runtime = (*Client)(nil)
	_ runtime.Watcher = (*Client)(nil)
	_ runtime.Images  = (*Client)(nil)
)

// New makes a client. The daemon need not be there yet.
func New(cfg Config) (*Client, error) {
	if cfg.Address == "" || !filepath.IsAbs(cfg.Address) {
		return nil, fmt.Errorf("containerd address %q is not an absolute path", cfg.Address)
	}
	if cfg.RunDir == "" || cfg.Logs == nil {
		return nil, errors.New("containerd client needs a run directory and logs")
	}
	if cfg.Namespace == "" {
		cfg.Namespace = defaultNamespace
	}
	if cfg.Snapshotter == "" {
		cfg.Snapshotter = defaultSnapshotter
	}
	if cfg.PodsPerShim < 1 {
		cfg.PodsPerShim = 1
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Client{cfg: cfg, log: cfg.Logger, wakes: wake.New(), table: known.NewTable(), groups: shimgroup.New(cfg.PodsPerShim)}
	c.shims = shim.NewPool(cfg.Address, cfg.Namespace)
	c.hangs = newHangs()
	c.marks = known.Marks{Dir: filepath.Join(cfg.RunDir, "started"), Logger: cfg.Logger}
	if err := makeDirs(c.marks.Dir); err != nil {
		return nil, err
	}
	cl, err := client.New(cfg.Address, client.WithDialOpts([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.dial(ctx) }),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}))
	if err != nil {
		return nil, fmt.Errorf("making containerd client: %w", err)
	}
	c.client = cl
	if c.procs, err = process.New(cl, filepath.Join(cfg.RunDir, "exec"), cfg.Logger); err != nil {
		return nil, errors.Join(err, cl.Close())
	}
	c.images = images.New(images.Config{Client: cl, Namespace: cfg.Namespace, EnsureNamespace: c.ensureNamespace,
		Snapshotter: cfg.Snapshotter, HostsDir: cfg.HostsDir, PullStall: cfg.PullStall, Logger: cfg.Logger})
	return c, nil
}

// dial connects to the daemon and notes which one it is, so that what is read
// over a connection can be compared with the identity of exactly that daemon.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.cfg.Address)
	if err != nil {
		return nil, err
	}
	id, err := peer.Identity(conn.(*net.UnixConn))
	if err != nil {
		c.log.Warn("cannot identify the containerd process", "error", err)
	}
	c.daemon.Store(&id)
	return conn, nil
}

// daemonID returns the identity of the daemon connected to last; "" is none.
func (c *Client) daemonID() string {
	if id := c.daemon.Load(); id != nil {
		return *id
	}
	return ""
}

// withNS returns ctx with the containerd namespace that davit's objects are in.
func (c *Client) withNS(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, c.cfg.Namespace)
}

// store returns the container store.
func (c *Client) store() containers.Store { return c.client.ContainerService() }

// Ready returns nil if the daemon answers, else an error that wraps
// runtime.ErrUnavailable.
func (c *Client) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(c.withNS(ctx), callTimeout)
	defer cancel()
	if _, err := c.client.Version(ctx); err != nil {
		return fmt.Errorf("asking containerd for its version: %w", fault.Classify(err))
	}
	return nil
}

// Close closes the connections. No container notices.
func (c *Client) Close() error {
	c.wakes.Close()
	c.hangs.close()
	c.shims.Close()
	return c.client.Close()
}

// Exec runs a further process in a running container.
func (c *Client) Exec(ctx context.Context, id string, cfg runtime.ExecConfig) (int, error) {
	if c.hangs.silent(id) {
		return 0, fmt.Errorf("executing in container %s: %w", id, c.stuck(id))
	}
	code, err := c.procs.Exec(c.withNS(ctx), id, cfg)
	if e, _ := c.table.Get(id); e.State == runtime.StateExited && errors.Is(err, runtime.ErrNotFound) {
		err = fmt.Errorf("%w: %w", runtime.ErrExited, err)
	}
	if err != nil {
		return 0, fmt.Errorf("executing in container %s: %w", id, err)
	}
	return code, nil
}
