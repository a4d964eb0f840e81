package podspec

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/davit-agent/davit/agent/podspec/check"
	"github.com/davit-agent/davit/agent/podspec/strictyaml"
)

// The kinds of objects that a manifest may hold.
const (
	KindPod       = "Pod"
	KindConfigMap = "ConfigMap"
	KindSecret    = "Secret"
	KindService   = "Service"
)

var kinds = []string{KindPod, KindConfigMap, KindSecret, KindService}

// lists are the kinds of lists and the kind of their items, "" for any.
var lists = map[string]string{
	"List": "", "PodList": KindPod, "ConfigMapList": KindConfigMap, "SecretList": KindSecret, "ServiceList": KindService,
}

// Object is one object as it stands in a file. One of Pod, ConfigMap, Secret and
// Service is set; Decode fills nothing in, Read does.
type Object struct {
	Pod       *v1.Pod
	ConfigMap *v1.ConfigMap
	Secret    *v1.Secret
	Service   *v1.Service

	File string
	Line int // 1-based, where the object begins
	// Digest of the content: 64 hex digits, independent of layout, comments, the
	// file's other objects and a pod's ephemeral containers.
	Digest string

	node *strictyaml.Node
}

// Kind returns the object's kind.
func (o Object) Kind() string {
	switch {
	case o.ConfigMap != nil:
		return KindConfigMap
	case o.Secret != nil:
		return KindSecret
	case o.Service != nil:
		return KindService
	}
	return KindPod
}

// Meta returns the object's metadata, to be read and changed.
func (o Object) Meta() *metav1.ObjectMeta {
	switch {
	case o.ConfigMap != nil:
		return &o.ConfigMap.ObjectMeta
	case o.Secret != nil:
		return &o.Secret.ObjectMeta
	case o.Service != nil:
		return &o.Service.ObjectMeta
	}
	return &o.Pod.ObjectMeta
}

// Source returns the object as it is written, as JSON: as an item of a list of
// its kind Decode makes the same object of it, with the same Digest. Of a Secret
// it holds the secrets.
func (o Object) Source() []byte { return o.node.JSON() }

// Locate fills in the file, the line and the object of a problem with this
// object's field.
func (o Object) Locate(p Problem) Problem {
	p.File, p.Line = o.File, o.Line
	if p.Object == "" {
		m := o.Meta()
		p.Object = describe(o.Kind(), m.Namespace, m.Name)
	}
	if o.node != nil {
		p.Line = o.node.LineOf(p.Field)
		if p.Field == "" || p.Line == o.node.Line {
			p.Line = o.Line
		}
	}
	return p
}

// fresh gives the object an empty value of a kind and returns it, or nil when the
// kind is none of those.
func (o *Object) fresh(kind string) any {
	switch kind {
	case KindPod:
		o.Pod = &v1.Pod{}
		return o.Pod
	case KindConfigMap:
		o.ConfigMap = &v1.ConfigMap{}
		return o.ConfigMap
	case KindSecret:
		o.Secret = &v1.Secret{}
		return o.Secret
	case KindService:
		o.Service = &v1.Service{}
		return o.Service
	}
	return nil
}

// setType fills in the kind, which an item of a list may leave out.
func (o *Object) setType() {
	t := metav1.TypeMeta{Kind: o.Kind(), APIVersion: "v1"}
	switch {
	case o.ConfigMap != nil:
		o.ConfigMap.TypeMeta = t
	case o.Secret != nil:
		o.Secret.TypeMeta = t
	case o.Service != nil:
		o.Service.TypeMeta = t
	default:
		o.Pod.TypeMeta = t
	}
}

// check fills in the defaults and returns what is wrong with the object.
func (o Object) check() []Problem {
	switch {
	case o.ConfigMap != nil:
		return ValidateConfigMap(o.ConfigMap)
	case o.Secret != nil:
		DefaultSecret(o.Secret)
		return ValidateSecret(o.Secret)
	case o.Service != nil:
		DefaultService(o.Service)
		return ValidateService(o.Service)
	}
	found := Unsupported(o.Pod)
	Default(o.Pod)
	return append(found, Validate(o.Pod)...)
}

// describe names an object for people.
func describe(kind, namespace, name string) string {
	if name == "" {
		return kind
	}
	if namespace == "" {
		namespace = v1.NamespaceDefault
	}
	return kind + "/" + namespace + "/" + name
}

// located makes Problems of errors, no more than are told of one file.
func located(kind string, meta *metav1.ObjectMeta, errs field.ErrorList) []Problem {
	var out []Problem
	for i, e := range errs {
		if i == maxProblems {
			out = append(out, Problem{
				Object: describe(kind, meta.Namespace, meta.Name), Message: fmt.Sprintf("%d more problems", len(errs)-i),
			})
			break
		}
		out = append(out, Problem{Object: describe(kind, meta.Namespace, meta.Name), Field: e.Field, Message: e.ErrorBody()})
	}
	return out
}

// How much of a key and of a path is told: more is not a name but content that
// came to stand in the wrong place.
const (
	maxKeyShown  = 64
	maxPathShown = 256
)

func shownKey(key string, most int) string {
	if len(key) <= most {
		return key
	}
	return strings.ToValidUTF8(key[:most], "") + "..."
}

// validateKeys checks the keys of a ConfigMap or Secret.
func validateKeys(keys []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	slices.Sort(keys)
	for _, key := range keys {
		shown := shownKey(key, maxKeyShown)
		errs = append(errs, check.Invalid(path.Key(shown), shown, validation.IsConfigMapKey(key))...)
	}
	return errs
}

// maxData is how many bytes the values of a ConfigMap or Secret may have
// together, as at Kubernetes' API.
const maxData = v1.MaxSecretSize

func tooLarge(path *field.Path, size int) field.ErrorList {
	if size <= maxData {
		return nil
	}
	return field.ErrorList{field.Forbidden(path, fmt.Sprintf(
		"the values have %d bytes together, at most %d are allowed: spread them over several objects", size, maxData))}
}
