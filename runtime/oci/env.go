package oci

import (
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/runtime"
)

// defaultPath is what containerd gives to images without a PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Expand replaces each $(NAME) in s by what lookup has for NAME. $$ stands for
// one $, so $$(NAME) is kept from expansion; a NAME that lookup does not have
// stays as it is written, and so does a $( that is not closed.
func Expand(s string, lookup func(name string) (string, bool)) string {
	var out strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			return out.String() + s
		}
		out.WriteString(s[:i])
		next := s[i+1]
		s = s[i+2:]
		if next == '$' {
			out.WriteByte('$')
			continue
		}
		end := strings.IndexByte(s, ')')
		if next != '(' || end < 0 {
			out.WriteString("$" + string([]byte{next}))
			continue
		}
		name := s[:end]
		s = s[end+1:]
		if v, ok := lookup(name); ok {
			out.WriteString(v)
		} else {
			out.WriteString("$(" + name + ")")
		}
	}
}

// vars is a list of variables of which each name is set once, in the order in
// which the names came up.
type vars struct {
	list  []Var
	index map[string]int
}

func (v *vars) set(name, value string) {
	if v.index == nil {
		v.index = map[string]int{}
	}
	if i, ok := v.index[name]; ok {
		v.list[i].Value = value
		return
	}
	v.index[name] = len(v.list)
	v.list = append(v.list, Var{name, value})
}

func (v *vars) get(name string) (string, bool) {
	i, ok := v.index[name]
	if !ok {
		return "", false
	}
	return v.list[i].Value, true
}

// Environ returns the variables that the pod gives to the container: envFrom,
// then env with $(VAR) expanded from what stands before it, then those of
// Services. It is what command and args are expanded with.
func Environ(in Input) ([]Var, error) {
	b, err := newBuilder(in)
	if err != nil {
		return nil, err
	}
	v, err := b.podEnv()
	if err != nil {
		return nil, err
	}
	return v.list, nil
}

func (b *builder) podEnv() (*vars, error) {
	var env, services vars
	for _, e := range b.in.Env.From {
		env.set(e.Name, e.Value)
	}
	for _, e := range b.in.Env.Services {
		services.set(e.Name, e.Value)
	}
	lookup := func(name string) (string, bool) {
		if v, ok := env.get(name); ok {
			return v, true
		}
		return services.get(name)
	}
	for i, e := range b.c.Env {
		if e.Name == "" || strings.ContainsAny(e.Name, "=\x00") || strings.Contains(e.Value, "\x00") {
			return nil, config(b.field("env[%d]", i), "", "%q is no environment variable", e.Name)
		}
		value := Expand(e.Value, lookup)
		if e.ValueFrom != nil {
			v, ok := b.in.Env.Values[i]
			if !ok && optional(e.ValueFrom) {
				continue
			}
			if !ok {
				return nil, config(b.field("env[%d].valueFrom", i), "", "variable %q could not be resolved", e.Name)
			}
			value = v
		}
		env.set(e.Name, value)
	}
	for _, e := range services.list {
		if _, ok := env.get(e.Name); !ok {
			env.set(e.Name, e.Value)
		}
	}
	return &env, nil
}

func optional(s *v1.EnvVarSource) bool {
	is := func(p *bool) bool { return p != nil && *p }
	switch {
	case s.ConfigMapKeyRef != nil:
		return is(s.ConfigMapKeyRef.Optional)
	case s.SecretKeyRef != nil:
		return is(s.SecretKeyRef.Optional)
	case s.FileKeyRef != nil:
		return is(s.FileKeyRef.Optional)
	}
	return false
}

// environment is what the process starts with: PATH, TERM and HOSTNAME, over
// them the image's, over them the pod's.
func (b *builder) environment() ([]string, error) {
	var env vars
	env.set("PATH", defaultPath)
	if b.c.TTY {
		env.set("TERM", "xterm")
	}
	hostname := b.in.Hostname
	if hostname == "" {
		hostname = b.in.Node.Hostname
	}
	env.set("HOSTNAME", hostname)
	for _, e := range b.image.Config.Env {
		if name, value, ok := strings.Cut(e, "="); ok && name != "" {
			env.set(name, value)
		}
	}
	pod, err := b.podEnv()
	if err != nil {
		return nil, err
	}
	for _, e := range pod.list {
		env.set(e.Name, e.Value)
	}
	out := make([]string, len(env.list))
	for i, e := range env.list {
		out[i] = e.Name + "=" + e.Value
	}
	return out, nil
}

// Args returns the process's arguments: command and args of the container, or
// entrypoint and cmd of the image where they are absent; a command alone drops
// the image's cmd too. $(VAR) is expanded from env in what the container says.
// It returns nil if nobody says anything. image may be nil.
func Args(c *v1.Container, image *runtime.Image, env []Var) []string {
	var known vars
	for _, e := range env {
		known.set(e.Name, e.Value)
	}
	command, args := expandAll(c.Command, known.get), expandAll(c.Args, known.get)
	if len(command) == 0 && image != nil {
		if len(args) == 0 {
			args = image.Config.Cmd
		}
		if e := image.Config.Entrypoint; len(e) != 1 || e[0] != "" {
			command = e
		}
	}
	var out []string
	return append(append(out, command...), args...)
}

func expandAll(list []string, lookup func(string) (string, bool)) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = Expand(s, lookup)
	}
	return out
}

func (b *builder) args() ([]string, error) {
	env, err := b.podEnv()
	if err != nil {
		return nil, err
	}
	args := Args(b.c, b.in.Image, env.list)
	if len(args) == 0 {
		return nil, create(b.field("command"), "set command, or use an image with an ENTRYPOINT or CMD", "no command specified")
	}
	return args, nil
}
