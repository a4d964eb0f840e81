package payload

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// Values are what the sources of a volume refer to.
type Values struct {
	ConfigMap func(name string) *v1.ConfigMap // of the pod's namespace; nil: there is none
	Secret    func(name string) *v1.Secret    // likewise
	Field     func(*v1.ObjectFieldSelector) (string, error)
	Resource  func(*v1.ResourceFieldSelector) (string, error)
}

// Build computes the files of a volume. Its errors name all sources that have
// one.
func Build(src *v1.ProjectedVolumeSource, val Values) (Payload, error) {
	mode := v1.ProjectedVolumeSourceDefaultMode
	if src.DefaultMode != nil {
		mode = *src.DefaultMode
	}
	b := &builder{val: val, mode: mode, out: Payload{}}
	var errs []error
	for i := range src.Sources {
		if err := b.source(&src.Sources[i]); err != nil {
			errs = append(errs, err)
		}
	}
	if err := utilerrors.NewAggregate(errs); err != nil {
		return nil, err
	}
	return b.out, b.out.conflict()
}

type builder struct {
	val  Values
	mode int32
	out  Payload
}

var errSource = errors.New("not supported: a projected volume has configMap, secret and downwardAPI sources")

func (b *builder) source(s *v1.VolumeProjection) error {
	switch {
	case s.ConfigMap != nil:
		return b.configMap(s.ConfigMap)
	case s.Secret != nil:
		return b.secret(s.Secret)
	case s.DownwardAPI != nil:
		return b.downward(s.DownwardAPI.Items)
	}
	return errSource
}

func (b *builder) configMap(s *v1.ConfigMapProjection) error {
	optional := s.Optional != nil && *s.Optional
	cm := b.val.ConfigMap(s.Name)
	if cm == nil {
		if optional {
			return nil
		}
		return fmt.Errorf("configmap %q not found", s.Name)
	}
	data := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	for k, v := range cm.BinaryData {
		data[k] = v
	}
	for k, v := range cm.Data {
		data[k] = []byte(v)
	}
	return b.keys(data, s.Items, optional, "configmap references non-existent config key: ")
}

func (b *builder) secret(s *v1.SecretProjection) error {
	optional := s.Optional != nil && *s.Optional
	secret := b.val.Secret(s.Name)
	if secret == nil {
		if optional {
			return nil
		}
		return fmt.Errorf("secret %q not found", s.Name)
	}
	data := secret.Data
	if len(secret.StringData) > 0 { // an API server folds it in; a file may still have it
		data = make(map[string][]byte, len(secret.Data)+len(secret.StringData))
		for k, v := range secret.Data {
			data[k] = v
		}
		for k, v := range secret.StringData {
			data[k] = []byte(v)
		}
	}
	return b.keys(data, s.Items, optional, "references non-existent secret key: ")
}

// keys adds all keys under their own names, or those that items name.
func (b *builder) keys(data map[string][]byte, items []v1.KeyToPath, optional bool, missing string) error {
	if len(items) == 0 {
		for _, k := range slices.Sorted(maps.Keys(data)) {
			if strings.Contains(k, "/") {
				return fmt.Errorf("invalid key %q: it names a file, so it holds no slash", k)
			}
			if err := b.add(k, data[k], nil); err != nil {
				return err
			}
		}
		return nil
	}
	for _, item := range items {
		v, ok := data[item.Key]
		if !ok && optional {
			continue
		} else if !ok {
			return errors.New(missing + item.Key)
		}
		if err := b.add(item.Path, v, item.Mode); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) downward(items []v1.DownwardAPIVolumeFile) error {
	var errs []error
	for _, item := range items {
		var value string
		err := fmt.Errorf("%s: needs a fieldRef or a resourceFieldRef", item.Path)
		switch {
		case item.FieldRef != nil:
			value, err = b.val.Field(item.FieldRef)
		case item.ResourceFieldRef != nil:
			value, err = b.val.Resource(item.ResourceFieldRef)
		}
		if err == nil {
			err = b.add(item.Path, []byte(value), item.Mode)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return utilerrors.NewAggregate(errs)
}

func (b *builder) add(name string, data []byte, mode *int32) error {
	if err := CheckPath(name); err != nil {
		return err
	}
	if mode == nil {
		mode = &b.mode
	}
	if *mode < 0 || *mode > 0o777 {
		return fmt.Errorf("invalid mode of %s: %#o: must be a number between 0 and 0777", name, *mode)
	}
	b.out[path.Clean(name)] = File{Data: data, Mode: uint32(*mode)}
	return nil
}
