// SPDX-License-Identifier: Apache-2.0

package otelcol

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/otelcol/rig"
)

// authority signs certificates, and writes them where a Collector and a sink find them.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign(name, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// sign makes NAME.pem and NAME.key.
func (a *authority) sign(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	a.must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	a.must(err)
	a.must(os.WriteFile(a.path(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	a.must(os.WriteFile(a.path(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	cert, err := x509.ParseCertificate(der)
	a.must(err)
	return cert, key
}

func (a *authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// The real Collector asks for a certificate. Who has none that it knows gets nothing taken, and loses nothing; who has one
// exports as ever.
func TestCollectorThatWantsACertificate(t *testing.T) {
	ours, others := newAuthority(t, "ca"), newAuthority(t, "ca")
	ours.sign("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	for _, a := range []*authority{ours, others} {
		a.sign("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	}
	c := rig.New(t)
	c.TLS = fmt.Sprintf("tls: {cert_file: %q, key_file: %q, client_ca_file: %q}", ours.path("server.pem"), ours.path("server.key"), ours.path("ca.pem"))
	c.Start(rig.Willing)
	c.Says("Everything is ready")
	sink := telemetry.SinkConfig{CAFile: ours.path("ca.pem"), CertFile: others.path("client.pem"), KeyFile: others.path("client.key")}
	b := newBenchOf(t, c, sink)
	b.record(some(2)...)
	if text := b.awaitFailure(); !strings.Contains(text, "certificate") {
		t.Errorf("with a certificate of somebody else's: %s", text)
	}
	if got := b.store.Counters().Sinks[telemetry.SinkOTLP]; got.Exported != 0 || got.Waiting == 0 || got.Dead != 0 {
		t.Errorf("counters: %+v", got)
	}
	sink.Endpoint, sink.CertFile, sink.KeyFile = c.Endpoint(), ours.path("client.pem"), ours.path("client.key")
	b.exporter.Configure(sink)
	b.awaitExport()
	c.Stop()
	b.check()
}
