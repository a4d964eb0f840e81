package podspec

import (
	"encoding/json"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/davit-agent/davit/agent/podspec/check"
)

// DefaultSecret fills in what the Kubernetes API fills in: the type, and
// stringData becomes data, where it wins over what is there.
func DefaultSecret(s *v1.Secret) {
	check.Set(&s.Type, v1.SecretTypeOpaque)
	for key, value := range s.StringData {
		if s.Data == nil {
			s.Data = make(map[string][]byte, len(s.StringData))
		}
		s.Data[key] = []byte(value)
	}
	s.StringData = nil
}

// ValidateSecret returns what Kubernetes would refuse about a Secret whose
// defaults are filled in. No message holds anything of a value.
func ValidateSecret(s *v1.Secret) []Problem {
	errs := check.ObjectMeta(KindSecret, &s.ObjectMeta, validation.IsDNS1123Subdomain)
	path := field.NewPath("data")
	errs = append(errs, validateKeys(slices.Collect(maps.Keys(s.Data)), path)...)
	size := 0
	for _, value := range s.Data {
		size += len(value)
	}
	errs = append(errs, tooLarge(path, size)...)
	return located(KindSecret, &s.ObjectMeta, append(errs, validateSecretType(s, path)...))
}

func validateSecretType(s *v1.Secret, path *field.Path) field.ErrorList {
	required := func(keys ...string) (errs field.ErrorList) {
		for _, key := range keys {
			if _, has := s.Data[key]; !has {
				errs = append(errs, field.Required(path.Key(key), "a Secret of type "+string(s.Type)+" has this key"))
			}
		}
		return errs
	}
	switch s.Type {
	case v1.SecretTypeServiceAccountToken:
		if s.Annotations[v1.ServiceAccountNameKey] == "" {
			return field.ErrorList{field.Required(field.NewPath("metadata", "annotations").Key(v1.ServiceAccountNameKey), "name the service account")}
		}
	case v1.SecretTypeDockercfg:
		return append(required(v1.DockerConfigKey), jsonObject(s, path, v1.DockerConfigKey)...)
	case v1.SecretTypeDockerConfigJson:
		return append(required(v1.DockerConfigJsonKey), jsonObject(s, path, v1.DockerConfigJsonKey)...)
	case v1.SecretTypeBasicAuth:
		_, user := s.Data[v1.BasicAuthUsernameKey]
		_, password := s.Data[v1.BasicAuthPasswordKey]
		if !user && !password {
			return required(v1.BasicAuthUsernameKey, v1.BasicAuthPasswordKey)
		}
	case v1.SecretTypeSSHAuth:
		if len(s.Data[v1.SSHAuthPrivateKey]) == 0 {
			return field.ErrorList{field.Required(path.Key(v1.SSHAuthPrivateKey), "a Secret of type "+string(s.Type)+" has this key")}
		}
	case v1.SecretTypeTLS:
		return required(v1.TLSCertKey, v1.TLSPrivateKeyKey)
	}
	return nil
}

// jsonObject refuses a value that is no JSON object. The error of the JSON
// decoder is not told: it quotes.
func jsonObject(s *v1.Secret, path *field.Path, key string) field.ErrorList {
	value, has := s.Data[key]
	var any map[string]json.RawMessage
	if has && json.Unmarshal(value, &any) != nil {
		return field.ErrorList{field.Invalid(path.Key(key), "<secret contents redacted>", "must be a JSON object, as `docker login` writes it")}
	}
	return nil
}

// SecretChange returns what Kubernetes would refuse about turning old into new:
// once immutable is true the data stays as it is. Both have their defaults.
func SecretChange(old, new *v1.Secret) []Problem {
	if old.Immutable == nil || !*old.Immutable {
		return nil
	}
	var errs field.ErrorList
	if new.Immutable == nil || !*new.Immutable {
		errs = append(errs, immutable("immutable"))
	}
	if !maps.EqualFunc(old.Data, new.Data, slices.Equal) {
		errs = append(errs, immutable("data"))
	}
	if old.Type != new.Type {
		errs = append(errs, immutable("type"))
	}
	return located(KindSecret, &new.ObjectMeta, errs)
}
