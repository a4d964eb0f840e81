package server

import (
	"encoding/json"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// failure is an error with the status it is answered with.
type failure struct {
	code   int
	reason metav1.StatusReason
	text   string
}

func (f *failure) Error() string { return f.text }

func notFound(format string, args ...any) *failure {
	return &failure{http.StatusNotFound, metav1.StatusReasonNotFound, fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) *failure {
	return &failure{http.StatusBadRequest, metav1.StatusReasonBadRequest, fmt.Sprintf(format, args...)}
}

func internal(err error) *failure {
	return &failure{http.StatusInternalServerError, metav1.StatusReasonInternalError, err.Error()}
}

// reply answers with the failure in Kubernetes' form.
func (f *failure) reply(w http.ResponseWriter) {
	writeJSON(w, f.code, &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure,
		Message:  f.text,
		Reason:   f.reason,
		Code:     int32(f.code),
	})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(body, '\n'))
}
