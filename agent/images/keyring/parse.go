package keyring

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/davit-agent/davit/runtime"
)

// MaxSize bounds a config.json, in bytes: what a Secret may hold.
const MaxSize = 1 << 20

// Parse reads a config.json. where is put before each problem, as in
// "file /etc/davit/config.json". What can be used is, whatever is wrong beside
// it.
func Parse(where string, data []byte) *Keyring {
	return parse(where, data, func(top map[string]json.RawMessage, k *Keyring) json.RawMessage {
		k.helpers(where, top)
		return top["auths"]
	})
}

// parseLegacy reads a .dockercfg, which is the object auths alone.
func parseLegacy(where string, data []byte) *Keyring {
	return parse(where, data, func(map[string]json.RawMessage, *Keyring) json.RawMessage { return data })
}

func parse(where string, data []byte, auths func(map[string]json.RawMessage, *Keyring) json.RawMessage) *Keyring {
	k := &Keyring{}
	if len(data) > MaxSize {
		k.fail(problem{err: fmt.Errorf("%s: %d bytes are over the limit of %d", where, len(data), MaxSize)})
		return k
	}
	var top map[string]json.RawMessage
	if err := decode(data, &top); err != nil {
		k.fail(problem{err: fmt.Errorf("%s: %w", where, err)})
		return k
	}
	var entries map[string]json.RawMessage
	if raw := auths(top, k); raw != nil {
		if err := decode(raw, &entries); err != nil {
			k.fail(problem{err: fmt.Errorf("%s: auths: %w", where, err)})
			return k
		}
	}
	for i, name := range slices.Sorted(maps.Keys(entries)) {
		k.add(where, i, name, entries[name])
	}
	k.sort()
	return k
}

func (k *Keyring) fail(p problem) { k.problems = append(k.problems, p) }

// add takes one entry of auths, the i-th by name.
func (k *Keyring) add(where string, i int, name string, raw json.RawMessage) {
	p, err := parsePattern(name)
	if err != nil {
		k.fail(problem{err: fmt.Errorf("%s: auths, entry %d in alphabetical order: %w", where, i+1, err)})
		return
	}
	c, err := credential(raw)
	if err != nil {
		k.fail(problem{about: &p, err: fmt.Errorf("%s: auths, registry %q: %w", where, p, err)})
		return
	}
	if c != (runtime.Credential{}) { // docker writes {} where a helper has it
		k.entries = append(k.entries, entry{p, c})
	}
}

// helpers refuses what would have to be run.
func (k *Keyring) helpers(where string, top map[string]json.RawMessage) {
	const remedy = "davit runs no credential helpers: put username and password into auths"
	var store string
	if raw := top["credsStore"]; raw != nil {
		if err := decode(raw, &store); err != nil || store != "" {
			k.fail(problem{spare: true, err: fmt.Errorf("%s: credsStore: %s", where, remedy)})
		}
	}
	var by map[string]json.RawMessage
	if raw := top["credHelpers"]; raw != nil {
		if err := decode(raw, &by); err != nil {
			k.fail(problem{spare: true, err: fmt.Errorf("%s: credHelpers: %s", where, remedy)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		if p, err := parsePattern(name); err == nil {
			k.fail(problem{about: &p, spare: true, err: fmt.Errorf("%s: credHelpers, registry %q: %s", where, p, remedy)})
		}
	}
}

// credential reads the value of an entry.
func credential(raw json.RawMessage) (runtime.Credential, error) {
	var e struct {
		Username      string `json:"username"`
		Password      string `json:"password"`
		Auth          string `json:"auth"`
		IdentityToken string `json:"identitytoken"`
		RegistryToken string `json:"registrytoken"`
	}
	if err := decode(raw, &e); err != nil {
		return runtime.Credential{}, err
	}
	c := runtime.Credential{Username: e.Username, Password: e.Password,
		IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
	if e.Auth != "" {
		user, password, err := decodeAuth(e.Auth)
		if err != nil {
			return runtime.Credential{}, err
		}
		c.Username, c.Password = user, password
	}
	if strings.ContainsFunc(c.RegistryToken, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return runtime.Credential{}, errors.New("registrytoken has a character that no HTTP header can have, such as a line break")
	}
	return c, nil
}

// decodeAuth reads user:password in base64, padded or not.
func decodeAuth(text string) (user, password string, err error) {
	data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return "", "", errors.New("auth is not base64")
	}
	user, password, ok := strings.Cut(string(data), ":")
	if !ok {
		return "", "", errors.New("auth is not user:password in base64: there is no colon in it")
	}
	return user, strings.TrimRight(password, "\x00"), nil // docker pads with NUL
}

// decode is json.Unmarshal with errors that do not repeat what was read.
func decode(data []byte, into any) error {
	err := json.Unmarshal(data, into)
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return fmt.Errorf("it is not JSON: error at byte %d", syntax.Offset)
	case errors.As(err, &typ) && typ.Field != "":
		return fmt.Errorf("%s is not of the type %s", typ.Field, kind(typ))
	case errors.As(err, &typ):
		return fmt.Errorf("it is not of the type %s", kind(typ))
	default:
		return errors.New("it is not JSON of the right form")
	}
}

func kind(err *json.UnmarshalTypeError) string {
	if k := err.Type.Kind().String(); k == "map" || k == "struct" {
		return "object"
	}
	return err.Type.Kind().String()
}
