package conventions

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// edge forbids imports. A pattern is a path in the module, or of another module
// or the standard library, and stands for what lies below it too; "pkg!" stands
// for that package alone.
type edge struct {
	from   []string
	but    []string // not these of from
	to     []string
	except []string // of to: allowed
	deep   bool     // also through other packages
	reason string
}

// short is a path within the module.
func short(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

func matches(importPath string, patterns []string) bool {
	name := importPath
	if own(importPath) {
		name = "@" + short(importPath)
	}
	for _, p := range patterns {
		if p == name+"!" || p == name || strings.HasPrefix(name, p+"/") || p == "@" && strings.HasPrefix(name, "@") {
			return true
		}
	}
	return false
}

// agentRooms are the rooms of agent that hold concrete things: all but those
// that are only functions of values.
func agentRooms(pkgs []listed) []string {
	rooms := map[string]bool{}
	for _, p := range pkgs {
		if room, ok := strings.CutPrefix(short(p.ImportPath), "agent/"); ok {
			room, _, _ = strings.Cut(room, "/")
			rooms[room] = !slices.Contains([]string{"lifecycle", "podspec", "downward", "containerenv", "handler"}, room)
		}
	}
	maps.DeleteFunc(rooms, func(_ string, concrete bool) bool { return !concrete })
	return slices.Sorted(maps.Keys(rooms))
}

// forTests are the packages that only tests import.
var forTests = []string{"@test", "@runtime/runtimetest", "@runtime/helper/helpertest"}

// layering is the rules for these packages.
func layering(pkgs []listed) []edge {
	edges := []edge{
		{from: []string{"@"}, but: []string{"@cmd", "@test", "@agent!"}, to: []string{"@agent!"},
			reason: "agent is the composition root: only commands start from it"},
		{from: []string{"@"}, but: []string{"@cmd", "@test"}, to: []string{"@cmd"},
			reason: "commands turn flags into calls; nothing depends on them"},
		{from: []string{"@"}, but: forTests, to: forTests,
			reason: "what is built for tests stays out of the binary"},
		{from: []string{"@cmd/davit"}, to: []string{"@"},
			except: []string{"@cmd/davit", "@agent!", "@agent/server/client", "@agent/server/wire", "@agent/podspec", "@runtime!", "@runtime/helper"},
			reason: "the command line talks to the composition root or, through the client, to the one that runs, and reads manifests as that does"},
		{from: []string{"@cmd/davit-helper"}, to: []string{"@"}, except: []string{"@cmd/davit-helper", "@runtime/logs/pump", "@runtime/enter/inside"},
			reason: "the helper stays small: it is in every pod's memory"},
		{from: []string{"@cmd/davit-helper"}, to: []string{"k8s.io", "github.com", "sigs.k8s.io", "google.golang.org", "net/http", "crypto/tls"},
			except: []string{"@cmd/davit-helper", "@runtime/logs"}, deep: true,
			reason: "the helper stays small: the standard library and x/sys only"},
		{from: []string{"@runtime"}, to: []string{"@agent", "@network", "@proxy", "@systemd"},
			except: []string{"@network/ns", "@network/nft", "@network/conntrack"},
			reason: "runtime knows containers, not pods' policy, packets or the service manager"},
		{from: []string{"@network"}, to: []string{"@agent", "@runtime", "@proxy", "@systemd"},
			reason: "network wires namespaces and knows nothing of what runs in them"},
		{from: []string{"@proxy"}, to: []string{"@agent", "@runtime", "@network", "@systemd"},
			except: []string{"@network/ns", "@network/nft", "@network/conntrack"},
			reason: "proxy routes Services and knows neither pods nor containers"},
		{from: []string{"@systemd"}, to: []string{"@agent", "@runtime", "@network", "@proxy"},
			reason: "systemd is davit's side of the service manager and nothing else"},
		{from: []string{"@agent/podspec"}, to: []string{"@"}, except: []string{"@agent/podspec", "@agent/downward"},
			reason: "reading manifests needs nothing of what runs them"},
		{from: []string{"@agent/lifecycle"}, to: []string{"@"}, except: []string{"@agent/lifecycle", "@runtime!", "@runtime/cgroup/qos"},
			reason: "lifecycle decides on values: of the contract it knows the types"},
		{from: []string{"@agent/downward"}, to: []string{"@"}, except: []string{"@agent/downward"},
			reason: "the downward API reads a pod and nothing else"},
		{from: []string{"@agent/handler"}, to: []string{"@"}, except: []string{"@agent/handler"},
			reason: "how a handler's request is made follows from the handler alone"},
		{from: []string{"@agent/containerenv"}, to: []string{"@"}, except: []string{"@agent/containerenv", "@agent/downward", "@runtime/oci"},
			reason: "a container's environment follows from objects that are passed in"},
		{from: []string{"@runtime!"}, to: []string{"@"}, reason: "the contract depends on nobody who keeps it"},
		{from: []string{"@"}, but: []string{"@test"}, to: []string{"k8s.io/kubernetes"}, deep: true,
			reason: "Kubernetes' own components are oracles for tests, never part of davit"},
		{from: []string{"@"}, but: append([]string{"@runtime/containerd"}, forTests...), to: []string{"github.com/containerd/containerd/v2/client"},
			reason: "only runtime/containerd talks to containerd"},
		{from: []string{"@"}, but: []string{"@network", "@test"}, to: []string{"github.com/vishvananda/netlink", "github.com/vishvananda/netns"},
			reason: "only network speaks netlink"},
		{from: []string{"@"}, but: []string{"@network/nft", "@test"}, to: []string{"github.com/google/nftables", "github.com/mdlayher/netlink"},
			reason: "only network/nft writes nftables, so that one repair loop keeps all tables"},
		{from: []string{"@agent/lifecycle", "@agent/downward", "@agent/containerenv", "@proxy/rules", "@runtime/oci!"}, to: []string{
			"os", "net!", "net/http", "context", "syscall!", "golang.org/x/sys", "k8s.io/client-go", "github.com/containerd/containerd", "github.com/vishvananda"},
			reason: "a pure core takes values and returns values (netip is one, a socket is not)"},
	}
	for _, room := range agentRooms(pkgs) {
		edges = append(edges, edge{from: []string{"@agent/" + room}, to: []string{"@"},
			except: []string{"@agent/" + room, "@agent/lifecycle", "@agent/podspec", "@agent/downward", "@agent/containerenv", "@agent/handler",
				"@runtime!", "@runtime/oci", "@runtime/cgroup/qos", "@runtime/logs/cri"},
			reason: "agent's rooms declare the interfaces they need and never name a sibling, so that each can be read and tested alone"})
	}
	return edges
}

// crossings are the imports that edges forbid.
func crossings(pkgs []listed, edges []edge) []string {
	var out []string
	for _, p := range pkgs {
		for _, e := range edges {
			if !matches(p.ImportPath, e.from) || matches(p.ImportPath, e.but) {
				continue
			}
			imports := p.Imports
			if e.deep {
				imports = p.Deps
			}
			for _, to := range imports {
				if matches(to, e.to) && !matches(to, e.except) {
					out = append(out, fmt.Sprintf("%s imports %s: %s", short(p.ImportPath), short(to), e.reason))
				}
			}
		}
	}
	return out
}

func TestLayering(t *testing.T) {
	pkgs, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 10 {
		t.Fatalf("go list tells of %d packages only", len(pkgs))
	}
	report(t, crossings(pkgs, layering(pkgs)))
}

// Every edge can be crossed, and is noticed then.
func TestLayeringNotices(t *testing.T) {
	pkg := func(path string, imports ...string) listed {
		for i, to := range imports {
			imports[i] = strings.Replace(to, "@", module+"/", 1)
		}
		return listed{ImportPath: module + "/" + path, Imports: imports, Deps: imports}
	}
	for _, c := range []struct {
		pkg  listed
		want string // "" if it is allowed
	}{
		{pkg("runtime/containerd", "@runtime", "@network/ns", "github.com/containerd/containerd/v2/client"), ""},
		{pkg("cmd/davit", "@agent", "@agent/server/client"), ""},
		{pkg("agent/pods", "@agent/lifecycle", "@runtime", "context", "os"), ""},
		{pkg("test/x", "@agent", "@agent/pods", "k8s.io/kubernetes/pkg/api"), ""},
		{pkg("agent/lifecycle", "net/netip", "@runtime", "time"), ""},
		{pkg("network", "@network/nft", "github.com/vishvananda/netlink"), ""},
		{pkg("examples/pack", "os", "net"), ""},
		{pkg("runtime/oci", "@agent"), "composition root"},
		{pkg("examples/pack", "@cmd/davit/printer"), "nothing depends on them"},
		{pkg("examples/pack", "@test/testbed"), "stays out of the binary"},
		{pkg("runtime/containerd", "@runtime/runtimetest"), "stays out of the binary"},
		{pkg("cmd/davit", "@agent/pods"), "talks to the composition root"},
		{pkg("cmd/davit-helper", "@runtime/cgroup"), "in every pod's memory"},
		{pkg("cmd/davit-helper", "net/http"), "x/sys only"},
		{pkg("runtime/logs", "@network"), "runtime knows containers"},
		{pkg("network/ns", "@runtime"), "knows nothing of what runs"},
		{pkg("proxy", "@network"), "knows neither pods"},
		{pkg("systemd", "@runtime"), "service manager and nothing else"},
		{pkg("agent/podspec", "@runtime"), "reading manifests"},
		{pkg("agent/volumes", "@agent/downward"), ""},
		{pkg("agent/lifecycle", "@runtime/oci"), "knows the types"},
		{pkg("agent/downward", "@runtime"), "reads a pod"},
		{pkg("agent/containerenv", "@agent/pods"), "passed in"},
		{pkg("runtime", "@runtime/oci"), "nobody who keeps it"},
		{pkg("network/x", "k8s.io/kubernetes/pkg/api"), "oracles"},
		{pkg("runtime/logs", "github.com/containerd/containerd/v2/client"), "only runtime/containerd"},
		{pkg("runtime/logs", "github.com/vishvananda/netlink"), "speaks netlink"},
		{pkg("network", "github.com/google/nftables/expr"), "one repair loop"},
		{pkg("agent/lifecycle", "os"), "pure core"},
		{pkg("proxy/rules", "net"), "pure core"},
		{pkg("runtime/oci", "context"), "pure core"},
		{pkg("agent/server/client", "@agent/report"), "never name a sibling"},
		{pkg("agent/source", "@runtime/containerd"), "never name a sibling"},
	} {
		found := crossings([]listed{c.pkg}, layering([]listed{c.pkg}))
		if c.want == "" {
			expect(t, found)
		} else if len(found) == 0 || !strings.Contains(strings.Join(found, "\n"), c.want) {
			t.Errorf("%s imports %v: found %q, want %q", c.pkg.ImportPath, c.pkg.Imports, found, c.want)
		}
	}
}
