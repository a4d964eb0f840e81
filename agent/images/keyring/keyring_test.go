package keyring

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/runtime"
)

func users(creds []runtime.Credential) string {
	var names []string
	for _, c := range creds {
		names = append(names, c.Username)
	}
	return strings.Join(names, " ")
}

// auths is a config.json whose entries have their own name as the user.
func auths(registries ...string) []byte {
	var entries []string
	for _, r := range registries {
		entries = append(entries, fmt.Sprintf(`%q: {"username": %q, "password": "p"}`, r, r))
	}
	return []byte(`{"auths": {` + strings.Join(entries, ",") + `}}`)
}

// Which entries are for which image, in which order: kubelet's rules.
func TestMatching(t *testing.T) {
	for _, c := range []struct {
		registries []string
		image      string
		want       string
	}{
		{[]string{"r.example"}, "r.example/app", "r.example"},
		{[]string{"r.example"}, "r.example/team/app:1", "r.example"},
		{[]string{"r.example"}, "r.example/app@sha256:" + strings.Repeat("a", 64), "r.example"},
		{[]string{"r.example"}, "R.Example/app", "r.example"},
		{[]string{"r.example"}, "s.example/app", ""},
		{[]string{"r.example"}, "sub.r.example/app", ""},
		{[]string{"r.example"}, "r.example.com/app", ""},
		{[]string{"r.example"}, "r.example:5000/app", ""},
		{[]string{"r.example:5000"}, "r.example:5000/app", "r.example:5000"},
		{[]string{"r.example:5000"}, "r.example/app", ""},
		{[]string{"r.example:443"}, "r.example/app", ""},
		{[]string{"localhost"}, "localhost/app", "localhost"},
		{[]string{"127.0.0.1:5000"}, "127.0.0.1:5000/app", "127.0.0.1:5000"},
		{[]string{"[::1]:5000"}, "[::1]:5000/app", "[::1]:5000"},
		{[]string{"[::1]"}, "[::1]/app", "[::1]"},
		{[]string{"[::1]"}, "[::2]/app", ""},

		{[]string{"https://r.example", "http://r.example/v2/", "r.example/v1/"}, "r.example/app", "http://r.example/v2/ https://r.example r.example/v1/"},
		{[]string{"r.example/v1/team"}, "r.example/team/app", "r.example/v1/team"},
		{[]string{"r.example/"}, "r.example/app", "r.example/"},

		{[]string{"*.example"}, "r.example/app", "*.example"},
		{[]string{"*.example"}, "a.r.example/app", ""},
		{[]string{"*.*.example"}, "a.r.example/app", "*.*.example"},
		{[]string{"r*.example"}, "r12.example/app", "r*.example"},
		{[]string{"*.example"}, "example/app", ""},
		{[]string{"*.example:5000"}, "r.example:5000/app", "*.example:5000"},
		{[]string{"*.example/team"}, "r.example/team/app", "*.example/team"},
		{[]string{"*.example/team"}, "r.example/other/app", ""},

		{[]string{"r.example", "r.example/team", "r.example/team/app", "*.example"}, "r.example/team/app",
			"r.example/team/app r.example/team r.example *.example"},
		{[]string{"r.example/team"}, "r.example/teamwork/app", "r.example/team"}, // as kubelet: the prefix is of characters
		{[]string{"r.example/team/"}, "r.example/teamwork/app", ""},
		{[]string{"r.example/team/app"}, "r.example/team", ""},

		{[]string{"https://index.docker.io/v1/"}, "app", "https://index.docker.io/v1/"},
		{[]string{"index.docker.io"}, "team/app", "index.docker.io"},
		{[]string{"docker.io"}, "docker.io/team/app", "docker.io"},
		{[]string{"docker.io/library"}, "app", "docker.io/library"},
		{[]string{"docker.io/library"}, "team/app", ""},
		{[]string{"docker.io"}, "index.docker.io/app", "docker.io"},
		{[]string{"docker.io"}, "r.example/app", ""},
		{[]string{"*.docker.io"}, "app", ""},

		{[]string{"r.example"}, "NOT AN IMAGE", ""},
		{nil, "app", ""},
	} {
		k := Parse("file", auths(c.registries...))
		creds, problems := k.Lookup(c.image)
		if got := users(creds); got != c.want || len(problems)+len(k.Problems()) > 0 {
			t.Errorf("%q for %s: %q, want %q; problems %v, %v", c.registries, c.image, got, c.want, problems, k.Problems())
		}
	}
}

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func TestEntries(t *testing.T) {
	for _, c := range []struct {
		entry string
		want  runtime.Credential
		fail  string // a part of the problem
	}{
		{entry: `{"username": "u", "password": "p"}`, want: runtime.Credential{Username: "u", Password: "p"}},
		{entry: `{"auth": "` + b64("u:p:q") + `"}`, want: runtime.Credential{Username: "u", Password: "p:q"}},
		{entry: `{"auth": "` + strings.TrimRight(b64("u:p"), "=") + `"}`, want: runtime.Credential{Username: "u", Password: "p"}},
		{entry: `{"auth": "` + b64("u:p\x00\x00") + `"}`, want: runtime.Credential{Username: "u", Password: "p"}},
		{entry: `{"username": "x", "password": "y", "auth": "` + b64("u:p") + `"}`, want: runtime.Credential{Username: "u", Password: "p"}},
		{entry: `{"auth": "` + b64("u:") + `", "identitytoken": "t"}`, want: runtime.Credential{Username: "u", IdentityToken: "t"}},
		{entry: `{"registrytoken": "t", "email": "x"}`, want: runtime.Credential{RegistryToken: "t"}},
		{entry: `{}`}, {entry: `null`},
		{entry: `{"auth": "hunter2!"}`, fail: `auths, registry "r.example": auth is not base64`},
		{entry: `{"auth": "` + b64("hunter2") + `"}`, fail: `auths, registry "r.example": auth is not user:password in base64`},
		{entry: `{"password": ["hunter2"]}`, fail: `auths, registry "r.example": password is not of the type string`},
		{entry: `"hunter2"`, fail: `auths, registry "r.example": it is not of the type object`},
		{entry: `{"registrytoken": "hunter2\r\n"}`, fail: "registrytoken has a character that no HTTP header can have"},
	} {
		k := Parse("file /x", []byte(`{"auths": {"https://r.example/v1/": `+c.entry+`, "r.example/other": {"username": "o"}}}`))
		creds, problems := k.Lookup("r.example/app")
		switch {
		case c.fail != "":
			if len(creds) > 0 || len(problems) != 1 || !strings.Contains(problems[0].Error(), "file /x: "+c.fail) && !strings.Contains(problems[0].Error(), c.fail) ||
				strings.Contains(fmt.Sprint(problems), "hunter2") {
				t.Errorf("%s: %v, problems %v, want %s", c.entry, creds, problems, c.fail)
			}
			if other, _ := k.Lookup("r.example/other"); users(other) != "o" {
				t.Errorf("%s: it spoils another entry", c.entry)
			}
			if _, problems := k.Lookup("s.example/app"); len(problems) > 0 {
				t.Errorf("%s: told of an image that it is not about", c.entry)
			}
		case len(problems) > 0, len(creds) > 1, len(creds) == 0 && c.want != runtime.Credential{}, len(creds) == 1 && creds[0] != c.want:
			t.Errorf("%s: %+v, problems %v, want %+v", c.entry, creds, problems, c.want)
		}
	}
}

func TestBrokenFiles(t *testing.T) {
	for text, want := range map[string]string{
		``:                                          "file /x: it is not JSON: error at byte 0",
		`hunter2`:                                   "file /x: it is not JSON: error at byte 1",
		`["hunter2"]`:                               "file /x: it is not of the type object",
		`{"auths": 1234567}`:                        "file /x: auths: it is not of the type object",
		`{"auths": {"u:hunter2@r.x": {}}}`:          "file /x: auths, entry 1 in alphabetical order: it is not the name of a registry",
		`{"auths": {"": {}}}`:                       "it is not the name of a registry",
		`{"auths": {"r.example?x": {}}}`:            "it is not the name of a registry",
		`{"auths": {"a\nhunter2": {}}}`:             "it is not the name of a registry",
		strings.Repeat(" ", MaxSize+1):              "file /x: 1048577 bytes are over the limit of 1048576",
		`{"credsStore": "hunter2"}`:                 "file /x: credsStore: davit runs no credential helpers: put username and password into auths",
		`{"credHelpers": "hunter2"}`:                "file /x: credHelpers: davit runs no credential helpers",
		`{"credHelpers": {"r.example": "hunter2"}}`: `file /x: credHelpers, registry "r.example": davit runs no credential helpers`,
	} {
		creds, problems := Parse("file /x", []byte(text)).Lookup("r.example/app")
		if len(creds) > 0 || len(problems) != 1 || !strings.Contains(problems[0].Error(), want) || strings.Contains(problems[0].Error(), "hunter2") {
			t.Errorf("%.40q: %v, problems %v, want %s", text, creds, problems, want)
		}
	}
}

// Helpers are of no interest where there is another credential, or for another
// registry.
func TestHelpers(t *testing.T) {
	k := Parse("f", []byte(`{"credsStore": "x", "credHelpers": {"h.example": "x"}, "auths": {"r.example": {"username": "u"}, "h.example": {}}}`))
	for image, want := range map[string]int{"r.example/app": 0, "s.example/app": 1, "h.example/app": 2} {
		if _, problems := k.Lookup(image); len(problems) != want {
			t.Errorf("%s: %v", image, problems)
		}
	}
	if k := Parse("f", []byte(`{"credsStore": "", "credHelpers": {}}`)); len(k.Problems()) > 0 {
		t.Errorf("empty: %v", k.Problems())
	}
}

func TestMany(t *testing.T) {
	var registries []string
	for i := range 2 * maxCredentials {
		registries = append(registries, "r.example"+strings.Repeat("/a", i%40)+strings.Repeat("b", i/40))
	}
	creds, _ := Parse("f", auths(registries...)).Lookup("r.example" + strings.Repeat("/a", 60))
	if len(creds) == 0 || len(creds) > maxCredentials {
		t.Errorf("%d credentials", len(creds))
	}
	same := Parse("f", []byte(`{"auths": {"r.example": {"username": "u"}, "https://r.example": {"username": "u"}, "*.example": {"username": "u"}}}`))
	if creds, _ := same.Lookup("r.example/a"); len(creds) != 1 {
		t.Errorf("one credential %d times", len(creds))
	}
}

func secretOf(name string, typ v1.SecretType, key, data string) *v1.Secret {
	return &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Type: typ, Data: map[string][]byte{key: []byte(data)}}
}

func TestSecrets(t *testing.T) {
	const jsonType, cfgType = v1.SecretTypeDockerConfigJson, v1.SecretTypeDockercfg
	entry := func(user string) string { return `{"r.example": {"username": "` + user + `"}}` }
	fromStrings := secretOf("s", jsonType, "x", "")
	fromStrings.StringData = map[string]string{".dockerconfigjson": `{"auths": ` + entry("strings") + `}`}
	k := Secrets([]*v1.Secret{
		secretOf("new", jsonType, ".dockerconfigjson", `{"auths": `+entry("new")+`}`),
		secretOf("old", cfgType, ".dockercfg", entry("old")),
		fromStrings,
		secretOf("opaque", v1.SecretTypeOpaque, ".dockerconfigjson", `{"auths": `+entry("opaque")+`}`),
		secretOf("key", jsonType, ".dockercfg", entry("key")),
		secretOf("none", cfgType, ".dockercfg", ""),
		secretOf("broken", jsonType, ".dockerconfigjson", `{"auths": {"r.example": {"auth": "hunter2!"}}}`),
		secretOf("worse", jsonType, ".dockerconfigjson", `hunter2`),
	})
	creds, problems := k.Lookup("r.example/app")
	if got := users(creds); got != "new old strings" {
		t.Errorf("users %q", got)
	}
	want := []string{
		`pull secret "ns/opaque" is of the type "Opaque", not "kubernetes.io/dockerconfigjson" or "kubernetes.io/dockercfg"`,
		`pull secret "ns/key", key ".dockerconfigjson": it is not there, or empty`,
		`pull secret "ns/none", key ".dockercfg": it is not there, or empty`,
		`pull secret "ns/broken", key ".dockerconfigjson": auths, registry "r.example": auth is not base64`,
		`pull secret "ns/worse", key ".dockerconfigjson": it is not JSON: error at byte 1`,
	}
	var got []string
	for _, err := range problems {
		got = append(got, err.Error())
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if creds, problems := Secrets(nil).Lookup("app"); len(creds)+len(problems) > 0 {
		t.Errorf("no secrets: %v, %v", creds, problems)
	}
}

// Whatever is in a file, it is read without a crash, and no part of a value gets
// into a problem.
func FuzzParse(f *testing.F) {
	f.Add(`{"auths": {"r.example": {"auth": "aHVudGVyMg=="}}}`, "r.example/app")
	f.Add(`{"auths": {"[a-": {}, "*.x:5/p": {"password": 5}}}`, "[::1]:5000/app")
	f.Add(`{"credsStore": 1, "credHelpers": {"a": {}}}`, "app@sha256:1")
	f.Fuzz(func(t *testing.T, text, image string) {
		for _, k := range []*Keyring{Parse("f", []byte(text)), parseLegacy("f", []byte(text))} {
			creds, problems := k.Lookup(image)
			if len(creds) > maxCredentials || len(problems) > len(k.Problems()) {
				t.Errorf("%d credentials, %d problems of %d", len(creds), len(problems), len(k.Problems()))
			}
			for _, e := range k.entries {
				if again, err := parsePattern(e.String()); err != nil || again.String() != e.String() {
					t.Errorf("%q is read as %q, error %v", e.String(), again, err)
				}
			}
		}
	})
}
