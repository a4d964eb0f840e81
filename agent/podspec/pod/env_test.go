package pod

import "testing"

func TestValidateEnv(t *testing.T) {
	from := "spec.containers[0].env[0].valueFrom"
	fields := `supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"`
	bytes := "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei"
	resource := `supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"`
	key := "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
	for _, tc := range []struct {
		source string
		want   []string
	}{
		{"fieldRef: {fieldPath: status.podIPs}", nil},
		{"fieldRef: {fieldPath: \"metadata.labels['app']\"}", nil},
		{"fieldRef: {fieldPath: \"metadata.annotations['A.example/b']\"}", nil},
		{"fieldRef: {}", []string{from + ".fieldRef.fieldPath: Required value: name the field, such as metadata.name"}},
		{"fieldRef: {fieldPath: metadata.labels}", []string{from + `.fieldRef.fieldPath: Unsupported value: "metadata.labels": ` + fields}},
		{"fieldRef: {fieldPath: spec.host}", []string{from + `.fieldRef.fieldPath: Unsupported value: "spec.host": ` + fields}},
		{"fieldRef: {fieldPath: spec.x}", []string{from + `.fieldRef.fieldPath: Invalid value: "spec.x": error converting fieldPath: field label not supported: spec.x`}},
		{"fieldRef: {apiVersion: v2, fieldPath: metadata.name}", []string{from + `.fieldRef.fieldPath: Invalid value: "metadata.name": error converting fieldPath: unsupported pod version: v2`}},
		{"fieldRef: {fieldPath: \"metadata.name['a']\"}", []string{
			from + `.fieldRef.fieldPath: Invalid value: "metadata.name['a']": error converting fieldPath: field label does not support subscript: metadata.name['a']`}},
		{"fieldRef: {fieldPath: \"metadata.labels['a/b/c']\"}", []string{
			from + `.fieldRef.fieldPath: Invalid value: "metadata.labels['a/b/c']": invalid key subscript in metadata.labels['a/b/c']: ` +
				`a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`}},
		{"resourceFieldRef: {resource: limits.cpu, divisor: 1m}", nil},
		{"resourceFieldRef: {resource: limits.cpu, divisor: 1000m}", nil}, // is 1
		{"resourceFieldRef: {containerName: other, resource: requests.memory, divisor: 1Mi}", nil},
		{"resourceFieldRef: {resource: limits.ephemeral-storage, divisor: \"0\"}", nil},
		{"resourceFieldRef: {resource: limits.hugepages-2Mi, divisor: 1Mi}", nil},
		{"resourceFieldRef: {}", []string{from + ".resourceFieldRef.resource: Required value: name the resource, such as limits.memory"}},
		{"resourceFieldRef: {resource: cpu}", []string{from + `.resourceFieldRef.resource: Unsupported value: "cpu": ` + resource}},
		{"resourceFieldRef: {resource: limits.pods}", []string{from + `.resourceFieldRef.resource: Unsupported value: "limits.pods": ` + resource}},
		{"resourceFieldRef: {resource: limits.cpu, divisor: 1k}", []string{
			from + `.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor's values 1m and 1 are supported with the cpu resource`}},
		{"resourceFieldRef: {resource: limits.memory, divisor: 1m}", []string{
			from + `.resourceFieldRef.divisor: Invalid value: "limits.memory": only divisor's values ` + bytes + ` are supported with the memory resource`}},
		{"resourceFieldRef: {resource: requests.ephemeral-storage, divisor: 3}", []string{
			from + `.resourceFieldRef.divisor: Invalid value: "requests.ephemeral-storage": only divisor's values ` + bytes + ` are supported with the local ephemeral storage resource`}},
		{"resourceFieldRef: {resource: requests.hugepages-1Gi, divisor: 2}", []string{
			from + `.resourceFieldRef.divisor: Invalid value: "requests.hugepages-1Gi": only divisor's values ` + bytes + ` are supported with the hugepages resource`}},
		{"configMapKeyRef: {name: m, key: a.B-c_1}", nil},
		{"configMapKeyRef: {}", []string{from + ".configMapKeyRef.name: Required value: name the ConfigMap", from + ".configMapKeyRef.key: Required value: name the key"}},
		{"configMapKeyRef: {name: M, key: a b}", []string{
			from + `.configMapKeyRef.name: Invalid value: "M": ` + subdomain, from + `.configMapKeyRef.key: Invalid value: "a b": ` + key}},
		{"secretKeyRef: {name: s, key: k, optional: true}", nil},
		{"secretKeyRef: {key: ..}", []string{from + ".secretKeyRef.name: Required value: name the Secret", from + `.secretKeyRef.key: Invalid value: "..": must not be '..'`}},
		{"", []string{from + ": Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"}},
		{"configMapKeyRef: {name: m, key: k}, secretKeyRef: {name: s, key: k}", []string{from + `: Invalid value: "": may not have more than one field specified at a time`}},
	} {
		checkValidate(t, "metadata: {name: p}\nspec: {containers: [{name: c, image: i, env: [{name: A, valueFrom: {"+tc.source+"}}]}]}", tc.want)
	}
	checkValidate(t, "metadata: {name: p}\nspec: {containers: [{name: c, image: i, env: [{name: A, value: x, valueFrom: {secretKeyRef: {name: s, key: k}}}]}]}",
		[]string{from + ": Invalid value: \"\": may not be specified when `value` is not empty"})
}

func TestValidateEnvFrom(t *testing.T) {
	at := "spec.containers[0].envFrom[0]"
	for _, tc := range []struct {
		from string
		want []string
	}{
		{"prefix: 'my prefix-', configMapRef: {name: m}", nil},
		{"secretRef: {name: s, optional: true}", nil},
		{"prefix: a=, secretRef: {name: s}", []string{at + `.prefix: Invalid value: "a=": a valid environment variable name must consist only of printable ASCII characters other than '='`}},
		{"configMapRef: {}", []string{at + ".configMapRef.name: Required value: name the ConfigMap"}},
		{"secretRef: {name: ../s}", []string{at + `.secretRef.name: Invalid value: "../s": ` + subdomain}},
		{"prefix: a", []string{at + ": Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"}},
		{"configMapRef: {name: m}, secretRef: {name: s}", []string{at + `: Invalid value: "": may not have more than one field specified at a time`}},
	} {
		checkValidate(t, "metadata: {name: p}\nspec: {containers: [{name: c, image: i, envFrom: [{"+tc.from+"}]}]}", tc.want)
	}
}
