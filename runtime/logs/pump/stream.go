package pump

import (
	"sync/atomic"
	"time"

	"github.com/davit-agent/davit/runtime/logs/cri"
	"github.com/davit-agent/davit/runtime/logs/spool"
)

// stream is one container that is served.
type stream struct {
	file    *logFile
	sources []*source
	ended   chan struct{} // closed when the entry is gone
	closing bool          // guarded by Server.mu
	marks   []byte        // of spool.Marks; nil if that failed
}

// takeUp opens everything of an entry and begins to copy. A log file that cannot
// be opened is no error: the container must not block.
func takeUp(dir string, spec spool.Spec, lost *atomic.Int64) (*stream, error) {
	st := &stream{file: newLogFile(spec, lost), ended: make(chan struct{})}
	marks, err := spool.Marks(dir, spec)
	st.marks = marks
	if err != nil { // a full spool; without marks a kill is not told of
		marks = make([]byte, len(spec.FIFOs()))
	}
	for i := range spec.FIFOs() {
		src, err := newSource(dir, cri.Stream(i), st.file, &marks[i])
		if err != nil {
			spool.Unmark(st.marks)
			for _, s := range st.sources {
				s.fifo.Close()
			}
			return nil, err
		}
		st.sources = append(st.sources, src)
	}
	st.file.open()
	for _, src := range st.sources {
		go src.run(time.Now)
	}
	return st, nil
}

// leave ends the copying and returns when everything is written.
func (st *stream) leave(m mode) {
	for _, src := range st.sources {
		src.leave(m)
	}
	for _, src := range st.sources {
		<-src.done
	}
	spool.Unmark(st.marks)
	st.file.retry(time.Now())
	st.file.close()
}
