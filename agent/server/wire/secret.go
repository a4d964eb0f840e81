package wire

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Secret is a Secret without its contents: its keys and how many bytes each
// holds. It has the outline of the Kubernetes object, but nothing takes it for
// one by mistake, since that has no sizes.
type Secret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"` // without annotations
	Type              v1.SecretType               `json:"type,omitempty"`
	Immutable         bool                        `json:"immutable,omitempty"`
	Sizes             map[string]int              `json:"sizes"` // bytes, by key
}

// SecretList is the answer to GET /v1/secrets, ordered by namespace and name.
type SecretList struct {
	metav1.TypeMeta `json:",inline"`
	Items           []Secret `json:"items"`
}
