// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// The other machines of the tests' network, all on loopback: it leads there, and they are no addresses of this machine's, which are near.
const (
	allowedHost = "192.0.2.10" // allowed.test, **.allowed.test
	otherHost   = "192.0.2.11" // other.test: unfamiliar
	evilHost    = "192.0.2.12" // evil.test: denied
	sixHost     = "2001:db8::10"
	dnsHost     = "192.0.2.53" // what resolv.conf names
	otherDNS    = "192.0.2.54" // a server nobody should ask
)

var serverAddresses = []string{
	"route add local 192.0.2.0/24 dev lo", "-6 route add local 2001:db8::/64 dev lo",
	"-6 route add default dev lo", // a machine with IPv6
}

// zone is what the tests' DNS server knows.
var zone = map[string][]string{
	"allowed.test.": {allowedHost}, "www.allowed.test.": {allowedHost}, "six.allowed.test.": {sixHost},
	"other.test.": {otherHost}, "evil.test.": {evilHost}, "fronted.test.": {allowedHost},
	"api.allowed.test.": {allowedHost}, "one.allowed.test.": {allowedHost}, "two.allowed.test.": {allowedHost}, "three.allowed.test.": {allowedHost}, "rebind.allowed.test.": {"127.0.0.1"}, "metadata.allowed.test.": {"169.254.169.254"},
}

// internet is everything a session may reach for.
type internet struct {
	t       *testing.T
	asked   atomic.Int64  // DNS questions
	strayed atomic.Int64  // DNS questions to the server nobody should ask
	reached sync.Map      // address and port: *atomic.Int64
	began   chan struct{} // a big transfer
}

func newInternet(t *testing.T) *internet {
	t.Helper()
	n := &internet{t: t, began: make(chan struct{}, 16)}
	cert := n.certificate()
	n.dns(dnsHost, &n.asked)
	n.dns(otherDNS, &n.strayed)
	site := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/big" {
			_, _ = io.CopyN(w, zeros{}, 1<<20)
			select {
			case n.began <- struct{}{}:
			default:
			}
			_, _ = io.CopyN(w, zeros{}, 1<<30)
			return
		}
		if dir, ok := strings.CutPrefix(r.URL.Path, "/repo.git/"); ok {
			http.ServeFileFS(w, r, os.DirFS(n.repository()), dir)
			return
		}
		fmt.Fprintf(w, "served %s over %s\n", r.Host, r.Proto)
	})
	for _, host := range []string{allowedHost, otherHost, evilHost, sixHost} {
		n.http(net.JoinHostPort(host, "80"), site, nil)
		n.http(net.JoinHostPort(host, "443"), site, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}})
		n.raw(net.JoinHostPort(host, "22"), "SSH-2.0-test\r\n")
		n.raw(net.JoinHostPort(host, "853"), "dns over tls\n")
	}
	return n
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func (n *internet) count(at string) *atomic.Int64 {
	c, _ := n.reached.LoadOrStore(at, new(atomic.Int64))
	return c.(*atomic.Int64)
}

// listener counts who comes.
type listener struct {
	net.Listener
	count *atomic.Int64
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.count.Add(1)
	}
	return c, err
}

func (n *internet) listen(at string) net.Listener {
	n.t.Helper()
	l, err := net.Listen("tcp", at)
	must(n.t, err)
	n.t.Cleanup(func() { l.Close() })
	return listener{l, n.count(at)}
}

func (n *internet) http(at string, h http.Handler, secure *tls.Config) {
	n.t.Helper()
	l := n.listen(at)
	s := &http.Server{Handler: h, TLSConfig: secure, ReadHeaderTimeout: time.Minute}
	n.t.Cleanup(func() { s.Close() })
	if secure != nil {
		go func() { _ = s.ServeTLS(l, "", "") }()
		return
	}
	go func() { _ = s.Serve(l) }()
}

// raw is a server that speaks first.
func (n *internet) raw(at, banner string) {
	n.t.Helper()
	l := n.listen(at)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, banner)
				_, _ = io.Copy(c, c)
			}()
		}
	}()
}

func (n *internet) certificate() tls.Certificate {
	n.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(n.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"allowed.test", "*.allowed.test", "other.test", "evil.test", "fronted.test"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(n.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// repository is a bare git repository that any web server can serve.
var repository = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp(filepath.Dir(shared.self), "repo-")
	if err != nil {
		return "", err
	}
	script := "git init -q w && cd w && git -c user.name=x -c user.email=x@x commit -q --allow-empty -m one && cd .. && git clone -q --bare w bare && cd bare && git update-server-info"
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("making a repository: %w: %s", err, out)
	}
	return dir + "/bare", nil
})

func (n *internet) repository() string {
	dir, err := repository()
	if err != nil {
		n.t.Error(err)
	}
	return dir
}

// dns serves the zone over UDP.
func (n *internet) dns(host string, count *atomic.Int64) {
	n.t.Helper()
	c, err := net.ListenPacket("udp", net.JoinHostPort(host, "53"))
	must(n.t, err)
	n.t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			size, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			count.Add(1)
			var m dnsmessage.Message
			if m.Unpack(buf[:size]) != nil || len(m.Questions) != 1 {
				continue
			}
			if out, err := zoneAnswer(&m).Pack(); err == nil {
				_, _ = c.WriteTo(out, from)
			}
		}
	}()
}

func zoneAnswer(m *dnsmessage.Message) *dnsmessage.Message {
	q := m.Questions[0]
	out := &dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true}, Questions: m.Questions}
	known, ok := zone[q.Name.String()]
	if !ok {
		out.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range known {
		addr := netip.MustParseAddr(a)
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 30}
		switch {
		case addr.Is4() && q.Type == dnsmessage.TypeA:
			out.Answers = append(out.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}})
		case addr.Is6() && q.Type == dnsmessage.TypeAAAA:
			out.Answers = append(out.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	return out
}
