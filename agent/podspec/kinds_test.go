package podspec

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const (
	settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata:\n  a: \"1\"\n  tls.crt: |\n    -----BEGIN\nbinaryData: {b: //4=}\n"
	token    = "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\ndata: {a: aGk=}\nstringData: {b: \"x\"}\n"
	service  = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n"
)

// TestKindsLikeKubernetes holds the decoder to the one that Kubernetes' tools use.
func TestKindsLikeKubernetes(t *testing.T) {
	for _, text := range []string{settings, token, service,
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {a: b}}\ndata: {empty: , yes: \"no\"}\nimmutable: true\n",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: kubernetes.io/tls\ndata: {tls.crt: \"aGk=\\n\", tls.key: ~}\n",
		"apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  type: LoadBalancer\n  clusterIPs: [10.0.0.1, \"fd00::1\"]\n  ports:\n  - {name: a, port: 80, targetPort: http, nodePort: 30080, protocol: UDP}\n  - {name: b, port: 81, targetPort: 8081}\n  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 10}}\n  externalTrafficPolicy: Local\n  publishNotReadyAddresses: true\nstatus: {loadBalancer: {}}\n",
	} {
		objs, problems := Decode([]byte(text), "f")
		if len(problems) > 0 || len(objs) != 1 {
			t.Errorf("%s: %v", text, texts(problems))
			continue
		}
		var want any
		switch objs[0].Kind() {
		case KindConfigMap:
			want = &v1.ConfigMap{}
		case KindSecret:
			want = &v1.Secret{}
		default:
			want = &v1.Service{}
		}
		if err := yaml.Unmarshal([]byte(text), want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, objs[0].value()); diff != "" {
			t.Errorf("(-kubernetes +davit):\n%s", diff)
		}
		if _, problems := Read([]byte(text), "f"); len(problems) > 0 {
			t.Errorf("%s: %v", text, texts(problems))
		}
	}
}

func TestKindsInLists(t *testing.T) {
	indent := func(text string) string {
		return "- " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
	}
	bare := func(text string) string { return indent(strings.SplitN(text, "\n", 3)[2]) }
	for name, tc := range map[string]struct{ text, want string }{
		"List":          {"apiVersion: v1\nkind: List\nitems:\n" + indent(settings) + indent(web) + indent(token) + indent(service), "ConfigMap/settings@4 Pod/web@12 Secret/token@20 Service/web@25"},
		"ConfigMapList": {"apiVersion: v1\nkind: ConfigMapList\nitems:\n" + bare(settings), "ConfigMap/settings@4"},
		"SecretList":    {"apiVersion: v1\nkind: SecretList\nitems:\n" + bare(token), "Secret/token@4"},
		"ServiceList":   {"apiVersion: v1\nkind: ServiceList\nitems:\n" + bare(service), "Service/web@4"},
		"documents":     {settings + "---\n" + token + "---\n" + service, "ConfigMap/settings@1 Secret/token@10 Service/web@16"},
	} {
		objs, problems := Read([]byte(tc.text), "f")
		var got []string
		for _, o := range objs {
			got = append(got, fmt.Sprintf("%s/%s@%d", o.Kind(), o.Meta().Name, o.Line))
		}
		if strings.Join(got, " ") != tc.want || len(problems) > 0 {
			t.Errorf("%s: %q, problems %v", name, got, texts(problems))
		}
	}
}

// A pod's digest is its own, whatever stands around it.
func TestDigestIsOfTheObject(t *testing.T) {
	alone, _ := Decode([]byte(web), "f")
	among, _ := Decode([]byte(settings+"---\n"+web+"---\n"+token), "f")
	if len(among) != 3 || among[1].Digest != alone[0].Digest || among[0].Digest == among[2].Digest {
		t.Errorf("%+v", among)
	}
}

func TestValidateKinds(t *testing.T) {
	config := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
	svc := "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n"
	long := strings.Repeat("k", 254)
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"no name", "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a}\n", []string{`3: ConfigMap: metadata.name: Required value: give the ConfigMap a name`}},
		{"bad name", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: A_b\n  namespace: x.y\n  labels: {a: \"b c\"}\n", []string{
			`4: ConfigMap/x.y/A_b: metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain must`,
			`5: ConfigMap/x.y/A_b: metadata.namespace: Invalid value: "x.y": must not contain dots`,
			`6: ConfigMap/x.y/A_b: metadata.labels: Invalid value: "b c": a valid label must`,
		}},
		{"bad keys", config + "data:\n  a b: x\n  .: x\n  ..: x\n  ..x: x\n  \"\": x\n  \"a\\nb\": x\n  " + long + ": x\n  .ok: x\n", []string{
			`9: ConfigMap/default/c: data[]: Invalid value: "": a valid config key must`,
			`5: ConfigMap/default/c: data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.'`,
			`6: ConfigMap/default/c: data[.]: Invalid value: ".": must not be '.'`,
			`7: ConfigMap/default/c: data[..]: Invalid value: "..": must not be '..'`,
			`8: ConfigMap/default/c: data[..x]: Invalid value: "..x": must not start with '..'`,
			"10: ConfigMap/default/c: data[a?b]: Invalid value: \"a\\nb\": a valid config key must",
			`4: ConfigMap/default/c: data[` + long[:64] + `...]: Invalid value: "` + long[:64] + `...": must be no more than 253 characters`,
		}},
		{"both", config + "data: {a: x}\nbinaryData: {a: aGk=, b c: aGk=}\n", []string{
			`5: ConfigMap/default/c: binaryData[b c]: Invalid value: "b c": a valid config key must`,
			`5: ConfigMap/default/c: binaryData[a]: Invalid value: "a": duplicate of key present in data: remove one`,
		}},
		{"no base64", config + "binaryData:\n  a: hello!\n", []string{`5: ConfigMap/default/c: binaryData[a]: want base64 text`}},
		{"number", config + "data: {a: 1}\n", []string{`4: ConfigMap/default/c: data[a]: want a string, got a number (1); put it in quotes: "1"`}},
		{"too large", config + "data: {a: " + strings.Repeat("x", 1<<19) + "}\nbinaryData: {b: " + base64.StdEncoding.EncodeToString(make([]byte, 1<<19+1)) + "}\n", []string{
			`4: ConfigMap/default/c: data: Forbidden: the values have 1048577 bytes together, at most 1048576 are allowed: spread them over several objects`}},
		{"unknown field", config + "dataa: {}\nspec: {}\n", []string{
			`4: ConfigMap/default/c: unknown field "dataa", did you mean "data"?`, `5: ConfigMap/default/c: unknown field "spec": a ConfigMap has no such field, remove it`}},

		{"Service name", strings.Replace(service, "name: web", "name: a.b", 1), []string{`3: Service/default/a.b: metadata.name: Invalid value: "a.b": must not contain dots`}},
		{"Service name with a digit", strings.Replace(service, "name: web", "name: 1a", 1), nil},
		{"headless", svc + "  clusterIP: None\n", nil},
		{"no ports", svc + "  selector: {}\n", []string{`4: Service/default/s: spec.ports: Required value: name at least one port, or make the Service headless (clusterIP: None)`}},
		{"ports", svc + "  ports:\n  - port: 0\n  - {name: A, port: 80, protocol: ICMP}\n  - {name: b, port: 80, targetPort: 70000}\n  - {name: b, port: 80, nodePort: 30000, targetPort: Ab}\n", []string{
			`6: Service/default/s: spec.ports[0].port: Invalid value: 0: must be between 1 and 65535`,
			`6: Service/default/s: spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535`,
			`6: Service/default/s: spec.ports[0].name: Required value: ports have names where there are several`,
			`7: Service/default/s: spec.ports[1].name: Invalid value: "A": a lowercase RFC 1123 label must`,
			`7: Service/default/s: spec.ports[1].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"`,
			`8: Service/default/s: spec.ports[2].targetPort: Invalid value: 70000: must be between 1 and 65535`,
			`9: Service/default/s: spec.ports[3].targetPort: Invalid value: "Ab": must contain only`,
			`9: Service/default/s: spec.ports[3].name: Duplicate value: "b"`,
			`9: Service/default/s: spec.ports[3]: Duplicate value: "TCP port 80"`,
			"9: Service/default/s: spec.ports[3].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
		}},
		{"node ports", svc + "  type: NodePort\n  ports:\n  - {name: a, port: 1, nodePort: 30000}\n  - {name: b, port: 2, nodePort: 30000}\n  - {name: c, port: 3, nodePort: 99999}\n", []string{
			`8: Service/default/s: spec.ports[1].nodePort: Duplicate value: 30000`,
			`9: Service/default/s: spec.ports[2].nodePort: Invalid value: 99999: must be between 1 and 65535`,
		}},
		{"addresses", svc + "  clusterIP: 10.0.0.300\n  externalIPs: [127.0.0.1, x]\n  loadBalancerSourceRanges: [10.0.0.0/33]\n  ipFamilies: [IPv4, IPv4]\n  ipFamilyPolicy: Two\n  ports: [{port: 1}]\n", []string{
			`4: Service/default/s: spec.clusterIPs[0]: Invalid value: "10.0.0.300": must be a valid IP address`,
			`6: Service/default/s: spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be unspecified, loopback, link-local or multicast`,
			`6: Service/default/s: spec.externalIPs[1]: Invalid value: "x": must be a valid IP address`,
			"7: Service/default/s: spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
			`7: Service/default/s: spec.loadBalancerSourceRanges[0]: Invalid value: "10.0.0.0/33": must be a valid CIDR value`,
			`8: Service/default/s: spec.ipFamilies[1]: Duplicate value: "IPv4"`,
			`9: Service/default/s: spec.ipFamilyPolicy: Unsupported value: "Two"`,
		}},
		{"cluster IPs", svc + "  clusterIPs: [10.0.0.1, 10.0.0.2]\n  ports: [{port: 1}]\n", []string{`5: Service/default/s: spec.clusterIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: may specify no more than one IP for each IP family`}},
		{"headless NodePort", svc + "  clusterIP: None\n  clusterIPs: [None, 10.0.0.1]\n  type: NodePort\n", []string{
			`5: Service/default/s: spec.clusterIP: Invalid value: "None": may not be 'None' when`, `6: Service/default/s: spec.clusterIPs: Invalid value: ["None","10.0.0.1"]: 'None' must be the first and only value`}},
		{"policies", svc + "  ports: [{port: 1}]\n  sessionAffinity: Cookie\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 1}}\n  internalTrafficPolicy: Near\n  externalTrafficPolicy: Local\n  healthCheckNodePort: 1\n", []string{
			`6: Service/default/s: spec.sessionAffinity: Unsupported value: "Cookie"`,
			`7: Service/default/s: spec.sessionAffinityConfig: Forbidden: must not be set when session affinity is None`,
			`8: Service/default/s: spec.internalTrafficPolicy: Unsupported value: "Near"`,
			`9: Service/default/s: spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services`,
			`10: Service/default/s: spec.healthCheckNodePort: Invalid value: 1: may only be set when`,
		}},
		{"affinity time", svc + "  ports: [{port: 1}]\n  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}\n", []string{`7: Service/default/s: spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be 1 to 86400 seconds`}},
		{"external name", svc + "  type: ExternalName\n  externalName: a_b\n", []string{`6: Service/default/s: spec.externalName: Invalid value: "a_b": a lowercase RFC 1123 subdomain must`}},
		{"no external name", svc + "  type: ExternalName\n  clusterIP: 10.0.0.1\n", []string{
			`4: Service/default/s: spec.externalName: Required value: a Service of type ExternalName stands for a DNS name`, "6: Service/default/s: spec.clusterIP: Forbidden: may not be set when `type` is 'ExternalName'"}},
		{"type", svc + "  type: Web\n  ports: [{port: 1}]\n", []string{`5: Service/default/s: spec.type: Unsupported value: "Web"`}},
	} {
		t.Run(tc.name, func(t *testing.T) { checkProblems(t, tc.text, tc.want) })
	}
}

// checkProblems compares the problems of a text, each by its beginning and in any
// order.
func checkProblems(t *testing.T, text string, want []string) {
	t.Helper()
	_, problems := Read([]byte(text), "f")
	got := texts(problems)
	if len(got) != len(want) {
		t.Errorf("%d problems, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for _, w := range want {
		found := false
		for _, g := range got {
			found = found || strings.HasPrefix(g, "f:"+w)
		}
		if !found {
			t.Errorf("no problem %s in\n%s", w, strings.Join(got, "\n"))
		}
	}
}

func TestSecrets(t *testing.T) {
	head := "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
	of := func(kind, rest string) string { return head + "type: " + kind + "\n" + rest }
	docker := base64.StdEncoding.EncodeToString([]byte(`{"auths":{}}`))
	hunter := base64.StdEncoding.EncodeToString([]byte("hunter2"))
	missing := "Required value: a Secret of type kubernetes.io/"
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"docker", of("kubernetes.io/dockerconfigjson", "data: {.dockerconfigjson: "+docker+"}\n"), nil},
		{"docker in text", of("kubernetes.io/dockerconfigjson", "stringData: {.dockerconfigjson: '{\"auths\":{}}'}\n"), nil},
		{"docker without", of("kubernetes.io/dockerconfigjson", ""), []string{"1: Secret/default/s: data[.dockerconfigjson]: " + missing + "dockerconfigjson has this key"}},
		{"docker not JSON", of("kubernetes.io/dockerconfigjson", "data: {.dockerconfigjson: "+hunter+"}\n"), []string{`5: Secret/default/s: data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": must be a JSON object, as ` + "`docker login` writes it"}},
		{"old docker not JSON", of("kubernetes.io/dockercfg", "stringData: {.dockercfg: hunter2}\n"), []string{`1: Secret/default/s: data[.dockercfg]: Invalid value: "<secret contents redacted>"`}},
		{"basic auth", of("kubernetes.io/basic-auth", "stringData: {password: x}\n"), nil},
		{"basic auth without", of("kubernetes.io/basic-auth", "stringData: {pass: x}\n"), []string{"1: Secret/default/s: data[username]: " + missing + "basic-auth", "1: Secret/default/s: data[password]: " + missing + "basic-auth"}},
		{"ssh", of("kubernetes.io/ssh-auth", "stringData: {ssh-privatekey: \"\"}\n"), []string{"1: Secret/default/s: data[ssh-privatekey]: " + missing + "ssh-auth"}},
		{"tls", of("kubernetes.io/tls", "data: {tls.crt: aGk=}\n"), []string{"5: Secret/default/s: data[tls.key]: " + missing + "tls"}},
		{"account", of("kubernetes.io/service-account-token", ""), []string{"3: Secret/default/s: metadata.annotations[kubernetes.io/service-account.name]: Required value: name the service account"}},
		{"bootstrap", of("bootstrap.kubernetes.io/token", ""), nil},
		{"own type", of("example.com/mine", "data: {a: aGk=}\n"), nil},
		{"no base64", head + "data:\n  a: aGk=\n  b: hunter2!\n", []string{"6: Secret/default/s: data[b]: want base64 text; plain text goes into stringData"}},
		{"number", head + "stringData:\n  pin: 1234567\n", []string{"5: Secret/default/s: stringData[pin]: want a string, got a number; put it in quotes"}},
		{"not a mapping", head + "stringData: hunter2\n", []string{"4: Secret/default/s: stringData: want a mapping (key: value), got a string"}},
		{"bad key", head + "stringData: {a b: hunter2}\n", []string{`1: Secret/default/s: data[a b]: Invalid value: "a b": a valid config key must`}},
		{"too large", head + "stringData: {a: " + strings.Repeat("x", 1<<20+1) + "}\n", []string{"1: Secret/default/s: data: Forbidden: the values have 1048577 bytes together"}},
		{"alias", head + "stringData: {a: *hunter2}\n", []string{"1: this is not valid YAML: an alias (*name) stands for nothing: put text that begins with * into quotes"}},
		{"tag", head + "stringData: {a: !hunter2 x}\n", []string{"4: stringData.a: a tag (!name) is not supported: put text that begins with ! into quotes"}},
		{"infinite", head + "stringData: {a: .inf}\n", []string{"4: stringData.a: not a finite number"}},
		{"JSON", `{"kind":"Secret", "stringData":{"a":"hunter2"x}}`, []string{"1: this is not valid JSON"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			checkProblems(t, tc.text, tc.want)
			_, problems := Read([]byte(tc.text), "f")
			if all := strings.Join(texts(problems), "\n"); strings.Contains(all, "hunter2") || strings.Contains(all, hunter) || strings.Contains(all, "1234567") {
				t.Errorf("a secret is told: %s", all)
			}
		})
	}
	objs, problems := Read([]byte(head+"data: {a: aGk=, b: aGk=}\nstringData: {b: text, c: \"\"}\n"), "f")
	if len(problems) > 0 || len(objs) != 1 {
		t.Fatal(problems)
	}
	s := objs[0].Secret
	if s.StringData != nil || string(s.Data["a"]) != "hi" || string(s.Data["b"]) != "text" || len(s.Data) != 3 || s.Type != v1.SecretTypeOpaque {
		t.Errorf("%+v", s)
	}
}

// TestManyBadKeys: what is wrong with 10,000 keys is told of 49.
func TestManyBadKeys(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "  bad key %d: x\n", i)
	}
	objs, problems := Read([]byte(b.String()), "f")
	if len(objs) != 0 || len(problems) != maxProblems || problems[maxProblems-1].Message == "" {
		t.Errorf("%d objects, %d problems", len(objs), len(problems))
	}
}

func TestServiceDefaults(t *testing.T) {
	objs, problems := Read([]byte("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {type: LoadBalancer, clusterIP: 10.0.0.1, sessionAffinity: ClientIP, ports: [{port: 80}, {name: b, port: 81, targetPort: web}]}\n"), "f")
	if len(problems) != 1 || len(objs) != 0 || !strings.Contains(problems[0].Message, "ports have names") {
		t.Fatalf("%v", problems)
	}
	objs, problems = Read([]byte("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {type: LoadBalancer, clusterIP: 10.0.0.1, sessionAffinity: ClientIP, ports: [{name: a, port: 80}, {name: b, port: 81, targetPort: web}]}\n"), "f")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	spec := objs[0].Service.Spec
	if spec.Ports[0].TargetPort.IntVal != 80 || spec.Ports[1].TargetPort.StrVal != "web" || spec.Ports[0].Protocol != v1.ProtocolTCP ||
		*spec.SessionAffinityConfig.ClientIP.TimeoutSeconds != 10800 || *spec.InternalTrafficPolicy != "Cluster" ||
		spec.ExternalTrafficPolicy != "Cluster" || !*spec.AllocateLoadBalancerNodePorts || len(spec.ClusterIPs) != 1 {
		t.Errorf("%+v", spec)
	}
	once := objs[0].Service.DeepCopy()
	DefaultService(once)
	if diff := cmp.Diff(objs[0].Service, once); diff != "" {
		t.Errorf("defaults are not the same twice: %s", diff)
	}
}
