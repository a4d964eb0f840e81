package probes

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
)

// request is the request of an httpGet probe.
func (s subject) request(ctx context.Context) (*http.Request, error) {
	get := s.spec.HTTPGet
	host, err := s.hostOf(get.Host)
	if err != nil {
		return nil, err
	}
	port, err := portOf(get.Port, s.container)
	if err != nil {
		return nil, err
	}
	// The path may carry a query. What does not parse is sent as it is.
	target, err := url.Parse(get.Path)
	if err != nil {
		target = &url.URL{Path: get.Path}
	}
	target.Scheme = strings.ToLower(string(get.Scheme))
	if target.Scheme == "" {
		target.Scheme = "http"
	}
	target.Host = net.JoinHostPort(host, strconv.Itoa(port))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = headers(get.HTTPHeaders, "kube-probe/"+version)
	req.Host = req.Header.Get("Host")
	return req, nil
}

// headers adds what is always sent, unless the pod says otherwise; an empty
// Accept or User-Agent means none.
func headers(list []v1.HTTPHeader, agent string) http.Header {
	h := http.Header{}
	for _, header := range list {
		h.Add(header.Name, header.Value)
	}
	if _, ok := h["User-Agent"]; !ok {
		h.Set("User-Agent", agent)
	}
	if _, ok := h["Accept"]; !ok {
		h.Set("Accept", "*/*")
	} else if h.Get("Accept") == "" {
		h.Del("Accept")
	}
	return h
}

// redirect follows up to ten redirects as long as they stay with the host; ports
// and schemes may change. One to elsewhere is the answer.
func redirect(req *http.Request, via []*http.Request) error {
	if req.URL.Hostname() != via[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	return nil
}

func (p *Prober) http(ctx context.Context, s subject, timeout time.Duration) answer {
	req, err := s.request(ctx)
	if err != nil {
		return broken(err)
	}
	l := p.line(s)
	client := &http.Client{
		// The client's own limit, not the context's: that is what the messages say.
		Timeout:       timeout,
		CheckRedirect: redirect,
		Transport: &http.Transport{
			DialContext:         l.dial,
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // as documented for probes
			TLSHandshakeTimeout: 10 * time.Second,
			ForceAttemptHTTP2:   true,
			DisableKeepAlives:   true,
			DisableCompression:  true,
			// No Proxy: the environment's is the node's.
		},
	}
	resp, err := client.Do(req)
	if fault := l.broken(); fault != nil && err != nil {
		return broken(fault)
	}
	if err != nil {
		return failed("%s", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxOutput))
	switch {
	case err != nil:
		return answer{verdict: failure, err: err}
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return answer{verdict: success, output: string(body)}
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return answer{verdict: warning, output: fmt.Sprintf("Probe terminated redirects, Response body: %s", body)}
	}
	return failed("HTTP probe failed with statuscode: %d", resp.StatusCode)
}
