package pods

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"unicode/utf8"

	v1 "k8s.io/api/core/v1"

	"github.com/davit-agent/davit/agent/lifecycle"
	"github.com/davit-agent/davit/runtime/logs/cri"
)

// Kubernetes' limits of termination messages (kubelet's container package), in
// bytes but for the lines.
const (
	maxTerminationMessage = 4096      // out of the file
	maxMessageLog         = 2048      // out of the log
	maxMessageLines       = 80        // likewise
	maxPodMessages        = 12 * 1024 // of a pod, in equal parts for its containers
)

// logTail is how much of the end of a log file is looked at: 80 records with
// their headers (under 50 bytes each) and 2048 bytes of text are in it, even if
// it begins in the middle of the longest record (16 KiB and a header).
const logTail = 64 << 10

func terminationLogPath(dir, container string, attempt uint32) string {
	return filepath.Join(dir, "containers", container, fmt.Sprintf("termination-log.%d", attempt))
}

// terminationLog makes the file behind terminationMessagePath of one attempt.
func terminationLog(dir, container string, attempt uint32) (string, error) {
	path := terminationLogPath(dir, container, attempt)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("making the termination log of container %q: %w", container, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|syscall.O_NOFOLLOW, 0o666)
	if err != nil {
		return "", fmt.Errorf("making the termination log of container %q: %w", container, err)
	}
	defer f.Close()
	return path, f.Chmod(0o666) // whatever the umask; the container's user writes it
}

// noteMessage gives the exit of a container's current attempt its termination
// message, once there is one. It is called when the exit is first seen, and again
// when the attempt is removed: what it logged last is in its file only then.
func (w *worker) noteMessage(container string) {
	a, c := w.facts.Containers[container].Current, w.container(container)
	if a == nil || a.Exit == nil || a.Exit.Message != "" || c == nil {
		return
	}
	spec := &w.pod.Spec
	w.facts = lifecycle.WithMessage(w.facts, container, ending{
		container: c,
		file:      terminationLogPath(w.p.store.Dir(w.uid), container, a.Number),
		log:       logPath(w.p.cfg.LogDir, w.ref(), container, a.Number),
		logged:    a.Removed,
		failed:    a.Exit.Code != 0,
		sharers:   len(spec.InitContainers) + len(spec.Containers) + len(spec.EphemeralContainers),
	}.message())
}

// ending is what the message of an attempt that ended follows from.
type ending struct {
	container *v1.Container
	file      string // the termination log
	log       string // the live log file
	logged    bool   // nothing is added to the log any more
	failed    bool   // the exit code is not 0
	sharers   int    // containers that share the pod's limit
}

// message returns the attempt's termination message: the end of the file that it
// could write, or the end of its log if it failed and wrote none and its policy
// is FallbackToLogsOnError.
func (e ending) message() string {
	text, cut, err := readEnd(e.file, maxTerminationMessage)
	if cut {
		text = wholeRunes(text)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return e.limit([]byte(fmt.Sprintf("Error on reading termination log %s: %v", e.file, err)))
	}
	fallback := e.container.TerminationMessagePolicy == v1.TerminationMessageFallbackToLogsOnError
	if len(text) == 0 && fallback && e.failed && e.logged {
		if text, err = logEnd(e.log); err != nil {
			text = []byte(fmt.Sprintf("Error on reading termination message from logs: %v", err))
		}
	}
	return e.limit(text)
}

// limit cuts the message to the container's part of what a pod may have, and
// makes it UTF-8, as JSON can only hold that.
func (e ending) limit(text []byte) string {
	text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	most := min(maxTerminationMessage, maxPodMessages/max(1, e.sharers))
	if len(text) > most {
		for most > 0 && !utf8.RuneStart(text[most]) {
			most--
		}
		text = text[:most]
	}
	return string(text)
}

// readEnd returns the last bytes of a file that somebody else may have had in
// hand: it does not wait for a FIFO, follow a link or read a device. cut tells
// that there is something before.
func readEnd(path string, most int64) (data []byte, cut bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() {
		return nil, false, fmt.Errorf("it is no regular file but %s", info.Mode().Type())
	}
	from := max(0, info.Size()-most)
	data, err = io.ReadAll(io.NewSectionReader(f, from, most))
	return data, from > 0, err
}

// wholeRunes drops the rest of a character that text begins in the middle of.
func wholeRunes(text []byte) []byte {
	for range utf8.UTFMax - 1 {
		if len(text) > 0 && !utf8.RuneStart(text[0]) {
			text = text[1:]
		}
	}
	return text
}

// logEnd returns the text of the last records of a log, at most 80 and 2048
// bytes. Right after a rotation they are in two files.
func logEnd(live string) ([]byte, error) {
	files, err := cri.Rotated(live)
	if err != nil {
		return nil, err
	}
	files = append(files, live)
	var text []byte
	lines := maxMessageLines
	for _, path := range slices.Backward(files) {
		data, cut, err := readEnd(path, logTail)
		if errors.Is(err, fs.ErrNotExist) { // rotated away, or nothing was ever logged
			continue
		}
		if err != nil {
			return nil, err
		}
		if cut {
			_, data, _ = bytes.Cut(data, []byte{'\n'})
		}
		part, n := lastRecords(data, lines)
		text, lines = append(part, text...), lines-n
		if lines <= 0 || len(text) >= maxMessageLog {
			break
		}
	}
	if len(text) > maxMessageLog {
		text = wholeRunes(text[len(text)-maxMessageLog:])
	}
	return text, nil
}

// lastRecords returns the text of the last n records in data and how many there
// were. What is not in the format is passed over.
func lastRecords(data []byte, n int) (text []byte, found int) {
	var parts [][]byte
	for len(data) > 0 && found < n {
		data = bytes.TrimSuffix(data, []byte{'\n'})
		i := bytes.LastIndexByte(data, '\n') + 1
		if r, err := cri.Parse(data[i:]); err == nil {
			if !r.Partial {
				parts = append(parts, []byte{'\n'})
			}
			parts = append(parts, r.Content)
			found++
		}
		data = data[:i]
	}
	slices.Reverse(parts)
	return bytes.Join(parts, nil), found
}
