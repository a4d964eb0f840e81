package cri

import (
	"bytes"
	"time"
)

// MaxContent is the most bytes of text that one record holds.
const MaxContent = 16 << 10

// HeaderLen is the number of bytes before the text of a record that this
// package wrote; MaxRecord is the most bytes such a record has.
const (
	HeaderLen = len(stampLayout) + len(" stdout F ")
	MaxRecord = HeaderLen + MaxContent + 1
)

const (
	stampLayout = "2006-01-02T15:04:05.000000000Z"
	tagOffset   = HeaderLen - 2
)

// Stream tells a container's two outputs apart.
type Stream uint8

// The streams, in the order of their file descriptors.
const (
	Stdout Stream = iota
	Stderr
)

// String returns the stream's name in the file. Both names have six letters.
func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

// AppendRecord appends one record to dst. content holds no newline and at most
// MaxContent bytes.
func AppendRecord(dst []byte, now time.Time, s Stream, partial bool, content []byte) []byte {
	dst = appendHeader(dst, now, s)
	dst[len(dst)-2] = tag(partial)
	dst = append(dst, content...)
	return append(dst, '\n')
}

func appendHeader(dst []byte, now time.Time, s Stream) []byte {
	dst = now.UTC().AppendFormat(dst, stampLayout)
	dst = append(dst, ' ')
	dst = append(dst, s.String()...)
	return append(dst, " F "...)
}

func tag(partial bool) byte {
	if partial {
		return 'P'
	}
	return 'F'
}

// Encoder turns one stream's bytes into records. It keeps the beginning of a
// line until the rest comes, the line is longer than MaxContent, or Flush. How
// the bytes are cut into calls has no effect on the records but for their times.
type Encoder struct {
	Stream Stream
	held   []byte
}

// Held returns how many bytes are kept.
func (e *Encoder) Held() int { return len(e.held) }

// Append appends the records that data completes to dst. It stops when dst has
// limit bytes or more (by less than one record more) and returns the rest of
// data, to be passed to the next call.
func (e *Encoder) Append(dst []byte, now time.Time, data []byte, limit int) (out, rest []byte) {
	var hdr [HeaderLen]byte
	appendHeader(hdr[:0], now, e.Stream)
	for len(data) > 0 && len(dst) < limit {
		n := bytes.IndexByte(data, '\n')
		switch room := MaxContent - len(e.held); {
		case n >= 0 && n <= room:
			dst = e.record(dst, &hdr, false, data[:n])
			data = data[n+1:]
		case n < 0 && len(data) <= room:
			e.held = append(e.held, data...)
			return dst, nil
		default:
			dst = e.record(dst, &hdr, true, data[:room])
			data = data[room:]
		}
	}
	return dst, data
}

func (e *Encoder) record(dst []byte, hdr *[HeaderLen]byte, partial bool, text []byte) []byte {
	hdr[tagOffset] = tag(partial)
	dst = append(dst, hdr[:]...)
	dst = append(dst, e.held...)
	dst = append(dst, text...)
	e.drop()
	return append(dst, '\n')
}

// drop forgets what was kept; a buffer that grew goes back, for a node has
// hundreds of streams and most of them are idle.
func (e *Encoder) drop() {
	if cap(e.held) > 1<<10 {
		e.held = nil
	}
	e.held = e.held[:0]
}

// Flush appends what is kept as a P record; the line goes on after it.
func (e *Encoder) Flush(dst []byte, now time.Time) []byte {
	if len(e.held) == 0 {
		return dst
	}
	var hdr [HeaderLen]byte
	appendHeader(hdr[:0], now, e.Stream)
	return e.record(dst, &hdr, true, nil)
}

// Finish appends the end of an unfinished line as an F record: there is one if
// bytes are kept, or if the stream's last record was a P (open).
func (e *Encoder) Finish(dst []byte, now time.Time, open bool) []byte {
	if len(e.held) == 0 && !open {
		return dst
	}
	var hdr [HeaderLen]byte
	appendHeader(hdr[:0], now, e.Stream)
	return e.record(dst, &hdr, false, nil)
}

// Batch is a run of whole records as this package writes them.
type Batch []byte

// Next returns the length of the first record and whether it is a P. It returns
// 0 for an empty batch.
func (b Batch) Next() (n int, partial bool) {
	n = bytes.IndexByte(b, '\n') + 1
	return n, n > HeaderLen && b[tagOffset] == 'P'
}

// Open tells whether the last record is a P. The batch must not be empty.
func (b Batch) Open() bool {
	last := b[bytes.LastIndexByte(b[:len(b)-1], '\n')+1:]
	return len(last) > HeaderLen && last[tagOffset] == 'P'
}

// Whole returns the longest run of whole records at the beginning of b[:n].
func (b Batch) Whole(n int) int { return bytes.LastIndexByte(b[:n], '\n') + 1 }
