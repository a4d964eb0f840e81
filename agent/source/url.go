package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/davit-agent/davit/agent/podspec"
	"github.com/davit-agent/davit/agent/podspec/strictyaml"
	"github.com/davit-agent/davit/agent/source/fetch"
)

// Times of a URL source.
const (
	defaultPoll  = 10 * time.Second
	fetchTimeout = time.Minute      // for the whole answer
	firstTimeout = 10 * time.Second // for the first answer, before the stored set is used
	firstRetry   = time.Second      // after a first failure
	maxRetry     = 2 * time.Minute  // or the poll interval, if that is longer
	olderPolls   = 3                // in a row that must say so before an older set is taken
)

// URLConfig says what a URL source asks and how.
type URLConfig struct {
	URL          string            // http or https; a user and password in it are sent as basic authentication
	NodeName     string            // which pods from there are for
	Dir          string            // where the last good set is kept; made, with mode 0700
	PollInterval time.Duration     // 0: 10 s
	Header       map[string]string // sent with each request, but not to another host it redirects to
	CA           string            // PEM file of the only authorities that are trusted; "": the system's
	Cert, Key    string            // PEM files of the client's certificate; "": none
}

// URL is the source that polls one URL for YAML or JSON: a Pod, a list, several
// documents.
type URL struct {
	origin  string
	poll    time.Duration
	reader  reader
	log     *slog.Logger
	told    teller
	deliver func(Snapshot)
	fetch   func(ctx context.Context, etag, modified string) (fetch.Answer, error)
	close   func()
	store   store

	names    names
	set      held
	polled   polled
	unstored []podspec.Problem // set when the set could not be stored
	unsaid   bool              // nothing was delivered yet
	last     Snapshot          // what was delivered
}

// held is what a source holds to be wanted.
type held struct {
	text     *text     // nil: nothing is known of that
	etag     string    // of text, or ""
	modified string    // of text, or ""
	received time.Time // when text came
	note     string    // how text came here, if it was stored by another run
}

// polled is how it went with the server.
type polled struct {
	trouble []podspec.Problem // of the last poll; nil: it went well
	sum     [sha256.Size]byte // of the body that came last, good or not
	unread  bool              // what came last could not be read
	older   int               // polls in a row that gave an older set
	fails   int               // polls in a row that failed
	asked   time.Duration     // that the server asked to wait
}

// well notes that the server gave what is held, or confirmed it.
func (u *URL) well() {
	u.polled = polled{sum: u.polled.sum}
	u.set.note = ""
}

// NewURL returns the source of what stands at a URL. deliver is called by Run,
// never twice at a time, and whenever something changed.
func NewURL(cfg URLConfig, log *slog.Logger, deliver func(Snapshot)) (*URL, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil:
		return nil, errors.New("parsing the URL of a source: it is not a URL") // the error may quote a password
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("parsing the URL of a source: %q is not of the form https://host/path", originOf(u))
	case (cfg.Cert == "") != (cfg.Key == ""):
		return nil, errors.New("a client certificate of a source needs both its certificate and its key")
	case cfg.PollInterval < 0:
		return nil, fmt.Errorf("the poll interval of a source is negative: %s", cfg.PollInterval)
	}
	c := fetch.New(fetch.Config{
		URL: u, Header: cfg.Header, CA: cfg.CA, Cert: cfg.Cert, Key: cfg.Key, MaxBody: strictyaml.MaxSize, Timeout: fetchTimeout,
	})
	out := &URL{
		origin: originOf(u), poll: cfg.PollInterval, deliver: deliver, fetch: c.Get, close: c.Close, store: store{cfg.Dir},
		reader: reader{nodeName: cfg.NodeName, scheme: schemeURL, sources: true},
		names:  names{holders: map[string]string{}}, unsaid: true,
	}
	if out.poll == 0 {
		out.poll = defaultPoll
	}
	out.log = log.With("url", out.origin)
	out.told.log = out.log
	return out, nil
}

// originOf returns a URL as it may be told: without user, query and fragment,
// which may all hold credentials.
func originOf(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// FromURL tells whether the origin of a pod is a URL, rather than a file.
func FromURL(origin string) bool {
	return strings.HasPrefix(origin, "http://") || strings.HasPrefix(origin, "https://")
}

// Origin returns the Origin of what comes from this source.
func (u *URL) Origin() string { return u.origin }

// Run polls until ctx is cancelled; that changes nothing about the pods. It
// returns nil then. Errors of the server are problems in the Snapshot, never an
// end of Run.
func (u *URL) Run(ctx context.Context) error {
	defer u.close()
	u.load(time.Now())
	for {
		u.turn(ctx, time.Now)
		timer := time.NewTimer(u.pause(rand.Float64()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// load takes up what an earlier run stored. It is delivered when the server does
// not give better.
func (u *URL) load(now time.Time) {
	set, err := u.store.load(u.origin)
	switch {
	case err != nil:
		u.unstored = []podspec.Problem{{File: u.origin, Warning: true, Message: err.Error()}}
	case set != nil:
		u.set.text, u.set.received = u.reader.text(set, now), set.Received
		u.set.note = fmt.Sprintf(" (stored by an earlier run, %s old when davit started)", max(0, now.Sub(set.Received)).Round(time.Second))
		if !u.set.text.broken {
			u.set.etag, u.set.modified = set.ETag, set.Modified
		}
	}
}

// turn asks the server once and delivers what changed. clock tells the time after
// the answer.
func (u *URL) turn(ctx context.Context, clock func() time.Time) {
	asking := ctx
	if u.unsaid && u.set.text != nil {
		var cancel context.CancelFunc
		asking, cancel = context.WithTimeout(ctx, firstTimeout)
		defer cancel()
	}
	a, err := u.fetch(asking, u.set.etag, u.set.modified)
	if ctx.Err() != nil {
		return // the agent leaves
	}
	switch {
	case err != nil:
		u.fail(err)
	case a.Unchanged:
		u.well()
	default:
		u.take(a, clock())
	}
	u.say()
}

func (u *URL) fail(err error) {
	u.polled.fails++
	u.polled.trouble = []podspec.Problem{{File: u.origin, Message: "polling: " + err.Error() + u.meanwhile()}}
	var refused *fetch.Refusal
	if errors.As(err, &refused) {
		u.polled.asked = refused.Pause
	}
	if u.polled.unread {
		u.polled.sum = [sha256.Size]byte{} // to be told of again if it comes again
	}
}

// meanwhile says what holds while the server gives nothing.
func (u *URL) meanwhile() string {
	if u.set.text == nil {
		return "; no set was received yet, pods that run from it are kept"
	}
	return "; the set received " + u.set.received.UTC().Format(time.RFC3339) + u.set.note + " holds"
}

// take looks at what came.
func (u *URL) take(a fetch.Answer, now time.Time) {
	sum := sha256.Sum256(a.Body)
	if sum == u.polled.sum {
		u.again(a)
		return
	}
	if u.goesBack(a) {
		return
	}
	t := u.reader.read(a.Body, u.origin, u.set.text, now)
	switch {
	case t.broken && t.fresh == 0 && !recognised(t.problems):
		u.refuse(sum, a, "what came is not manifests", t.problems)
		return
	case !t.broken && t.fresh == 0 && !saysNone(a.Body):
		u.refuse(sum, a, "there is no object in the answer; no pods at all is a PodList with \"items\": []", nil)
		return
	}
	u.well()
	u.set.text, u.polled.sum, u.set.received = t, sum, now
	u.set.etag, u.set.modified = a.ETag, a.Modified
	u.unstored = nil
	if err := u.store.save(u.stored()); err != nil {
		u.unstored = []podspec.Problem{{File: u.origin, Warning: true, Message: err.Error() + "; after a restart of davit its pods are known only once the server answers"}}
	}
}

// again takes note that the body is the one that came last.
func (u *URL) again(a fetch.Answer) {
	if u.polled.unread {
		u.polled.fails++
		return
	}
	u.well()
	u.set.etag, u.set.modified = a.ETag, a.Modified
}

// goesBack tells whether what came is to be put aside because it is older than
// what holds: a mirror that lags. A server that means it says so again.
func (u *URL) goesBack(a fetch.Answer) bool {
	have, herr := http.ParseTime(u.set.modified)
	came, cerr := http.ParseTime(a.Modified)
	if u.set.text == nil || herr != nil || cerr != nil || !came.Before(have) {
		return false
	}
	if u.polled.older++; u.polled.older < olderPolls {
		u.polled.fails = 0
		u.polled.trouble = []podspec.Problem{{File: u.origin, Message: fmt.Sprintf(
			"the server gives an older set (Last-Modified %s) than the one that holds (%s): it is taken if %d polls in a row give it",
			fetch.Line(a.Modified, fetch.FirstWords), u.set.modified, olderPolls)}}
		return true
	}
	u.log.Warn("the server went back to an older set, taking it", "lastModified", a.Modified, "before", u.set.modified)
	return false
}

// recognised tells whether any of the problems is that of an object.
func recognised(problems []podspec.Problem) bool {
	return slices.ContainsFunc(problems, func(p podspec.Problem) bool { return p.Object != "" })
}

// saysNone tells whether a body without any object says so, by lists that have
// no items, rather than being empty.
func saysNone(body []byte) bool {
	docs := strictyaml.Parse(body)
	for _, doc := range docs {
		if doc.Root.Get("items") == nil {
			return false
		}
	}
	return len(docs) > 0
}

// refuse keeps what holds and tells what came instead.
func (u *URL) refuse(sum [sha256.Size]byte, a fetch.Answer, why string, found []podspec.Problem) {
	u.polled.fails++
	u.polled.sum, u.polled.unread = sum, true
	u.polled.trouble = []podspec.Problem{{File: u.origin, Message: why + fetch.Describe(a.ContentType, a.Body) + u.meanwhile()}}
	for _, p := range found {
		if p.Line > 0 && len(u.polled.trouble) < 5 {
			u.polled.trouble = append(u.polled.trouble, p)
		}
	}
}

// stored returns what is to be stored.
func (u *URL) stored() stored {
	set := stored{Origin: u.origin, ETag: u.set.etag, Modified: u.set.modified, Received: u.set.received, Broken: u.set.text.broken, Items: []storedItem{}}
	for _, e := range u.set.text.entries {
		_, line := e.where()
		kind, _, _ := strings.Cut(e.id(), "/")
		set.Items = append(set.Items, storedItem{Line: line, Kind: kind, Object: e.source})
	}
	return set
}

// say delivers what is wanted now, if that is new.
func (u *URL) say() {
	var items []item
	if u.set.text != nil {
		for _, e := range u.set.text.entries {
			items = append(items, e.item)
		}
	}
	snap := u.names.merge(items, func(string) bool { return false }, u.set.text != nil)
	problems := append([]podspec.Problem{}, u.polled.trouble...)
	if u.set.text != nil {
		problems = append(problems, u.set.text.problems...)
	}
	snap.Problems = append(append(problems, u.unstored...), snap.Problems...)
	if u.polled.unread || u.set.text != nil && u.set.text.broken {
		snap.Broken = []string{u.origin}
	}
	u.told.tell(snap.Problems)
	if !u.unsaid && same(u.last, snap) {
		return
	}
	u.unsaid, u.last = false, snap
	u.deliver(snap)
}

// pause returns how long to wait before the next poll; chance is in [0, 1).
func (u *URL) pause(chance float64) time.Duration {
	asked := u.polled.asked
	u.polled.asked = 0
	if u.polled.fails == 0 {
		return time.Duration(float64(u.poll) * (0.9 + 0.2*chance)) // nodes that started together drift apart
	}
	pause := min(firstRetry, u.poll)
	if u.polled.unread {
		pause = u.poll
	}
	for range min(u.polled.fails-1, 30) {
		pause = min(2*pause, max(maxRetry, u.poll))
	}
	return max(time.Duration(float64(pause)*(0.5+0.5*chance)), asked)
}
