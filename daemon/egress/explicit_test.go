// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

func proxied(t *testing.T, proxy string, user *url.Userinfo, config *tls.Config) *http.Client {
	tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy, User: user}), TLSClientConfig: config}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: deadline}
}

func get(t *testing.T, c *http.Client, target string) (int, http.Header, string) {
	t.Helper()
	answer, err := c.Get(target)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return answer.StatusCode, answer.Header, string(b)
}

func TestProxyForURLs(t *testing.T) {
	r := rig.New(t, rig.Options{})
	dest := rig.HTTP(t)
	r.Names.Know("allowed.test", loopback)
	r.Names.Know("other.test", loopback)
	r.Names.Know("new.test", loopback)
	client := proxied(t, r.Proxy(t, egress.Credentials{}), nil, nil)
	at := func(host string) string { return fmt.Sprintf("http://%s:%d/p", host, dest.Port()) }
	// One connection to us, several hosts.
	for _, host := range []string{"allowed.test", "other.test", "allowed.test"} {
		if code, _, body := get(t, client, at(host)); code != 200 || body != fmt.Sprintf("GET %s:%d /p ", host, dest.Port()) {
			t.Errorf("%s: %d %q", host, code, body)
		}
	}
	code, header, body := get(t, client, at("x.denied.test"))
	if code != 403 || header.Get("X-Proxy-Error") != "blocked-by-denylist" || !strings.Contains(body, `"reason":"denied"`) {
		t.Errorf("%d %v %q", code, header, body)
	}
	// What does not resolve is closed, as it is for Codex's own proxy.
	if code, _, body := get(t, client, at("nowhere.wild.test")); code != 403 || !strings.Contains(body, `"reason":"not_allowed_local"`) {
		t.Errorf("%d %q", code, body)
	}
	req, err := http.NewRequest(http.MethodGet, at("allowed.test"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Unix-Socket", "/var/run/docker.sock")
	if answer, err := client.Do(req); err != nil || answer.StatusCode != http.StatusNotImplemented {
		t.Errorf("a unix socket: %v, %v", answer, err)
	} else {
		_ = answer.Body.Close()
	}
	r.Asker.Answer(egress.Answer{Allow: true, By: "alice"})
	if code, _, body := get(t, client, at("new.test")); code != 200 {
		t.Errorf("%d %q", code, body)
	}
	e := r.Events.Wait(t, 6)
	attr(t, e[0], map[string]any{"server.address": "allowed.test", "paddock.decision": "allow", "destination.port": int64(dest.Port()), "paddock.network.bytes_received": int64(len(fmt.Sprintf("GET allowed.test:%d /p ", dest.Port())))})
	attr(t, e[5], map[string]any{"server.address": "new.test", "paddock.decision.by": "alice"})
}

func TestConnect(t *testing.T) {
	authority := rig.NewAuthority(t)
	r := rig.New(t, rig.Options{})
	dest := rig.HTTPS(t, authority)
	for _, name := range []string{"allowed.test", "other.test"} {
		r.Names.Know(name, netip.MustParseAddr("127.0.0.2"), loopback) // nobody is at the first
	}
	at := r.Proxy(t, egress.Credentials{User: "s", Password: "secret"})
	config := &tls.Config{RootCAs: authority.Pool}
	if code, _, body := get(t, proxied(t, at, url.UserPassword("s", "secret"), config), fmt.Sprintf("https://allowed.test:%d/", dest.Port())); code != 200 {
		t.Errorf("%d %q", code, body)
	}
	for _, user := range []*url.Userinfo{nil, url.UserPassword("s", "wrong"), url.UserPassword("", "")} {
		if _, _, err := get(t, proxied(t, at, user, config), fmt.Sprintf("https://allowed.test:%d/", dest.Port())); !strings.Contains(err, "Authentication Required") {
			t.Errorf("%v: %s", user, err)
		}
		if code, _, _ := get(t, proxied(t, at, user, nil), "http://allowed.test/"); code != 407 {
			t.Errorf("%v: %d", user, code)
		}
	}
	if _, _, err := get(t, proxied(t, at, url.UserPassword("s", "secret"), config), "https://x.denied.test/"); !strings.HasSuffix(err, "Forbidden") {
		t.Error(err)
	}
	// Another name inside.
	inside := config.Clone()
	inside.ServerName = "other.test"
	if _, _, err := get(t, proxied(t, at, url.UserPassword("s", "secret"), inside), fmt.Sprintf("https://allowed.test:%d/", dest.Port())); !strings.Contains(err, "tls: access denied") {
		t.Error(err)
	}
}

// CONNECT to an address in all its spellings, and to what is no host.
func TestConnectToAddresses(t *testing.T) {
	strict := strings.Replace(rig.Requirements, "allow_local_binding = true", "", 1)
	r := rig.New(t, rig.Options{Requirements: strict + "\"**.local.test\" = \"allow\"\n"})
	r.Names.Know("a.local.test", loopback)
	at := r.Proxy(t, egress.Credentials{})
	for target, status := range map[string]int{
		"127.0.0.1:80": 403, "127.1:80": 403, "0x7f.1:80": 403, "2130706433:80": 403, "017700000001:80": 403, "[::1]:80": 403, "[::ffff:127.0.0.1]:80": 403,
		"[::ffff:7f00:1]:80": 403, "[64:ff9b::7f00:1]:80": 403, "[2002:7f00:1::]:80": 403, "0.0.0.0:80": 403, "[::]:80": 403, "169.254.169.254:80": 403,
		"[fe80::1%25lo]:80": 403, "[fe80::1%lo]:80": 403, "localhost:80": 403, "LOCALHOST.:80": 403, "a.local.test:80": 403, "metadata.google.internal:80": 403, "10.1.2.3:443": 403, "100.64.1.1:1": 403,
		"allowed.test\x00.x:80": 400, "allowed.test@127.0.0.1:80": 400, "allowed.test": 400, "allowed.test:0": 400, "allowed.test:99999": 400, "http://allowed.test:80": 400,
		"1.2.3.4.5:80": 400, "256.1.1.1:80": 400, "[::1]x:80": 400, "::1:80": 403, "a..b:80": 400, "allowed.test:80:80": 400, "[127.0.0.1]:80": 400, "127.0.0.1%00.allowed.test:80": 400,
	} {
		c := dial(t, at)
		fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
		answer, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect})
		if err == nil {
			_ = answer.Body.Close()
		}
		if target == "::1:80" {
			status = 400 // it may be one address or another
		}
		if err != nil || answer.StatusCode != status {
			t.Errorf("%q: %v, %v; want %d", target, answer, err, status)
		}
		_ = c.Close()
	}
}

func TestSocks(t *testing.T) {
	authority := rig.NewAuthority(t)
	r := rig.New(t, rig.Options{})
	dest := rig.HTTPS(t, authority)
	greeter := rig.Greeter(t)
	r.Names.Know("allowed.test", loopback)
	for _, login := range []bool{false, true} {
		want := egress.Credentials{}
		hello, chosen, proof := "\x05\x02\x00\x02", "\x05\x00", ""
		if login {
			want = egress.Credentials{User: "s", Password: "secret"}
			chosen, proof = "\x05\x02", "\x01\x01s\x06secret"
		}
		at := r.Proxy(t, want)
		port := func(p uint16) string { return string([]byte{byte(p >> 8), byte(p)}) }
		for request, code := range map[string]byte{
			"\x05\x01\x00\x03\x0callowed.test" + port(dest.Port()):                                        0,
			"\x05\x01\x00\x01\x7f\x00\x00\x01" + port(greeter.Port()):                                     0xff, // unfamiliar
			"\x05\x01\x00\x03\x0dx.denied.test" + port(443):                                               2,
			"\x05\x01\x00\x03\x13allowed.test\x00.x.test" + port(443):                                     2,
			"\x05\x01\x00\x03\x00" + port(443):                                                            2,
			"\x05\x01\x00\x03\x0f169.254.169.254" + port(80):                                              2,
			"\x05\x01\x00\x03\x04\x7f\x00\x00\x01" + port(80):                                             2,
			"\x05\x01\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xa9\xfe\xa9\xfe" + port(80): 2,
			"\x05\x01\x00\x03\x0callowed.test\x00\x00":                                                    2,
			"\x05\x01\x00\x09\x0callowed.test" + port(443):                                                2,
			"\x05\x03\x00\x03\x0callowed.test" + port(443):                                                7, // UDP
			"\x05\x02\x00\x03\x0callowed.test" + port(443):                                                7, // bind
			"\x05\x01\x01\x03\x0callowed.test" + port(443):                                                2,
		} {
			c := dial(t, at)
			fmt.Fprint(c, hello)
			answers := bufio.NewReader(c)
			var method [2]byte
			if _, err := io.ReadFull(answers, method[:]); err != nil || string(method[:]) != chosen {
				t.Fatalf("%q, %v", method, err)
			}
			if login {
				fmt.Fprint(c, proof)
				if _, err := io.ReadFull(answers, method[:]); err != nil || string(method[:]) != "\x01\x00" {
					t.Fatalf("%q, %v", method, err)
				}
			}
			fmt.Fprint(c, request)
			if code == 0xff {
				<-r.Asker.Questions
				r.Asker.Answer(egress.Answer{By: "alice"})
				code = 2
			}
			var reply [10]byte
			if _, err := io.ReadFull(answers, reply[:]); err != nil || reply[1] != code {
				t.Errorf("%q: reply %d, %v; want %d", request, reply[1], err, code)
			}
			if code == 0 {
				over := tls.Client(c, &tls.Config{ServerName: "allowed.test", RootCAs: authority.Pool})
				if err := over.Handshake(); err != nil {
					t.Error(err)
				}
			}
			_ = c.Close()
		}
		if !login {
			continue
		}
		for text, want := range map[string]string{"\x05\x01\x00": "\x05\xff", "\x05\x01\x02\x01\x01s\x05wrong": "\x05\x02\x01\x01"} {
			got, _ := say(t, at, text)
			if !strings.HasPrefix(got, want) {
				t.Errorf("%q: %q", text, got)
			}
		}
	}
}

// The proxy of the machine is used where requirements let it be.
func TestUpstreamProxy(t *testing.T) {
	authority := rig.NewAuthority(t)
	dest := rig.HTTPS(t, authority)
	plain := rig.HTTP(t)
	asked := make(chan string, 10)
	upstream := rig.ConnectProxy(t, dest, func(req *http.Request, c net.Conn) bool {
		asked <- req.Method + " " + req.Host + " " + req.Header.Get("Proxy-Authorization")
		if req.Method != http.MethodConnect {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup")
		}
		return req.Method == http.MethodConnect
	})
	through := func(p *egress.Policy) {
		p.Upstream.HTTPSProxy, p.Upstream.HTTPProxy = "http://u:p@"+upstream.String(), "http://u:p@"+upstream.String()
		p.Upstream.NoProxy = "other.test"
	}
	r := rig.New(t, rig.Options{Change: through})
	r.Names.Know("other.test", loopback)
	r.Names.Bind("a.wild.test", loopback)
	at := r.Proxy(t, egress.Credentials{})
	client := proxied(t, at, nil, &tls.Config{RootCAs: authority.Pool})
	// A name that only the upstream proxy can resolve.
	if code, _, body := get(t, client, "https://allowed.test/"); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	if got := <-asked; got != "CONNECT allowed.test:443 Basic dTpw" {
		t.Error(got)
	}
	if code, _, body := get(t, client, "http://allowed.test/"); code != 200 || body != "up" {
		t.Errorf("%d %s", code, body)
	}
	if got := <-asked; got != "GET allowed.test Basic dTpw" {
		t.Error(got)
	}
	// A redirected connection, by its name.
	c := dial(t, r.Redirect(t, netip.MustParseAddrPort("127.0.0.1:443")))
	over := tls.Client(c, &tls.Config{ServerName: "a.wild.test", RootCAs: authority.Pool})
	if err := over.Handshake(); err != nil {
		t.Error(err)
	}
	if got := <-asked; got != "CONNECT a.wild.test:443 Basic dTpw" {
		t.Error(got)
	}
	_ = c.Close()
	// Not for NO_PROXY, not for what is denied.
	if code, _, body := get(t, client, fmt.Sprintf("http://other.test:%d/", plain.Port())); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	if _, _, err := get(t, client, "https://x.denied.test/"); !strings.HasSuffix(err, "Forbidden") {
		t.Error(err)
	}
	// Not for what the resolver refuses: to ask somebody else says as much.
	r.Names.Refuse("b.wild.test")
	if _, _, err := get(t, client, "https://b.wild.test/"); !strings.HasSuffix(err, "Forbidden") {
		t.Error(err)
	}
	// And not where requirements say no.
	no := rig.Policy(t, rig.Options{Requirements: strings.Replace(rig.Requirements, "enabled = true", "enabled = true\nallow_upstream_proxy = false", 1), Change: through})
	r.Apply(no)
	client.CloseIdleConnections() // connections that were passed on stay
	if _, _, err := get(t, client, "https://allowed.test/"); !strings.HasSuffix(err, "Forbidden") {
		t.Error(err)
	}
	if len(asked) > 0 {
		t.Errorf("the upstream proxy was asked for %s", <-asked)
	}
}
