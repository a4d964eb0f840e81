package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distribution/reference"

	"github.com/davit-agent/davit/runtime"
	"github.com/davit-agent/davit/test/testbed"
)

// ask resolves a reference as the first step of a pull does.
func ask(t *testing.T, cfg Config, ref string) (digest string, asked bool, err error) {
	t.Helper()
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		t.Fatal(err)
	}
	ctx, watch := NewWatch(t.Context(), time.Minute)
	defer watch.Stop()
	cfg.Watch = watch
	a, err := Open(ctx, cfg, named)
	if err != nil {
		return "", false, err
	}
	defer a.Close()
	desc, err := a.Resolve(ctx)
	return desc.Digest.String(), a.Asked(), err
}

func small(t *testing.T) (img testbed.ImageSpec) {
	t.Helper()
	return testbed.ImageSpec{Empty: true, Files: map[string]testbed.File{"/x": {Data: []byte(t.Name())}}}
}

func start(t *testing.T, o testbed.RegistryOptions) (r *testbed.Registry, ref, digest string) {
	t.Helper()
	r = testbed.NewRegistry(t, o)
	ref, digest = r.Push(t, "team/web:1", testbed.Image(t, small(t)))
	return r, ref, digest
}

func hostsToml(t *testing.T, dir, domain, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, domain), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, domain, "hosts.toml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAnswersThatDoNotGetBetter(t *testing.T) {
	for name, c := range map[string]struct {
		fault testbed.Fault
		say   string
		most  int // requests
	}{
		"429":            {testbed.Answer(429, "Retry-After", "1"), "unexpected status: 429 Too Many Requests (after 4 tries)", 4},
		"429 for long":   {testbed.Answer(429, "Retry-After", "3600"), "asks to wait 1h0m0s", 1},
		"429 till":       {testbed.Answer(429, "Retry-After", time.Now().Add(2*time.Hour).UTC().Format(http.TimeFormat)), "asks to wait", 1},
		"500":            {testbed.Answer(500), "unexpected status: 500 Internal Server Error (after 4 tries)", 4},
		"503":            {testbed.Answer(503), "unexpected status: 503 Service Unavailable (after 4 tries)", 4},
		"403":            {testbed.Answer(403), "403 Forbidden", 2},
		"404":            {testbed.Answer(404), "not found", 1},
		"another scheme": {testbed.Answer(302, "Location", "file:///etc/passwd"), "none of HTTP's", 1},
		"nowhere":        {testbed.Answer(302, "Location", "http://"), "none of HTTP's", 1},
		"in a circle": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, "redirects more than 10 times", 11},
		"endless manifest": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			for err := error(nil); err == nil && r.Method == http.MethodGet; {
				_, err = w.Write(make([]byte, 1<<16))
			}
		}, "sends more than it may", 2},
		"huge manifest": {testbed.Answer(200, "Content-Length", "100000000", "Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64)), "rejecting 100000000 byte manifest", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, ref, _ := start(t, testbed.RegistryOptions{})
			r.Break(c.fault)
			_, _, err := ask(t, Config{}, ref)
			if err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("got %v, want %q in it", err, c.say)
			}
			var marked *Error
			if !errors.As(err, &marked) {
				t.Errorf("%v is not marked as a registry's", err)
			}
			if seen := r.Requests(); len(seen) > c.most {
				t.Errorf("it took %d requests, at most %d make sense", len(seen), c.most)
			}
		})
	}
}

func TestAnswersThatGetBetter(t *testing.T) {
	for name, f := range map[string]testbed.Fault{
		"429": testbed.First(2, testbed.Answer(429, "Retry-After", "1")),
		"503": testbed.First(3, testbed.Answer(503)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, ref, want := start(t, testbed.RegistryOptions{})
			r.Break(f)
			if got, _, err := ask(t, Config{}, ref); err != nil || got != want {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	good := runtime.Credential{Username: "ann", Password: "s3cret"}
	bad := runtime.Credential{Username: "ann", Password: "wr0ng"}
	basic := testbed.RegistryOptions{User: "ann", Password: "s3cret"}
	token := basic
	token.Token, token.IdentityToken = true, "refr3sh"
	for name, c := range map[string]struct {
		o    testbed.RegistryOptions
		cred runtime.Credential
		say  string // "" is success
		most int    // requests that carry what is refused
	}{
		"basic":                {basic, good, "", 0},
		"basic, wrong":         {basic, bad, "authorization failed", 1},
		"basic, none":          {basic, runtime.Credential{}, "no basic auth credentials", 0},
		"bearer":               {token, good, "", 0},
		"bearer, wrong":        {token, bad, "401 Unauthorized", 0},
		"bearer, none":         {token, runtime.Credential{}, "401 Unauthorized", 0},
		"identity token":       {token, runtime.Credential{IdentityToken: "refr3sh"}, "", 0},
		"identity, wrong":      {token, runtime.Credential{IdentityToken: "wr0ng"}, "401 Unauthorized", 0},
		"registry token, bad":  {token, runtime.Credential{RegistryToken: "wr0ng"}, "refuses the credentials", 1},
		"registry token, good": {token, runtime.Credential{RegistryToken: "*"}, "", 0},
		"nobody asks":          {testbed.RegistryOptions{}, good, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r, ref, want := start(t, c.o)
			if c.cred.RegistryToken == "*" {
				c.cred.RegistryToken = r.Token()
			}
			got, asked, err := ask(t, Config{Credential: c.cred}, ref)
			seen := r.Requests()
			if c.say == "" && (err != nil || got != want) {
				t.Errorf("got %s, %v", got, err)
			}
			if c.say != "" && (err == nil || !strings.Contains(err.Error(), c.say) || !Denied(err) || !asked) {
				t.Errorf("got %v (denied: %v, asked: %v), want %q in it", err, Denied(err), asked, c.say)
			}
			if err != nil && (strings.Contains(err.Error(), "wr0ng") || strings.Contains(err.Error(), "s3cret")) {
				t.Errorf("a secret is in the error: %v", err)
			}
			if asked != (c.o.User != "" && c.cred.RegistryToken != r.Token()) {
				t.Errorf("asked is %v", asked)
			}
			sent := 0
			for _, q := range seen {
				if q.Path != "/token" && q.Header.Get("Authorization") != "" {
					sent++
				}
				if c.o.User == "" && q.Header.Get("Authorization") != "" {
					t.Errorf("credentials were sent unasked: %v", q)
				}
			}
			if c.say != "" && sent > c.most {
				t.Errorf("what was refused was sent %d times", sent)
			}
		})
	}
}

func TestCredentialsStayWhereTheyBelong(t *testing.T) {
	cred := runtime.Credential{Username: "ann", Password: "s3cret"}
	none := func(t *testing.T, r *testbed.Registry) {
		t.Helper()
		seen := r.Requests()
		if len(seen) == 0 {
			t.Error("the other host saw no request")
		}
		for _, q := range seen {
			for _, h := range []string{"Authorization", "Cookie", "X-Admin"} {
				if v := q.Header.Get(h); v != "" {
					t.Errorf("the other host got %s: %s", h, v)
				}
			}
		}
	}
	t.Run("redirect to another port", func(t *testing.T) {
		other, _, want := start(t, testbed.RegistryOptions{})
		r, ref, _ := start(t, testbed.RegistryOptions{User: "ann", Password: "s3cret"})
		r.Break(testbed.Only(func(q *http.Request) bool { return q.Header.Get("Authorization") != "" },
			func(w http.ResponseWriter, q *http.Request, _ http.Handler) {
				http.Redirect(w, q, "http://"+other.Host+q.URL.Path+"?sig=s1gned", http.StatusTemporaryRedirect)
			}))
		dir := t.TempDir()
		hostsToml(t, dir, r.Host, "server = \"http://"+r.Host+"\"\n[header]\nX-Admin = \"s3cret\"\n")
		if got, _, err := ask(t, Config{Credential: cred, HostsDir: dir}, ref); err != nil || got != want {
			t.Errorf("got %s, %v", got, err)
		}
		none(t, other)
		other.Break(testbed.Answer(400))
		_, _, err := ask(t, Config{Credential: cred}, ref)
		if err == nil || !strings.Contains(err.Error(), "400 Bad Request") || strings.Contains(err.Error(), "s1gned") {
			t.Errorf("a signature is in the error: %v", err)
		}
		other.Requests()
		other.Break(testbed.Answer(401, "WWW-Authenticate", `Basic realm="x"`))
		if _, _, err = ask(t, Config{Credential: cred}, ref); err == nil {
			t.Error("no error")
		}
		none(t, other)
	})
	t.Run("mirror", func(t *testing.T) {
		mirror, _, _ := start(t, testbed.RegistryOptions{User: "ann", Password: "s3cret"})
		r, ref, want := start(t, testbed.RegistryOptions{User: "ann", Password: "s3cret"})
		dir := t.TempDir()
		hostsToml(t, dir, r.Host, "[host.\"http://"+mirror.Host+"\"]\n")
		if got, _, err := ask(t, Config{Credential: cred, HostsDir: dir}, ref); err != nil || got != want {
			t.Errorf("got %s, %v", got, err)
		}
		none(t, mirror)
	})
	t.Run("token server redirects", func(t *testing.T) {
		other, _, _ := start(t, testbed.RegistryOptions{})
		r, ref, _ := start(t, testbed.RegistryOptions{User: "ann", Password: "s3cret", Token: true})
		r.Break(testbed.Only(func(q *http.Request) bool { return q.URL.Path == "/token" },
			func(w http.ResponseWriter, q *http.Request, _ http.Handler) {
				http.Redirect(w, q, "http://"+other.Host+"/token", http.StatusTemporaryRedirect)
			}))
		if _, _, err := ask(t, Config{Credential: cred}, ref); err == nil || !strings.Contains(err.Error(), "redirects a POST request") {
			t.Errorf("got %v", err)
		}
		if seen := other.Requests(); len(seen) > 0 {
			t.Errorf("the other host got %v", seen)
		}
	})
}

func TestHostsToml(t *testing.T) {
	mirror, _, mirrored := start(t, testbed.RegistryOptions{})
	origin := testbed.NewRegistry(t, testbed.RegistryOptions{})
	_, original := origin.Push(t, "team/web:1", testbed.Image(t, testbed.ImageSpec{Empty: true, User: "origin"}))
	secure, _, safe := start(t, testbed.RegistryOptions{TLS: true})
	broken := testbed.NewRegistry(t, testbed.RegistryOptions{})
	broken.Break(testbed.Answer(503))
	plain := func(r *testbed.Registry) string { return `[host."http://` + r.Host + `"]` + "\n" }
	for name, c := range map[string]struct {
		text string
		ref  string // of registry.test by default
		want string // digest
		say  string
	}{
		"mirror":               {text: `server = "http://` + origin.Host + "\"\n" + plain(mirror), want: mirrored},
		"broken mirror":        {text: `server = "http://` + origin.Host + "\"\n" + plain(broken), want: original},
		"absent mirror":        {text: `server = "http://` + origin.Host + "\"\n" + `[host."http://127.0.0.1:1"]`, want: original},
		"mirror without it":    {text: `server = "http://` + mirror.Host + "\"\n" + plain(testbed.NewRegistry(t, testbed.RegistryOptions{})), want: mirrored},
		"mirror that must not": {text: `server = "http://` + origin.Host + "\"\n" + plain(mirror) + `capabilities = ["pull"]`, want: original},
		"private CA":           {text: `server = "https://` + secure.Host + "\"\nca = \"ca.pem\"", want: safe},
		"unknown CA":           {text: `server = "https://` + secure.Host + `"`, say: "certificate signed by unknown authority"},
		"no verification":      {text: `server = "https://` + secure.Host + "\"\nskip_verify = true", want: safe},
		"not TOML":             {text: "server = \n", say: "registry.test/hosts.toml: line 1"},
		"wrong type":           {text: "server = 5\n", say: "hosts.toml: line 1"},
		"wrong capability":     {text: `[host."http://127.0.0.1"]` + "\ncapabilities = [\"pul\"]", say: `host "http://127.0.0.1": capabilities: "pul" is none`},
		"no CA file":           {text: `server = "https://` + secure.Host + "\"\nca = \"none.pem\"", say: "none.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			hostsToml(t, dir, "registry.test", c.text)
			if err := os.WriteFile(filepath.Join(dir, "registry.test", "ca.pem"), secure.CA, 0o644); err != nil {
				t.Fatal(err)
			}
			got, _, err := ask(t, Config{HostsDir: dir}, "registry.test/team/web:1")
			if c.say == "" && (err != nil || got != c.want) {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
			if c.say != "" && (err == nil || !strings.Contains(err.Error(), c.say)) {
				t.Errorf("got %v, want %q in it", err, c.say)
			}
		})
	}
	if n := len(broken.Requests()); n != 1 {
		t.Errorf("a broken mirror was asked %d times", n)
	}
	t.Run("the name of the registry goes to its mirror", func(t *testing.T) {
		dir := t.TempDir()
		hostsToml(t, dir, "_default", plain(mirror))
		mirror.Requests()
		if got, _, err := ask(t, Config{HostsDir: dir}, "other.test:5000/team/web:1"); err != nil || got != mirrored {
			t.Errorf("got %s, %v", got, err)
		}
		if !slices.ContainsFunc(mirror.Requests(), func(q testbed.Request) bool { return q.Query == "ns=other.test%3A5000" }) {
			t.Error("the mirror was not told")
		}
	})
}

func TestTLSOnLoopbackComesFirst(t *testing.T) {
	_, ref, want := start(t, testbed.RegistryOptions{TLS: true})
	if got, _, err := ask(t, Config{}, ref); err != nil || got != want {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestWatch(t *testing.T) {
	ctx, w := NewWatch(t.Context(), time.Hour)
	defer w.Stop()
	w.pass(10 * time.Hour) // nobody waits
	end := w.begin("slow")
	w.pass(50 * time.Minute)
	other := w.begin("quick")
	other(true)
	w.pass(50 * time.Minute)
	end(false)
	w.pass(10 * time.Hour)
	if err := context.Cause(ctx); err != nil {
		t.Fatalf("cancelled by %v", err)
	}
	end = w.begin("slow")
	defer end(false)
	w.pass(20 * time.Minute)
	var stall *StallError
	if err := context.Cause(ctx); !errors.As(err, &stall) || stall.What != "slow" || stall.After != time.Hour {
		t.Errorf("cancelled by %v", err)
	}
}

func TestWatchRuns(t *testing.T) {
	ctx, w := NewWatch(t.Context(), 50*time.Millisecond)
	defer w.Stop()
	defer w.begin("it")(false)
	select {
	case <-ctx.Done():
	case <-time.After(time.Minute):
		t.Error("it does not notice")
	}
}

func TestCloseLeavesNoConnection(t *testing.T) {
	var mu sync.Mutex
	open := map[string]bool{}
	for _, tls := range []bool{false, true} {
		r, ref, _ := start(t, testbed.RegistryOptions{TLS: tls})
		r.Break(func(w http.ResponseWriter, q *http.Request, next http.Handler) {
			mu.Lock()
			open[q.RemoteAddr] = true
			mu.Unlock()
			next.ServeHTTP(w, q)
		})
		if _, _, err := ask(t, Config{}, ref); err != nil {
			t.Fatal(err)
		}
	}
	if len(open) == 0 {
		t.Fatal("no connection was seen")
	}
	testbed.Poll(t, 20*time.Second, func() string { // less than an idle connection lives
		tcp, err := os.ReadFile("/proc/self/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		for addr := range open {
			a := netip.MustParseAddrPort(addr)
			// local address and port, remote ones, state 01: established
			local := fmt.Sprintf(" 0100007F:%04X ", a.Port())
			for line := range strings.Lines(string(tcp)) {
				if f := strings.Fields(line); strings.Contains(line, local) && len(f) > 3 && strings.HasSuffix(f[1], local[9:14]) && f[3] == "01" {
					return "connection " + addr + " is still open"
				}
			}
		}
		return ""
	})
}
