package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/davit-agent/davit/network/ns"
	"github.com/davit-agent/davit/runtime"
)

// record is what a sandbox consists of. The zero value is that of no sandbox.
type record struct {
	Format   string    `json:"format"` // runtime.FormatVersion
	Kinds    []ns.Kind `json:"kinds"`  // of namespaces that are the pod's own, but for PID
	Shm      bool      `json:"shm"`
	SharePID bool      `json:"sharePID"`
	NextInit uint32    `json:"nextInit"` // attempt that no init has had yet
}

func newRecord(cfg *runtime.SandboxConfig) record {
	r := record{Format: runtime.FormatVersion, Shm: !cfg.HostIPC, SharePID: cfg.SharePID, Kinds: []ns.Kind{}}
	if !cfg.HostNetwork {
		r.Kinds = append(r.Kinds, ns.Net, ns.UTS)
	}
	if !cfg.HostIPC {
		r.Kinds = append(r.Kinds, ns.IPC)
	}
	if cfg.IDs != nil {
		r.Kinds = append(r.Kinds, ns.User)
	}
	return r
}

const recordExt = ".json"

func (s *Sandboxes) recordDir() string { return filepath.Join(s.cfg.RunDir, "sandbox") }

func (s *Sandboxes) recordPath(uid string) string {
	return filepath.Join(s.recordDir(), uid+recordExt)
}

// readRecord returns the zero record if there is none. One that cannot be read
// as such counts as none too: Ensure writes it anew, Remove removes it.
func (s *Sandboxes) readRecord(uid string) (record, error) {
	b, err := os.ReadFile(s.recordPath(uid))
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, nil
	}
	if err != nil {
		return record{}, fmt.Errorf("reading sandbox record: %w", err)
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return record{}, nil
	}
	return r, nil
}

// writeRecord replaces the record have by want, where they differ.
func (s *Sandboxes) writeRecord(uid string, have, want record) error {
	if reflect.DeepEqual(have, want) {
		return nil
	}
	b, err := json.Marshal(want)
	if err != nil {
		return fmt.Errorf("writing sandbox record: %w", err)
	}
	if err := os.MkdirAll(s.recordDir(), 0o711); err != nil {
		return fmt.Errorf("writing sandbox record: %w", err)
	}
	temp := s.recordPath(uid) + ".tmp"
	if err := os.WriteFile(temp, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing sandbox record: %w", err)
	}
	if err := os.Rename(temp, s.recordPath(uid)); err != nil {
		return fmt.Errorf("writing sandbox record: %w", err)
	}
	return nil
}

func (s *Sandboxes) removeRecord(uid string) error {
	for _, p := range []string{s.recordPath(uid) + ".tmp", s.recordPath(uid)} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing sandbox record: %w", err)
		}
	}
	return nil
}

func (s *Sandboxes) listRecords() (uids []string, err error) {
	entries, err := os.ReadDir(s.recordDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing sandbox records: %w", err)
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".tmp")
		if uid, ok := strings.CutSuffix(name, recordExt); ok {
			uids = append(uids, uid)
		}
	}
	return uids, nil
}
