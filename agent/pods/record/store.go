package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
)

// The files of a record.
const (
	SpecFile  = "pod.json"
	FactsFile = "facts.json"
)

// Entry is what a pod's directory says.
type Entry struct {
	UID    string
	Pod    *v1.Pod
	Origin string
	Facts  lifecycle.Facts
}

// specRecord is the form of pod.json.
type specRecord struct {
	Origin string  `json:"origin"`
	Pod    *v1.Pod `json:"pod"`
}

// Store keeps the records, one directory a pod.
type Store struct{ root string }

var uidPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// Open opens or makes <stateDir>/pods.
func Open(stateDir string) (*Store, error) {
	root := filepath.Join(stateDir, "pods")
	if err := os.MkdirAll(root, 0o750); err != nil {
		return nil, fmt.Errorf("making the pod record directory: %w", err)
	}
	return &Store{root: root}, nil
}

// Dir returns the directory of a pod.
func (s *Store) Dir(uid string) string { return filepath.Join(s.root, uid) }

// Create writes the record of a newly accepted pod. When it returns nil the
// record is durable.
func (s *Store) Create(r Entry) error {
	if !uidPattern.MatchString(r.UID) {
		return fmt.Errorf("recording pod %s/%s: UID %q is not usable as a directory name",
			r.Pod.Namespace, r.Pod.Name, r.UID)
	}
	dir := s.Dir(r.UID)
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("recording pod %s/%s: %w", r.Pod.Namespace, r.Pod.Name, err)
	}
	if err := s.SaveFacts(r.UID, r.Facts); err != nil {
		return err
	}
	// pod.json last: a directory without it was never accepted.
	if err := s.SavePod(r); err != nil {
		return err
	}
	return syncDir(s.root)
}

// SavePod replaces the pod and its origin; not the facts. When it returns nil
// they are durable.
func (s *Store) SavePod(r Entry) error {
	if err := writeJSON(s.Dir(r.UID), SpecFile, specRecord{Origin: r.Origin, Pod: r.Pod}); err != nil {
		return fmt.Errorf("recording pod %s/%s: %w", r.Pod.Namespace, r.Pod.Name, err)
	}
	return nil
}

// SaveFacts replaces the facts. When it returns nil they are durable.
func (s *Store) SaveFacts(uid string, f lifecycle.Facts) error {
	if err := writeJSON(s.Dir(uid), FactsFile, f); err != nil {
		return fmt.Errorf("recording facts of pod %s: %w", uid, err)
	}
	return nil
}

// Remove removes the record and whatever is left in the pod's directory. The
// caller has unmounted everything below it. It needs no free disk space.
func (s *Store) Remove(uid string) error {
	dir := s.Dir(uid)
	// Without pod.json the rest is a left-over that Load clears away.
	if err := os.Remove(filepath.Join(dir, SpecFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing record of pod %s: %w", uid, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing record of pod %s: %w", uid, err)
	}
	return nil
}

// Withdraw takes back a record that Create could not complete. It removes only
// what Create writes: an earlier pod's volumes may still be below the directory.
func (s *Store) Withdraw(uid string) error {
	if !uidPattern.MatchString(uid) {
		return nil // Create made nothing
	}
	dir := s.Dir(uid)
	for _, name := range []string{SpecFile, FactsFile} { // in this order: without pod.json it is no record
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("withdrawing record of pod %s: %w", uid, err)
		}
	}
	_ = os.Remove(dir) // if nothing else is in it
	return nil
}

// Load reads all records. Problems are those of single records; a record that
// cannot be read is not in the result, and its pod must be left alone.
// Leftovers are UIDs whose directory holds no accepted pod.
func (s *Store) Load() (records []Entry, leftovers []string, problems []error) {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return nil, nil, []error{fmt.Errorf("listing pod records: %w", err)}
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		r, err := s.load(e.Name())
		switch {
		case errors.Is(err, fs.ErrNotExist):
			leftovers = append(leftovers, e.Name())
		case err != nil:
			problems = append(problems, err)
		default:
			records = append(records, r)
		}
	}
	return records, leftovers, problems
}

func (s *Store) load(uid string) (Entry, error) {
	dir := s.Dir(uid)
	var spec specRecord
	if err := readJSON(filepath.Join(dir, SpecFile), &spec); err != nil {
		return Entry{}, fmt.Errorf("reading record of pod %s: %w", uid, err)
	}
	if spec.Pod == nil || string(spec.Pod.UID) != uid {
		return Entry{}, fmt.Errorf("reading record of pod %s: %s is of another pod; move %s away to have it made anew",
			uid, SpecFile, dir)
	}
	r := Entry{UID: uid, Pod: spec.Pod, Origin: spec.Origin}
	err := readJSON(filepath.Join(dir, FactsFile), &r.Facts)
	if errors.Is(err, fs.ErrNotExist) {
		// Not fs.ErrNotExist for the caller: the pod was accepted.
		return Entry{}, fmt.Errorf("reading record of pod %s: %s is missing; move %s away to have it made anew", uid, FactsFile, dir)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("reading record of pod %s: %w; move %s away to have it made anew", uid, err, dir)
	}
	return r, nil
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// writeJSON replaces dir/name atomically and durably.
func writeJSON(dir, name string, v any) (err error) {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, "."+name+".tmp")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close() // a second Close is harmless
			os.Remove(tmp)
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// UIDs returns the names of all directories, records or not, in ascending order.
func (s *Store) UIDs() ([]string, error) {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return nil, fmt.Errorf("listing pod records: %w", err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out, nil
}

// Facts returns the facts of one record, whatever else is wrong with it.
func (s *Store) Facts(uid string) (f lifecycle.Facts, err error) {
	return f, readJSON(filepath.Join(s.Dir(uid), FactsFile), &f)
}

// BootID returns the kernel's identifier of this boot.
func BootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading the boot id: %w", err)
	}
	return string(data[:len(data)-1]), nil
}
