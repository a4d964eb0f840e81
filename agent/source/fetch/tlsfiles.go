package fetch

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
)

// maxPEM is how many bytes of a certificate file are read.
const maxPEM = 1 << 20

// tlsFiles are the files with what a client trusts and shows.
type tlsFiles struct {
	ca, cert, key string // paths; "": none
	last          [3][]byte
}

// load reads the files and returns what to use with a host; changed: since they
// were loaded without an error last.
func (f *tlsFiles) load(host string) (config *tls.Config, changed bool, err error) {
	var now [3][]byte
	for i, path := range []string{f.ca, f.cert, f.key} {
		if path == "" {
			continue
		}
		if now[i], err = readPEM(path); err != nil {
			return nil, false, err
		}
		changed = changed || !bytes.Equal(now[i], f.last[i])
	}
	config = &tls.Config{MinVersion: tls.VersionTLS12}
	if f.ca != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(now[0]) {
			return nil, false, fmt.Errorf("reading the authorities that %s is checked against: %s holds no certificate in PEM form", host, f.ca)
		}
	}
	if f.cert != "" {
		pair, err := tls.X509KeyPair(now[1], now[2])
		if err != nil {
			return nil, false, fmt.Errorf("reading the client's certificate %s with the key %s: %w", f.cert, f.key, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	f.last = now
	return config, changed, nil
}

func readPEM(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a certificate file: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxPEM))
	if err != nil {
		return nil, fmt.Errorf("reading the certificate file %s: %w", path, err)
	}
	return data, nil
}
