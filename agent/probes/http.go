package probes

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/davit-agent/davit/agent/handler"
)

// request is the request of an httpGet probe.
func (s subject) request(ctx context.Context) (*http.Request, error) {
	get := s.spec.HTTPGet
	host, err := s.hostOf(get.Host)
	if err != nil {
		return nil, err
	}
	return handler.Request(ctx, get, s.container, host, "kube-probe/"+version)
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
		CheckRedirect: handler.Redirect,
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
