package fetch

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Limits on what a server may do.
const (
	maxRedirects = 5
	dialTimeout  = 10 * time.Second
	maxWait      = 10 * time.Minute // that a server may ask for (Retry-After)
	FirstWords   = 60               // bytes of an answer that are told
)

// Answer is what a server said.
type Answer struct {
	Unchanged   bool // what was asked about is what it has
	Body        []byte
	ContentType string
	ETag        string // as it was sent
	Modified    string // Last-Modified, as it was sent
}

// Refusal is the error of an answer that is not what was asked for.
type Refusal struct {
	Why   string
	Pause time.Duration // that the server asked for, at most 10 minutes
}

// Error returns why.
func (r *Refusal) Error() string { return r.Why }

// Config says what is got and how.
type Config struct {
	URL           *url.URL          // user and password are sent as basic authentication
	Header        map[string]string // sent with each request, but not to another host
	CA, Cert, Key string            // PEM files; "": the system's authorities, no client certificate
	MaxBody       int               // bytes that are read, also after decompression
	Timeout       time.Duration     // for the whole answer
}

// New returns a client; it reads no file yet.
func New(cfg Config) *Client {
	u := *cfg.URL
	u.User = nil
	c := &Client{
		url: &u, user: cfg.URL.User, header: http.Header{}, maxBody: cfg.MaxBody, timeout: cfg.Timeout,
		files: tlsFiles{ca: cfg.CA, cert: cfg.Cert, key: cfg.Key},
	}
	for name, value := range cfg.Header {
		c.header.Set(name, value)
	}
	return c
}

// Client gets what stands at one URL. Its methods are not for use at the same
// time.
type Client struct {
	url     *url.URL // without userinfo
	user    *url.Userinfo
	header  http.Header
	files   tlsFiles
	client  *http.Client // of the files as they were read last
	maxBody int
	timeout time.Duration
}

// Close closes the connections that are kept open.
func (c *Client) Close() {
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
}

// renew makes a client of the files with certificates when they changed. One that
// works is kept when the new files do not: they may be half exchanged.
func (c *Client) renew() error {
	config, changed, err := c.files.load(c.url.Hostname())
	if err != nil && c.client == nil {
		return err
	}
	if err != nil || !changed && c.client != nil {
		return nil
	}
	c.Close()
	c.client = &http.Client{CheckRedirect: c.redirect, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, DisableCompression: true,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout, MaxResponseHeaderBytes: 1 << 20, MaxIdleConns: 2, IdleConnTimeout: 2 * time.Minute,
	}}
	return nil
}

// redirect follows few redirects, none to plain text, and tells no other host
// what was meant for the first.
func (c *Client) redirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return &Refusal{Why: fmt.Sprintf("the server redirects more than %d times", maxRedirects)}
	case via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https":
		return &Refusal{Why: "the server redirects from https to " + req.URL.Scheme + ", which is not followed"}
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return &Refusal{Why: "the server redirects to " + req.URL.Scheme + ", which is not followed"}
	}
	req.Header.Del("Referer") // would carry the query
	if req.URL.Host != c.url.Host {
		req.Header.Del("Authorization")
		for name := range c.header {
			req.Header.Del(name)
		}
	}
	return nil
}

// Get asks for what is there; etag and modified say what is known already. No
// error holds the URL or a header.
func (c *Client) Get(ctx context.Context, etag, modified string) (Answer, error) {
	if err := c.renew(); err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url.String(), nil)
	if err != nil {
		return Answer{}, fmt.Errorf("making a request: %w", bare(err))
	}
	if c.user != nil {
		password, _ := c.user.Password()
		req.SetBasicAuth(c.user.Username(), password)
	}
	req.Header.Set("Accept", "application/json, application/yaml;q=0.9, */*;q=0.8")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", "davit")
	for name, values := range c.header {
		req.Header[name] = values
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	if modified != "" {
		req.Header.Set("If-Modified-Since", modified)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return Answer{}, bare(err)
	}
	defer func() { _ = resp.Body.Close() }() // only read
	return c.answer(resp, etag != "" || modified != "")
}

// answer reads a response; asked: the request had conditions.
func (c *Client) answer(resp *http.Response, asked bool) (Answer, error) {
	a := Answer{ContentType: resp.Header.Get("Content-Type"), ETag: resp.Header.Get("ETag"), Modified: resp.Header.Get("Last-Modified")}
	switch {
	case resp.StatusCode == http.StatusNotModified && asked:
		a.Unchanged = true
		return a, nil
	case resp.StatusCode != http.StatusOK:
		start, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // only to tell of it
		return a, &Refusal{
			Why:   "the server answered " + Line(resp.Status, FirstWords) + Describe(a.ContentType, start),
			Pause: retryAfter(resp.Header.Get("Retry-After")),
		}
	case resp.ContentLength > int64(c.maxBody):
		return a, &Refusal{Why: fmt.Sprintf("the answer has %d bytes, at most %d are read", resp.ContentLength, c.maxBody)}
	}
	var err error
	a.Body, err = c.read(resp)
	if err != nil {
		return a, err
	}
	if !whole(resp, a.Body) {
		return a, &Refusal{Why: "the server ends its answer by closing the connection, so that a part cannot be told from the whole: have it send Content-Length, or JSON"}
	}
	return a, nil
}

// read reads a body of at most maxBody bytes, before and after decompression.
func (c *Client) read(resp *http.Response) ([]byte, error) {
	tooLarge := &Refusal{Why: fmt.Sprintf("the answer has more than %d bytes", c.maxBody)}
	raw := &io.LimitedReader{R: resp.Body, N: int64(c.maxBody) + 1}
	var r io.Reader = raw
	encoding := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding")))
	switch encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(raw)
		if err != nil {
			return nil, &Refusal{Why: "the answer says that it is compressed with gzip and is not"}
		}
		r = io.LimitReader(z, int64(c.maxBody)+1)
	default:
		return nil, &Refusal{Why: fmt.Sprintf("the answer is compressed with %q, davit knows gzip only", Line(encoding, FirstWords))}
	}
	body, err := io.ReadAll(r)
	switch {
	case len(body) > c.maxBody || raw.N <= 0:
		return nil, tooLarge
	case errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader):
		return nil, &Refusal{Why: "the compressed answer is damaged"}
	case err != nil:
		return nil, fmt.Errorf("reading the answer, %d bytes came: %w", len(body), bare(err))
	}
	return body, nil
}

// whole tells whether a body that was cut off would have been noticed.
func whole(resp *http.Response, body []byte) bool {
	return resp.ContentLength >= 0 || resp.ProtoMajor >= 2 || len(resp.TransferEncoding) > 0 ||
		resp.Header.Get("Content-Encoding") != "" || bytes.HasPrefix(bytes.TrimSpace(body), []byte("{"))
}

// retryAfter returns how long a server asks to wait, at most maxWait. Dates are
// not looked at.
func retryAfter(value string) time.Duration {
	seconds, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxWait)
}

// Describe says what an answer is that should have been manifests: its type and,
// unless these are manifests after all, its first words.
func Describe(contentType string, body []byte) string {
	out := " (" + cmp.Or(Line(contentType, FirstWords), "no content type")
	start := bytes.TrimSpace(body)
	if len(start) > 0 && (start[0] == '<' || !bytes.Contains(body, []byte("apiVersion")) && !bytes.Contains(body, []byte("Secret"))) {
		out += fmt.Sprintf(", beginning with %q", Line(string(start[:min(len(start), 4*FirstWords)]), FirstWords))
	}
	return out + ")"
}

// Line returns the first bytes of a text on one line.
func Line(text string, most int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// bare returns an error without the URL, which may hold credentials, and without
// local ports, which make the same trouble look new each time.
func bare(err error) error {
	var refused *Refusal
	var ue *url.Error
	var op *net.OpError
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("the server did not answer in time")
	case errors.As(err, &op) && op.Addr != nil:
		return fmt.Errorf("%s %s: %w", op.Op, op.Addr, op.Err)
	case errors.As(err, &op):
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	case errors.As(err, &ue):
		return ue.Err
	}
	return err
}
