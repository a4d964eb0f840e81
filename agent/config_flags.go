package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/davit-agent/davit/agent/podspec/strictyaml"
)

// configKey is a leaf of Config.
type configKey struct {
	path  string // containerd.address
	index []int  // for reflect.Value.FieldByIndex
	typ   reflect.Type
}

// flag returns the name of the key's flag.
func (k configKey) flag() string {
	var b strings.Builder
	lower := false
	for _, r := range k.path {
		switch {
		case r == '.':
			r, lower = '-', false
		case unicode.IsUpper(r):
			if lower {
				b.WriteByte('-')
			}
			r, lower = unicode.ToLower(r), false
		default:
			lower = true
		}
		b.WriteRune(r)
	}
	return b.String()
}

// configKeys returns all keys in the order of the struct.
func configKeys() []configKey {
	var out []configKey
	var walk func(t reflect.Type, path string, index []int)
	walk = func(t reflect.Type, path string, index []int) {
		for f := range t.Fields() {
			at := slices.Concat(index, f.Index)
			name := path + f.Tag.Get("json")
			if f.Anonymous {
				walk(f.Type, path, at)
				continue
			}
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type, name+".", at)
				continue
			}
			out = append(out, configKey{path: name, index: at, typ: f.Type})
		}
	}
	walk(reflect.TypeFor[Config](), "", nil)
	return out
}

// flagUsage says what a flag is for where its name does not.
var flagUsage = map[string]string{
	"nodeName":                "name of this node (default: host name)",
	"nodeIPs":                 "addresses of this node, comma-separated (default: those of the default routes)",
	"stateDir":                "directory for what survives a reboot",
	"runDir":                  "directory for sockets, pinned namespaces and FIFOs",
	"logDir":                  "directory for the log files of containers",
	"containerd.address":      "path of containerd's socket",
	"containerd.namespace":    "containerd namespace to work in",
	"containerd.runtimes":     "RuntimeClass handlers, handler=runtime, comma-separated; the empty handler is the default",
	"containerd.ociRuntime":   "OCI runtime program, such as crun (default: containerd's)",
	"containerd.podsPerShim":  "pods that share one shim process",
	"cgroup.driver":           "auto or cgroupfs",
	"cgroup.root":             "cgroup below which kubepods is made",
	"images.preload":          "directory of image archives to load",
	"images.hosts":            "directory of hosts.toml files that name mirrors, CAs and plain-HTTP registries",
	"images.credentials":      "file with registry credentials, docker's config.json",
	"images.maxParallelPulls": "images that are pulled at a time",
	"images.pullStall":        "time without a byte after which a pull has failed",
	"source.manifests":        "directory of pod manifests",
	"source.url":              "URL of pod manifests, polled",
	"source.urlHeaders":       "headers sent to source.url, name=value, comma-separated",
	"source.urlCA":            "PEM file of the CAs of source.url (default: the system's)",
	"source.urlCert":          "PEM file of the client certificate for source.url",
	"source.urlKey":           "PEM file of its key",
	"source.pollInterval":     "time between two requests to source.url",
	"network.mode":            "pod network: ptp",
	"network.podCIDRs":        "address ranges of this node's pods, comma-separated",
	"network.clusterCIDRs":    "ranges that are not masqueraded, comma-separated (default: network.podCIDRs)",
	"network.mtu":             "MTU of pods in bytes, 0 for the uplink's",
	"dns.servers":             "DNS servers of pods with dnsPolicy ClusterFirst, comma-separated",
	"dns.domain":              "cluster domain",
	"logs.external":           "the log pump is started by somebody else, such as systemd",
	"logs.maxSize":            "size at which a container's log file is rotated, such as 10Mi",
	"logs.maxFiles":           "log files kept of a container",
	"seccompDefault":          "seccomp profile of pods that name none: RuntimeDefault or Unconfined",
	"metrics.address":         "address of the metrics endpoint, host:port, empty for none",
	"maxPods":                 "pods that may run on this node",
	"kubeReserved":            "resources kept from pods for davit, containerd and shims, such as cpu=100m,memory=200Mi,pid=1000",
	"systemReserved":          "resources kept from pods for the rest of the system, likewise",
	"podPidsLimit":            "processes and threads that a pod may have, -1 for as many as all pods may have",
	"memorySwap.swapBehavior": "what containers may swap: NoSwap, or LimitedSwap for a part by memory request (cgroup v2)",
	"singleProcessOOMKill":    "kill one process and not the whole container when it is out of memory (cgroup v2)",
	"allowedUnsafeSysctls":    "sysctls that pods may set beyond the safe ones, comma-separated, such as net.core.*",
}

// ConfigFlags are the flags of a Config.
type ConfigFlags struct {
	flags   *pflag.FlagSet
	scratch Config // holds the values of the flags that were set
}

// BindFlags adds a flag to fs for every key of Config: the key's path with
// hyphens, as in --containerd-pods-per-shim.
func BindFlags(fs *pflag.FlagSet) *ConfigFlags {
	f := &ConfigFlags{flags: fs}
	defaults := reflect.ValueOf(DefaultConfig()).Elem()
	for _, k := range configKeys() {
		v := &flagValue{
			key: k, into: reflect.ValueOf(&f.scratch).Elem().FieldByIndex(k.index),
			text: flagText(defaults.FieldByIndex(k.index)),
		}
		flag := fs.VarPF(v, k.flag(), "", flagUsage[k.path])
		if k.typ.Kind() == reflect.Bool {
			flag.NoOptDefVal = "true"
		}
	}
	return f
}

// Apply sets in c what was set by flags.
func (f *ConfigFlags) Apply(c *Config) {
	from, to := reflect.ValueOf(&f.scratch).Elem(), reflect.ValueOf(c).Elem()
	for _, k := range configKeys() {
		if f.flags.Changed(k.flag()) {
			to.FieldByIndex(k.index).Set(from.FieldByIndex(k.index))
		}
	}
}

// flagValue implements pflag.Value for one key.
type flagValue struct {
	key  configKey
	into reflect.Value
	text string
}

// String returns the value as it is given on the command line.
func (v *flagValue) String() string { return v.text }

// Type names the type for the help text.
func (v *flagValue) Type() string {
	switch v.key.typ.Kind() {
	case reflect.Slice:
		return "list"
	case reflect.Map:
		return "key=value,..."
	case reflect.Int:
		return "int"
	case reflect.Bool:
		return "bool"
	case reflect.Int64:
		if v.key.typ == reflect.TypeFor[Duration]() {
			return "duration"
		}
		return "bytes"
	}
	return "string"
}

// Set takes a value. It replaces the one before; lists are comma-separated.
func (v *flagValue) Set(text string) error {
	n, err := flagNode(v.key.typ, text)
	if err != nil {
		return err
	}
	fresh := reflect.New(v.key.typ)
	if problems := n.Decode(fresh.Interface(), v.key.path); len(problems) > 0 {
		return errors.New(problems[0].Message)
	}
	v.into.Set(fresh.Elem())
	v.text = text
	return nil
}

// flagNode makes of a flag's text what the same value is in a file.
func flagNode(t reflect.Type, text string) (*strictyaml.Node, error) {
	leaf := &strictyaml.Node{Kind: strictyaml.String, Text: text, Raw: text}
	switch t.Kind() {
	case reflect.Bool:
		if text == "true" || text == "false" {
			leaf.Kind = strictyaml.Bool
		}
	case reflect.Int:
		if json.Valid([]byte(text)) {
			leaf.Kind = strictyaml.Number
		}
	case reflect.Slice:
		list := &strictyaml.Node{Kind: strictyaml.List}
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list.Items = append(list.Items, &strictyaml.Node{Kind: strictyaml.String, Text: part, Raw: part})
			}
		}
		return list, nil
	case reflect.Map:
		m := &strictyaml.Node{Kind: strictyaml.Map}
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			key, value, ok := strings.Cut(part, "=")
			if !ok {
				return nil, fmt.Errorf("want key=value, got %q", part)
			}
			m.Keys = append(m.Keys, key)
			m.Items = append(m.Items, &strictyaml.Node{Kind: strictyaml.String, Text: value, Raw: value})
		}
		return m, nil
	}
	return leaf, nil
}

// flagText is the opposite of flagNode.
func flagText(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Slice:
		var parts []string
		for i := range v.Len() {
			parts = append(parts, fmt.Sprint(v.Index(i).Interface()))
		}
		return strings.Join(parts, ",")
	case reflect.Map:
		var parts []string
		for _, k := range v.MapKeys() {
			parts = append(parts, k.String()+"="+v.MapIndex(k).String())
		}
		slices.Sort(parts)
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(v.Interface())
}

// Print returns the configuration as a YAML file that Parse reads, with the keys
// in the order of the documentation.
func (c *Config) Print() ([]byte, error) {
	var b strings.Builder
	section := ""
	for _, k := range configKeys() {
		v := reflect.ValueOf(c).Elem().FieldByIndex(k.index)
		name, indent := k.path, ""
		if outer, inner, ok := strings.Cut(k.path, "."); ok {
			if outer != section {
				b.WriteString(outer + ":\n")
			}
			section, name, indent = outer, inner, "  "
		}
		text, err := printed(v)
		if err != nil {
			return nil, fmt.Errorf("printing %s: %w", k.path, err)
		}
		b.WriteString(indent + name + ": " + text + "\n")
	}
	return []byte(b.String()), nil
}

// printed returns a value on one line: lists and mappings as JSON, which YAML
// contains, and scalars with quotes only where they need them.
func printed(v reflect.Value) (string, error) {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		if v.Len() == 0 {
			return map[bool]string{true: "[]", false: "{}"}[v.Kind() == reflect.Slice], nil
		}
		out, err := json.Marshal(v.Interface())
		return string(out), err
	}
	out, err := yaml.Marshal(v.Interface())
	return strings.TrimSpace(string(out)), err
}
