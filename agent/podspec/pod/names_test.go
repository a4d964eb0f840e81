package pod

import (
	"fmt"
	"strings"
	"testing"
)

func TestValidateNames(t *testing.T) {
	label := "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
	underscored := "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"
	long := strings.Repeat("a", 61) + ".com"
	list := func(n int, item string) string { return "[" + strings.Repeat(item+",", n) + "]" }
	for _, tc := range []struct {
		spec string
		want []string
	}{
		{"hostname: h, subdomain: s, setHostnameAsFQDN: true", nil},
		{"subdomain: a.b", []string{`spec.subdomain: Invalid value: "a.b": must not contain dots`}},
		{"subdomain: A", []string{`spec.subdomain: Invalid value: "A": ` + label}},
		{"hostnameOverride: a.example.com, hostname: h", nil},
		{"hostnameOverride: ''", nil},
		{"hostnameOverride: A", []string{`spec.hostnameOverride: Invalid value: "A": ` + subdomain}},
		{"hostnameOverride: " + long, []string{`spec.hostnameOverride: Invalid value: "` + long + `": must be no more than 64 characters`}},
		{"hostnameOverride: a, setHostnameAsFQDN: true, hostNetwork: true", []string{
			"spec.hostnameOverride: Forbidden: may not be set when setHostnameAsFQDN is true", "spec.hostnameOverride: Forbidden: may not be set when hostNetwork is true"}},
		{"hostNetwork: true, hostAliases: [{ip: 192.0.2.1, hostnames: [a, b.example]}, {ip: '2001:db8::1'}]", nil},
		{"hostAliases: [{ip: 192.0.2.300, hostnames: [a_b]}, {hostnames: [a]}, {ip: 010.0.0.1}]", []string{
			`spec.hostAliases[0].ip: Invalid value: "192.0.2.300": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`,
			`spec.hostAliases[0].hostnames[0]: Invalid value: "a_b": ` + subdomain,
			`spec.hostAliases[1].ip: Invalid value: "": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`,
			`spec.hostAliases[2].ip: Invalid value: "010.0.0.1": must not have leading 0s`}},
		{"imagePullSecrets: [{name: s}, {}]", nil},
		{"dnsPolicy: None, dnsConfig: {nameservers: [192.0.2.1, '2001:db8::1'], searches: [., a_b.example., c], options: [{name: ndots, value: '2'}, {name: edns0}]}", nil},
		{"dnsPolicy: None", []string{"spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"}},
		{"dnsPolicy: None, dnsConfig: {searches: [a]}", []string{"spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"}},
		{"dnsConfig: {searches: [a]}", nil},
		{"dnsConfig: {nameservers: " + list(4, "192.0.2.1") + "}", []string{
			`spec.dnsConfig.nameservers: Invalid value: ["192.0.2.1","192.0.2.1","192.0.2.1","192.0.2.1"]: must not have more than 3 nameservers`}},
		{"dnsConfig: {nameservers: [dns.example], searches: ['-', ''], options: [{value: '1'}, {name: 'a b', value: \"1\\nnameserver 192.0.2.9\"}]}", []string{
			`spec.dnsConfig.nameservers[0]: Invalid value: "dns.example": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`,
			`spec.dnsConfig.searches[0]: Invalid value: "-": ` + underscored,
			`spec.dnsConfig.searches[1]: Invalid value: "": ` + underscored,
			"spec.dnsConfig.options[0]: Required value: must not be empty",
			`spec.dnsConfig.options[1].name: Invalid value: "a b": must not contain spaces`,
			`spec.dnsConfig.options[1].value: Invalid value: "1\nnameserver 192.0.2.9": must not contain spaces`}},
		{"dnsConfig: {searches: " + list(33, "a") + "}", []string{
			fmt.Sprintf(`spec.dnsConfig.searches: Invalid value: [%s]: must not have more than 32 search paths`, strings.TrimSuffix(strings.Repeat(`"a",`, 33), ","))}},
		{"securityContext: {fsGroup: 0, fsGroupChangePolicy: OnRootMismatch}", nil},
		{"securityContext: {fsGroup: -1, fsGroupChangePolicy: Never}", []string{
			"spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
			`spec.securityContext.fsGroupChangePolicy: Unsupported value: "Never": supported values: "Always", "OnRootMismatch"`}},
	} {
		checkValidate(t, "metadata: {name: p}\nspec: {containers: [{name: c, image: i}], "+tc.spec+"}", tc.want)
	}
	// 11 domains of 200 letters are 2210 bytes.
	domain := strings.Repeat(strings.Repeat("a", 39)+".", 4) + strings.Repeat("b", 40)
	spec := "dnsConfig: {searches: " + list(11, domain) + "}"
	checkValidate(t, "metadata: {name: p}\nspec: {containers: [{name: c, image: i}], "+spec+"}", []string{
		fmt.Sprintf(`spec.dnsConfig.searches: Invalid value: [%s]: must not have more than 2048 characters (including spaces) in the search list`,
			strings.TrimSuffix(strings.Repeat(`"`+domain+`",`, 11), ","))})
}
