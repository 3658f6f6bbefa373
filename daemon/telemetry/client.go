// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// newClient makes the HTTP client of a sink.
func newClient(c SinkConfig) (*http.Client, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading the certificates that telemetry sink %s trusts: %w", c.Name, err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("there is no certificate in %s: write PEM", c.CAFile)
		}
	}
	if c.CertFile != "" {
		// For each connection again: they are exchanged long before Paddock is restarted.
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if err := secretFile(c.KeyFile); err != nil {
				return nil, err
			}
			pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("reading the certificate of telemetry sink %s: %w", c.Name, err)
			}
			return &pair, nil
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 2, IdleConnTimeout: time.Minute,
			TLSClientConfig: t, TLSHandshakeTimeout: requestTimeout, ResponseHeaderTimeout: requestTimeout,
		},
		Timeout: requestTimeout,
		// Whoever we are sent on to would get our headers too.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// secretFile checks that nobody but its owner, who must be us or root, can read a
// file.
func secretFile(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return fmt.Errorf("looking at %s: %w", path, err)
	}
	if st.Mode&0o077 != 0 || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s holds a secret and others than root can read or change it: chown root and chmod 600 it", path)
	}
	return nil
}

// headersLimit is how large a file of headers may be, in bytes.
const headersLimit = 64 << 10

// readHeaders reads a file of "Name: value", one a line; empty lines, and those
// that begin with #, are left out. Its errors show no value.
func readHeaders(path string) (http.Header, error) {
	if err := secretFile(path); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading headers: %w", err)
	}
	if len(data) > headersLimit {
		return nil, fmt.Errorf("reading headers: %s is larger than %d bytes", path, headersLimit)
	}
	return parseHeaders(path, data)
}

func parseHeaders(path string, data []byte) (http.Header, error) {
	out := http.Header{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, headersLimit+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || !isToken(name) {
			return nil, fmt.Errorf("%s: line %d is no header: write Name: value", path, n)
		}
		if value = strings.TrimSpace(value); strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, fmt.Errorf("%s: line %d: the value holds a control character, which an HTTP header cannot", path, n)
		}
		out.Set(name, value)
	}
	return out, nil
}

// isToken reports whether s is a token of RFC 9110, 5.6.2.
func isToken(s string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		letter := 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
		return !letter && (r < '0' || r > '9') && !strings.ContainsRune(marks, r)
	})
}
