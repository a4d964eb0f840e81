package keyring

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
)

// Secrets makes a Keyring of pull secrets; those that are named first come first
// where they name one registry. A secret that is broken, or not a pull secret,
// is a problem; the others are used.
func Secrets(secrets []*v1.Secret) *Keyring {
	var rings []*Keyring
	for _, s := range secrets {
		if s != nil {
			rings = append(rings, secret(s))
		}
	}
	return join(rings...)
}

func secret(s *v1.Secret) *Keyring {
	read, key := Parse, v1.DockerConfigJsonKey
	switch s.Type {
	case v1.SecretTypeDockerConfigJson:
	case v1.SecretTypeDockercfg:
		read, key = parseLegacy, v1.DockerConfigKey
	default:
		return &Keyring{problems: []problem{{err: fmt.Errorf("pull secret %q is of the type %q, not %q or %q",
			s.Namespace+"/"+s.Name, s.Type, v1.SecretTypeDockerConfigJson, v1.SecretTypeDockercfg)}}}
	}
	where := fmt.Sprintf("pull secret %q, key %q", s.Namespace+"/"+s.Name, key)
	data, ok := s.Data[key]
	if text, has := s.StringData[key]; has {
		data, ok = []byte(text), true
	}
	if !ok || len(data) == 0 {
		return &Keyring{problems: []problem{{err: fmt.Errorf("%s: it is not there, or empty", where)}}}
	}
	return read(where, data)
}
