package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"

	"github.com/davit-agent/davit/runtime"
)

// secret is what the authorizers of one pull answer challenges with.
type secret struct {
	host  string // where it may go: the host of a URL
	cred  runtime.Credential
	asked atomic.Bool
}

// get is what docker.WithAuthCreds wants: without a name, the second result is
// a refresh token.
func (s *secret) get(host string) (string, string, error) {
	if !strings.EqualFold(host, s.host) {
		return "", "", nil
	}
	s.asked.Store(true)
	if s.cred.IdentityToken != "" {
		return "", s.cred.IdentityToken, nil
	}
	return s.cred.Username, s.cred.Password, nil
}

// authorizer answers the challenges of one host.
type authorizer struct {
	docker.Authorizer
	secret *secret
}

// Authorize implements docker.Authorizer.
func (a *authorizer) Authorize(ctx context.Context, req *http.Request) error {
	if a.secret.cred.RegistryToken != "" && strings.EqualFold(req.URL.Host, a.secret.host) {
		req.Header.Set("Authorization", "Bearer "+a.secret.cred.RegistryToken)
		return nil
	}
	return a.Authorizer.Authorize(ctx, req)
}

// AddResponses implements docker.Authorizer. What was refused once is not sent
// again: accounts get locked.
func (a *authorizer) AddResponses(ctx context.Context, responses []*http.Response) error {
	last := responses[len(responses)-1]
	if strings.EqualFold(last.Request.URL.Host, a.secret.host) {
		a.secret.asked.Store(true)
	}
	refused := 0
	for _, resp := range responses {
		if resp.StatusCode != http.StatusUnauthorized {
			continue
		}
		switch scheme, _, _ := strings.Cut(resp.Request.Header.Get("Authorization"), " "); {
		case strings.EqualFold(scheme, "basic"), a.secret.cred.RegistryToken != "" && scheme != "":
			refused = 2
		case scheme != "":
			refused++ // a token that has expired meanwhile is fetched anew once
		}
	}
	if refused >= 2 {
		return fmt.Errorf("%s refuses the credentials: %w", last.Request.URL.Host, docker.ErrInvalidAuthorization)
	}
	return a.Authorizer.AddResponses(ctx, responses)
}

// Denied tells whether err means that other credentials may be better received.
// Some registries deny that there is what one may not see.
func Denied(err error) bool {
	if errors.Is(err, docker.ErrInvalidAuthorization) || errdefs.IsNotFound(err) {
		return true
	}
	var status remoteerrors.ErrUnexpectedStatus
	return errors.As(err, &status) && (status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden)
}
