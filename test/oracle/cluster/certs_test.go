package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"os"
	"testing"
)

// Certificates are good for what they are made for and nothing else, and keys
// are nobody else's to read.
func TestAuthority(t *testing.T) {
	a, err := newAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr("192.0.2.10")
	if err := a.issue("server", identity{name: "s", server: true, addrs: []netip.Addr{addr}}); err != nil {
		t.Fatal(err)
	}
	if err := a.issue("user", identity{name: "u", group: "system:masters"}); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	data, err := os.ReadFile(a.certFile("ca"))
	if err != nil || !roots.AppendCertsFromPEM(data) {
		t.Fatalf("reading the authority's certificate: %v", err)
	}
	for name, good := range map[string]struct{ server, client bool }{"server": {true, true}, "user": {false, true}} {
		pair, err := tls.LoadX509KeyPair(a.certFile(name), a.keyFile(name))
		if err != nil {
			t.Fatal(err)
		}
		as := func(host string, use x509.ExtKeyUsage) bool {
			_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, KeyUsages: []x509.ExtKeyUsage{use}})
			return err == nil
		}
		if got := as("192.0.2.10", x509.ExtKeyUsageServerAuth); got != good.server {
			t.Errorf("%s serves as 192.0.2.10: %v, want %v", name, got, good.server)
		}
		if got := as("", x509.ExtKeyUsageClientAuth); got != good.client {
			t.Errorf("%s is a client: %v, want %v", name, got, good.client)
		}
		if as("192.0.2.11", x509.ExtKeyUsageServerAuth) {
			t.Errorf("%s serves as 192.0.2.11, which it is not for", name)
		}
		if st, err := os.Stat(a.keyFile(name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("the key of %s: %v, %v", name, st, err)
		}
	}
}
