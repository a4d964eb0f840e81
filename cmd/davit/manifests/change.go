package manifests

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/davit-agent/davit/agent/podspec/strictyaml"
)

// Action is what becomes of an object, in kubectl's words.
type Action string

// The actions.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Unchanged  Action = "unchanged"
	Deleted    Action = "deleted"
)

// Change is one thing to do, or done.
type Change struct {
	Object
	Action Action
	Path   string // of the file that is written or removed, or has it already
}

// ErrNotFound: no file of the directory defines the object.
var ErrNotFound = errors.New("not found")

// Apply returns what has to be written for objs to stand in the directory: what
// pods need comes before them, else in the order given. force takes over files
// that somebody else wrote and that hold nothing else. The error joins all
// reasons why it cannot be done.
func (d *Dir) Apply(objs []Object, force bool) ([]Change, error) {
	var out []Change
	var errs []error
	seen, taken := map[ID]Object{}, map[string]bool{}
	for _, o := range objs {
		if first, twice := seen[o.ID]; twice {
			errs = append(errs, fmt.Errorf("%s:%d: %s stands in %s:%d already: leave one of them out", o.File, o.Line, o.long(), first.File, first.Line))
			continue
		}
		seen[o.ID] = o
		c, err := d.apply(o, force, taken)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		taken[c.Path] = true
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b Change) int { return rank(a.Kind) - rank(b.Kind) })
	return out, errors.Join(errs...)
}

// rank orders kinds: pods come last.
func rank(kind string) int {
	if kind == "Pod" {
		return 1
	}
	return 0
}

func (d *Dir) apply(o Object, force bool, taken map[string]bool) (Change, error) {
	c := Change{Object: o, Action: Configured}
	at := d.places(o.ID)
	if len(at) == 0 {
		c.Action, c.Path = Created, d.newPath(o.ID, taken)
		return c, nil
	}
	p := at[0]
	c.Path = p.path
	switch {
	case len(at) > 1:
		return c, twice(o.ID, at)
	case bytes.Equal(p.obj.content, o.content):
		c.Action = Unchanged
		return c, nil
	case !p.alone():
		return c, fmt.Errorf("%s stands in %s, together with others: edit that file", o.long(), p)
	case p.link:
		return c, fmt.Errorf("%s stands in %s, which is a symbolic link: edit what it leads to", o.long(), p)
	case !p.ours && !force:
		return c, fmt.Errorf("%s stands in %s, which davit apply did not write: edit that file, or replace it with --force", o.long(), p)
	}
	return c, nil
}

func twice(id ID, at []place) error {
	var names []string
	for _, p := range at {
		names = append(names, p.String())
	}
	return fmt.Errorf("%s stands in several places, %s: remove all but one", id.long(), strings.Join(names, " and "))
}

// Delete returns what has to go for an object not to stand in the directory.
// ErrNotFound: it does not.
func (d *Dir) Delete(id ID) (Change, error) {
	at := d.places(id)
	switch {
	case len(at) == 0:
		return Change{}, d.notFound(id)
	case len(at) > 1:
		return Change{}, twice(id, at)
	case !at[0].alone():
		return Change{}, fmt.Errorf("%s stands in %s, together with others: take it out of that file", id.long(), at[0])
	}
	return Change{Object: at[0].obj, Action: Deleted, Path: at[0].path}, nil
}

// notFound tells what may have been meant.
func (d *Dir) notFound(id ID) error {
	var names, elsewhere []string
	var unread []string
	for path, f := range d.files {
		for _, o := range f.objs {
			switch {
			case o.Kind == id.Kind && o.Namespace == id.Namespace:
				names = append(names, o.Name)
			case o.Kind == id.Kind && o.Name == id.Name:
				elsewhere = append(elsewhere, o.Namespace)
			}
		}
		if !f.whole {
			unread = append(unread, path)
		}
	}
	slices.Sort(elsewhere)
	slices.Sort(unread)
	hint := ""
	if near := strictyaml.Nearest(id.Name, names); near != "" {
		hint = fmt.Sprintf("; did you mean %s?", near)
	} else if len(elsewhere) > 0 {
		hint = fmt.Sprintf("; there is one in namespace %s: use -n %s", elsewhere[0], elsewhere[0])
	} else if len(unread) > 0 {
		hint = "; it may stand in a file that cannot be read whole: " + strings.Join(unread, ", ")
	}
	return fmt.Errorf("%s %q %w in the manifests of namespace %q%s", strings.ToLower(id.Kind), id.Name, ErrNotFound, id.Namespace, hint)
}

// aside is the file that becomes another one by renaming. There is one at a time,
// so that one which a killed apply left is written over by the next.
const aside = ".davit-apply.tmp"

// Do carries a change out. When it returns nil it is durable.
func (d *Dir) Do(c Change) error {
	switch c.Action {
	case Unchanged:
		return nil
	case Deleted:
		if err := os.Remove(c.Path); err != nil {
			return fmt.Errorf("deleting %s: %w", c.long(), err)
		}
	default:
		if err := d.write(c); err != nil {
			return fmt.Errorf("writing %s: %w", c.long(), err)
		}
	}
	if err := d.lock.Sync(); err != nil {
		return fmt.Errorf("syncing the manifest directory %s: %w", d.path, err)
	}
	return nil
}

func (d *Dir) write(c Change) error {
	text, err := c.text(filepath.Ext(c.Path) == ".json")
	if err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if c.Kind == "Secret" {
		mode = 0o600
	}
	temp := filepath.Join(d.path, aside)
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temp, c.Path)
	}
	if err != nil {
		os.Remove(temp)
	}
	return err
}
