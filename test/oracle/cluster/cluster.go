package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/davit-agent/davit/network/ns"
	"github.com/davit-agent/davit/test/testbed"
)

// NodeName is the name of the cluster's node.
const NodeName = "n1"

// limit is how long a program may take to start on a machine that does much
// else at the same time.
const limit = 3 * time.Minute

// Options say what a cluster is made of.
type Options struct {
	// Images are archives, as testbed.Archive writes them, that the node has.
	Images []string
	// Kubelet is merged over kubelet's configuration, key by top-level key.
	Kubelet map[string]any
	// KeepLogs is a directory that takes the programs' logs at the end, as
	// <id>-<program>.log; "" keeps none.
	KeepLogs string
}

// Cluster is a control plane without controllers and one node with a real
// kubelet. What Start returns is ready for pods. The methods may be called by
// several goroutines at once, but those that start and end programs.
type Cluster struct {
	Bed *testbed.Bed
	API *Client // as a user who may do everything

	t       testing.TB
	program string
	mounts  string // file of the mount namespace
	held    chan int
	ca      *authority
	options Options

	etcd, server, containerd, kubelet process

	mu sync.Mutex
	n  int // of namespaces made
}

// Start starts a cluster that is removed, with everything in it, when the test
// ends.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	program, daemon := Build(t), testbed.BuildContainerd2(t)
	c := &Cluster{Bed: testbed.New(t, testbed.Options{NoContainerd: true}), t: t, program: program,
		held: make(chan int, 1), options: o}
	t.Cleanup(c.stop)
	if err := c.start(daemon); err != nil {
		t.Fatalf("starting a cluster: %v", err)
	}
	return c
}

func (c *Cluster) start(daemon string) error {
	for _, dir := range []string{c.path(), c.path("pki"), c.path("cni"), c.Bed.Path("ctrd"), c.RootDir(), c.LogDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for p, name := range map[*process]string{&c.etcd: "etcd", &c.server: "kube-apiserver", &c.kubelet: "kubelet"} {
		p.name, p.log = name, c.path(name+".log")
	}
	// Where testbed looks for the shims that it ends.
	c.containerd = process{name: "containerd", log: c.Bed.Path("ctrd", "log")}
	if err := c.makeMounts(); err != nil {
		return err
	}
	if err := c.issueCertificates(); err != nil {
		return err
	}
	if err := c.startControlPlane(); err != nil {
		return err
	}
	if err := c.startContainerd(daemon); err != nil {
		return err
	}
	if err := c.await("the API server", &c.server, c.apiAnswers); err != nil {
		return err
	}
	if err := c.writeKubeletFiles(); err != nil {
		return err
	}
	return c.StartKubelet()
}

// stop keeps the logs, if that is asked for, and tells of a failed test which
// programs ended before it did and what they said. Ending them and removing what
// they made is the Bed's.
func (c *Cluster) stop() {
	for _, p := range []*process{&c.etcd, &c.server, &c.containerd, &c.kubelet} {
		if how := p.ended(); c.t.Failed() && p.cmd != nil && how != "" {
			c.t.Logf("%s ended (%s); its log ends with:\n%s", p.name, how, p.tail(6000))
		}
		if c.options.KeepLogs == "" || p.cmd == nil {
			continue
		}
		data, err := os.ReadFile(p.log)
		if err == nil {
			err = os.WriteFile(filepath.Join(c.options.KeepLogs, c.Bed.ID+"-"+p.name+".log"), data, 0o644)
		}
		if err != nil {
			c.t.Errorf("keeping the log of %s: %v", p.name, err)
		}
	}
}

// path returns a path below the cluster's directory.
func (c *Cluster) path(elem ...string) string {
	return c.Bed.Path(append([]string{"oracle"}, elem...)...)
}

// RootDir is kubelet's directory.
func (c *Cluster) RootDir() string { return c.Bed.Path("kubelet") }

// LogDir is where the logs of pods are.
func (c *Cluster) LogDir() string { return c.Bed.Path("pods") }

// CgroupRoot is the cgroup below which kubelet's kubepods is, as
// /davit-test-<id>, in every hierarchy.
func (c *Cluster) CgroupRoot() string { return c.Bed.CgroupParent() }

// Log returns the last n bytes of kubelet's log.
func (c *Cluster) Log(n int) string { return c.kubelet.tail(n) }

// enter prepares a command in the cluster's namespaces.
func (c *Cluster) enter(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{
		"--net=" + c.Bed.NSPath, "--mount=" + c.mounts, "--", name}, args...)...)
}

func (c *Cluster) apiAddress() netip.AddrPort { return netip.AddrPortFrom(c.Bed.Addr4, 6443) }

// issueCertificates makes the authority, the programs' certificates and, in pki,
// the key that service account tokens are signed with.
func (c *Cluster) issueCertificates() (err error) {
	if c.ca, err = newAuthority(c.path("pki")); err != nil {
		return err
	}
	node := []netip.Addr{c.Bed.Addr4, c.Bed.Addr6, netip.MustParseAddr("127.0.0.1")}
	return errors.Join(
		c.ca.issue("server", identity{name: "kube-apiserver", server: true, addrs: node, names: []string{"kubernetes"}}),
		c.ca.issue("admin", identity{name: "oracle", group: "system:masters"}),
		c.ca.issue("kubelet", identity{name: "system:node:" + NodeName, group: "system:nodes", server: true, addrs: node, names: []string{NodeName}}),
		c.ca.issue("tokens", identity{name: "tokens"}),
	)
}

// startControlPlane starts etcd and the API server without waiting for them.
func (c *Cluster) startControlPlane() error {
	const etcd = "http://127.0.0.1:2379"
	err := c.etcd.start(c.enter(c.program, "etcd",
		"--name", "oracle", "--data-dir", c.path("etcd"), "--unsafe-no-fsync", "--log-level", "warn",
		"--listen-client-urls", etcd, "--advertise-client-urls", etcd,
		"--listen-peer-urls", "http://127.0.0.1:2380", "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
		"--initial-cluster", "oracle=http://127.0.0.1:2380"))
	if err != nil {
		return err
	}
	// There are no controllers: nobody makes service accounts, and nobody takes
	// a taint off that admission puts on a new node.
	err = c.server.start(c.enter(c.program, "kube-apiserver",
		"--etcd-servers", etcd,
		"--bind-address", c.Bed.Addr4.String(), "--secure-port", "6443", "--endpoint-reconciler-type", "none",
		"--service-cluster-ip-range", "10.96.0.0/12",
		"--tls-cert-file", c.ca.certFile("server"), "--tls-private-key-file", c.ca.keyFile("server"),
		"--client-ca-file", c.ca.certFile("ca"), "--anonymous-auth=false", "--authorization-mode", "AlwaysAllow",
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", c.ca.certFile("tokens"), "--service-account-signing-key-file", c.ca.keyFile("tokens"),
		"--disable-admission-plugins", "ServiceAccount,TaintNodesByCondition",
		"--allow-privileged", "--enable-priority-and-fairness=false", "--profiling=false"))
	if err != nil {
		return err
	}
	c.API, err = c.client("admin")
	return err
}

// client returns a client that has the certificate of that name.
func (c *Cluster) client(name string) (*Client, error) {
	cert, err := tls.LoadX509KeyPair(c.ca.certFile(name), c.ca.keyFile(name))
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of %s: %w", name, err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.ca.cert)
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return ns.DialTCP(ctx, c.Bed.NSPath, c.apiAddress())
		},
	}
	c.t.Cleanup(transport.CloseIdleConnections)
	return &Client{HTTP: &http.Client{Transport: transport}, Base: "https://" + c.apiAddress().String()}, nil
}

// apiAnswers tells whether the API server is ready and has the namespace
// default, which it makes itself a moment later.
func (c *Cluster) apiAnswers(ctx context.Context) error {
	if err := c.API.do(ctx, http.MethodGet, "/readyz", body{}, nil); err != nil {
		return err
	}
	return c.API.Get(ctx, "/api/v1/namespaces/default", nil)
}

// await waits until ready says nil, as long as the process runs.
func (c *Cluster) await(what string, p *process, ready func(context.Context) error) error {
	deadline := time.Now().Add(limit)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err := ready(ctx)
		cancel()
		if err == nil {
			return nil
		}
		if how := p.ended(); how != "" {
			return fmt.Errorf("waiting for %s: %s ended (%s):\n%s", what, p.name, how, p.tail(4000))
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting for %s: after %s: %w\n%s", what, limit, err, p.tail(4000))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// kubeconfig writes a kubeconfig for the user of that certificate.
func (c *Cluster) kubeconfig(name string) (string, error) {
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: oracle
clusters: [{name: oracle, cluster: {server: "https://%s", certificate-authority: %q}}]
users: [{name: %[3]s, user: {client-certificate: %[4]q, client-key: %[5]q}}]
contexts: [{name: oracle, context: {cluster: oracle, user: %[3]s}}]
`, c.apiAddress(), c.ca.certFile("ca"), name, c.ca.certFile(name), c.ca.keyFile(name))
	file := c.path(name + ".kubeconfig")
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// PodDir is kubelet's directory of a pod.
func (c *Cluster) PodDir(uid string) string { return filepath.Join(c.RootDir(), "pods", uid) }
