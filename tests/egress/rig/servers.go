// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates for the hosts of tests.
type Authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	// File has the certificate, for clients.
	File string
	Pool *x509.CertPool
}

// NewAuthority makes one.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{File: filepath.Join(t.TempDir(), "ca.pem"), Pool: x509.NewCertPool()}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.Pool.AddCert(a.cert)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(a.File, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return a
}

// Certificate is for hosts of which it does not matter which server shows it.
func (a *Authority) Certificate(t testing.TB, hosts ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: hosts,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

// Echo says what it was asked: "METHOD HOST PATH BODY".
func Echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, r.URL.Path, body)
}

// HTTP serves Echo over HTTP/1, and over HTTP/2 to who begins with that.
func HTTP(t testing.TB) netip.AddrPort { return Serve(t, http.HandlerFunc(Echo), nil) }

// HTTPS serves Echo over TLS, with HTTP/2, to *.test.
func HTTPS(t testing.TB, a *Authority) netip.AddrPort {
	return Serve(t, http.HandlerFunc(Echo), &tls.Config{Certificates: []tls.Certificate{a.Certificate(t, "allowed.test", "*.test", "*.wild.test", "localhost")}, NextProtos: []string{"h2", "http/1.1"}})
}

// Serve serves a handler until the test ends.
func Serve(t testing.TB, h http.Handler, config *tls.Config) netip.AddrPort {
	t.Helper()
	l := listen(t)
	s := &http.Server{Handler: h, TLSConfig: config, ReadHeaderTimeout: time.Minute, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	go func() {
		if config != nil {
			_ = s.ServeTLS(l, "", "")
		} else {
			_ = s.Serve(l)
		}
	}()
	t.Cleanup(func() { _ = s.Close() })
	return addrOf(l)
}

func addrOf(l net.Listener) netip.AddrPort {
	a := l.Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// TCP hands every connection to serve, and closes it then.
func TCP(t testing.TB, serve func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l := listen(t)
	go func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return addrOf(l)
}

// Greeter speaks first, as ssh and smtp do, and then says each line again.
func Greeter(t testing.TB) netip.AddrPort {
	return TCP(t, func(c *net.TCPConn) {
		fmt.Fprintf(c, "220 hello\r\n")
		lines := bufio.NewReader(c)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprintf(c, "250 %s", line)
		}
	})
}

// ConnectProxy is an HTTP proxy that connects to dest whatever it is asked for.
// answer, if not nil, sees each request; false: it has answered it.
func ConnectProxy(t testing.TB, dest netip.AddrPort, answer func(*http.Request, net.Conn) bool) netip.AddrPort {
	return TCP(t, func(c *net.TCPConn) {
		lines := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(lines)
			if err != nil {
				return
			}
			if answer != nil && !answer(req, c) {
				continue
			}
			to, err := net.Dial("tcp", dest.String())
			if err != nil {
				return
			}
			defer to.Close()
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
			go func() {
				_, _ = io.Copy(to, lines)
				_ = to.(*net.TCPConn).CloseWrite()
			}()
			_, _ = io.Copy(c, to)
			return
		}
	})
}
