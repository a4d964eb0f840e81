//go:build goldens

package podspec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/davit-agent/davit/test/oracle/cluster"
)

// TestRecordAPIServer asks a real API server about all cases, and stores what it
// says. It stores no pod: dryRun.
func TestRecordAPIServer(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	space, err := c.NewNamespace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]answer{}
	for _, tc := range apiCases(t) {
		pod := tc.pod()
		pod.APIVersion, pod.Kind = "v1", "Pod"
		a, err := ask(t.Context(), c.API, space, pod)
		if err != nil {
			t.Errorf("%s: %v", tc.Name, err)
		}
		out[tc.Name] = a
	}
	text, err := json.MarshalIndent(out, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(answers, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// ask has a pod created, but for storing it.
func ask(ctx context.Context, api *cluster.Client, space string, pod *v1.Pod) (answer, error) {
	var a answer
	text, err := json.Marshal(pod)
	if err != nil {
		return a, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, api.Base+"/api/v1/namespaces/"+space+"/pods?dryRun=All", bytes.NewReader(text))
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := api.HTTP.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusCreated {
		var made v1.Pod
		err := json.NewDecoder(resp.Body).Decode(&made)
		a.Spec = stored(&made.Spec)
		return a, err
	}
	var status metav1.Status
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		return a, err
	}
	if status.Reason != metav1.StatusReasonInvalid || status.Details == nil || len(status.Details.Causes) == 0 {
		return a, errors.New(status.Message)
	}
	for _, cause := range status.Details.Causes {
		a.Refused = append(a.Refused, cause.Field)
	}
	slices.Sort(a.Refused)
	a.Refused = slices.Compact(a.Refused)
	return a, nil
}

// stored takes out of a spec what the API server adds that is not davit's, and
// makes empty lists none.
func stored(spec *v1.PodSpec) *v1.PodSpec {
	spec.NodeName, spec.Tolerations, spec.Priority, spec.PreemptionPolicy = "", nil, nil, nil
	spec.ServiceAccountName, spec.DeprecatedServiceAccount = "", ""
	for i := range spec.Containers {
		spec.Containers[i].ResizePolicy = nil
	}
	for i := range spec.InitContainers {
		spec.InitContainers[i].ResizePolicy = nil
	}
	return spec
}
