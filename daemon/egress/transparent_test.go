// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = netip.MustParseAddr("127.0.0.1")

// deadline is for what takes a moment on an idle machine.
const deadline = 20 * time.Second

func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, deadline)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(deadline))
	return c.(*net.TCPConn)
}

// say sends text and returns all that comes until the other side ends; the error is
// that of the end.
func say(t testing.TB, addr, text string) (string, error) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, deadline)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(deadline))
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

func attr(t testing.TB, e telemetry.Event, want map[string]any) {
	t.Helper()
	for key, value := range want {
		if e.Attrs[key] != value {
			t.Errorf("%s is %v (%T), want %v", key, e.Attrs[key], e.Attrs[key], value)
		}
	}
}

func TestRequestToAnAllowedHost(t *testing.T) {
	r := rig.New(t, rig.Options{})
	dest := rig.HTTP(t)
	r.Names.Bind("allowed.test", loopback)
	r.Flow.Why.ToolCallID = "call_7"
	body := strings.Repeat("x", 100_000)
	got, err := say(t, r.Redirect(t, dest), "POST /p HTTP/1.1\r\nHost: Allowed.Test.\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n"+body)
	if err != nil || !strings.Contains(got, "POST Allowed.Test. /p "+body) {
		t.Fatalf("%.200q, %v", got, err)
	}
	e := r.Events.Wait(t, 1)[0]
	attr(t, e, map[string]any{
		"server.address": "allowed.test", "server.port": int64(dest.Port()), "destination.address": "127.0.0.1", "paddock.network.name_from": "host",
		"paddock.network.protocol": "http", "paddock.decision": "allow", "paddock.decision.by": "policy", "paddock.rule": "allowed.test",
		"paddock.decision.source": "test.toml:7", "paddock.network.bytes_received": int64(len(got)), "paddock.tool_call.id": "call_7",
		"process.pid": int64(4242), "process.executable.path": "/usr/bin/curl", "paddock.agent": "codex", "http.request.method": "POST",
	})
	if sent := e.Attrs["paddock.network.bytes_sent"].(int64); sent < 100_000 || e.Session != rig.Session || e.Name != telemetry.NameNetworkConnection {
		t.Errorf("%d bytes sent; %+v", sent, e)
	}
}

func TestADeniedHostIsToldTheRule(t *testing.T) {
	r := rig.New(t, rig.Options{})
	at := r.Redirect(t, rig.HTTP(t))
	got, err := say(t, at, "GET / HTTP/1.1\r\nHost: a.denied.test\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"HTTP/1.1 403 Forbidden\r\n", "\r\nx-proxy-error: blocked-by-denylist\r\n", "\r\ncontent-type: application/json\r\n",
		`{"status":"blocked","host":"a.denied.test","reason":"denied","decision":"deny","source":"baseline_policy","protocol":"http","port":`,
		`"message":"Domain denied by the sandbox policy. Paddock: a.denied.test is denied (rule \"**.denied.test\" = \"deny\", test.toml:10)"}`,
	} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in\n%s", part, got)
		}
	}
	e := r.Events.Wait(t, 1)[0]
	attr(t, e, map[string]any{"paddock.decision": "deny", "paddock.rule": "**.denied.test", "paddock.decision.enforced": true, "paddock.network.bytes_sent": int64(0)})
	if e.Severity != telemetry.Warn {
		t.Error(e.Severity)
	}
	if asked := r.Names.Asked(); len(asked) > 0 {
		t.Errorf("a denied name was resolved: %v", asked)
	}
}

// Every row is a way to be read differently by us and by the server behind us.
func TestWhatIsNotClearIsRefused(t *testing.T) {
	var reached []string
	dest := rig.TCP(t, func(c *net.TCPConn) {
		b, _ := io.ReadAll(c)
		reached = append(reached, string(b))
	})
	for name, request := range map[string]string{
		"two hosts":                   "GET / HTTP/1.1\r\nHost: allowed.test\r\nHost: x.denied.test\r\n\r\n",
		"no host":                     "GET / HTTP/1.1\r\nX: y\r\n\r\n",
		"space before the colon":      "GET / HTTP/1.1\r\nHost : x.denied.test\r\nHost: allowed.test\r\n\r\n",
		"a folded line":               "GET / HTTP/1.1\r\nHost: allowed.test\r\n x.denied.test\r\n\r\n",
		"LF alone":                    "GET / HTTP/1.1\nHost: allowed.test\n\n",
		"LF in a value":               "GET / HTTP/1.1\r\nHost: allowed.test\r\nX: a\nHost: x.denied.test\r\n\r\n",
		"CR in a value":               "GET / HTTP/1.1\r\nHost: allowed.test\r\nX: a\rHost: x.denied.test\r\n\r\n",
		"NUL in the host":             "GET / HTTP/1.1\r\nHost: allowed.test\x00.denied.test\r\n\r\n",
		"@ in the host":               "GET / HTTP/1.1\r\nHost: allowed.test@x.denied.test\r\n\r\n",
		"a comma in the host":         "GET / HTTP/1.1\r\nHost: allowed.test,x.denied.test\r\n\r\n",
		"a URL as host":               "GET / HTTP/1.1\r\nHost: http://allowed.test\r\n\r\n",
		"URL and Host differ":         "GET http://allowed.test/ HTTP/1.1\r\nHost: x.denied.test\r\n\r\n",
		"user in the URL":             "GET http://allowed.test@x.denied.test/ HTTP/1.1\r\nHost: x.denied.test\r\n\r\n",
		"an https URL":                "GET https://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
		"length and chunks":           "POST / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":                 "POST / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
		"a list of lengths":           "POST / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 4, 4\r\n\r\nabcd",
		"a signed length":             "POST / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: +4\r\n\r\nabcd",
		"another encoding":            "POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"xchunked":                    "POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: xchunked\r\n\r\n",
		"chunks of HTTP/1.0":          "POST / HTTP/1.0\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"an underscore":               "POST / HTTP/1.1\r\nHost: allowed.test\r\nContent_Length: 4\r\n\r\nabcd",
		"Connection takes Host":       "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: keep-alive, host\r\n\r\n",
		"an empty line first":         "\r\nGET / HTTP/1.1\r\nHost: x.denied.test\r\n\r\n",
		"spaces first":                "  GET / HTTP/1.1\r\nHost: x.denied.test\r\n\r\n",
		"a tab in the request line":   "GET\t/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
		"two spaces":                  "GET  / HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
		"HTTP/1.2":                    "GET / HTTP/1.2\r\nHost: allowed.test\r\n\r\n",
		"HTTP/0.9":                    "GET /\r\n",
		"HTTP/0.9 to a proxy":         "GET http://x.denied.test/\r\n",
		"a tab, and a fourth word":    "\xff\thttp://x.denied.test/\tHTTP/1.1\tz\r\n\r\n",
		"lower case version":          "GET / http/1.1\r\nHost: x.denied.test\r\n\r\n",
		"SSLv2 hello":                 "\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10",
		"an alert before the hello":   "\x15\x03\x01\x00\x02\x01\x00\x16\x03\x01",
		"the PROXY protocol":          "PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n\x16\x03\x01",
		"the PROXY protocol, binary":  "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x01\xbb\x16\x03\x01",
		"a TLS record of TLS 9":       "\x16\x09\x01\x00\x05hello",
		"a hello that is none":        "\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
		"an empty handshake record":   "\x16\x03\x01\x00\x00\x16\x03\x01\x00\x05",
		"SOCKS4":                      "\x04\x01\x00\x50\x00\x00\x00\x01x\x00allowed.test\x00",
		"SOCKS5 without a login":      "\x05\x00\x05\x01\x00\x03\x0dx.denied.test\x00\x50",
		"the same, as for Cassandra":  "\x05\x00\x05\x01\x01\x03\x0dx.denied.test\x00\x50",
		"a method like git's":         "0000git-x / HTTP/1.1\r\nHost: x.denied.test\r\n\r\n",
		"a packet like git's":         "0012git-x /\x00\x00\x00\x00\x00\x00\x00 HTTP/1.1\r\nHost: x.denied.test\r\n\r\n",
		"a long method":               strings.Repeat("A", 300) + " / HTTP/1.1\r\nHost: x.denied.test\r\n\r\n",
		"a method that cannot be one": "G:T http://x.denied.test/ HTTP/1.1\r\nHost: x.denied.test\r\n\r\n",
		"a method of binary":          "\x01\xff http://x.denied.test/ HTTP/1.1\r\nHost: x.denied.test\r\n\r\n",
		"HTTP/2 without authority":    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01\x05\x00\x00\x00\x01\x82",
		"HTTP/2 with a strange frame": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x04\x00\x00\x00\x00\x00\x01abcd",
	} {
		t.Run(name, func(t *testing.T) {
			r := rig.New(t, rig.Options{})
			r.Names.Bind("allowed.test", loopback)
			c := dial(t, r.Redirect(t, dest))
			if _, err := io.WriteString(c, request); err != nil {
				t.Fatal(err)
			}
			_ = c.CloseWrite()
			got, _ := io.ReadAll(c)
			if strings.HasPrefix(string(got), "HTTP/1.1 2") {
				t.Errorf("it was answered: %q", got)
			}
			e := r.Events.Wait(t, 1)[0]
			attr(t, e, map[string]any{"paddock.decision": "deny", "paddock.network.bytes_sent": int64(0)})
		})
	}
	if len(reached) > 0 {
		t.Errorf("the server got %q", reached)
	}
}

// What begins like something else may go on as a request: a server that takes any words
// for one must not see its end.
func TestARequestInDisguise(t *testing.T) {
	for name, tt := range map[string]struct {
		first, second string
		passed        bool // the first part is known to be no whole request
	}{
		"a long method":               {strings.Repeat("A", 256), "AA / HTTP/1.1\r\nHost: x.denied.test\r\n\r\n", false},
		"a method like git's":         {"0014git-x", " http://x.denied.test/ HTTP/1.1\r\n\r\n", false},
		"a packet like git's":         {"000cgit-x /\x00", " HTTP/1.1\r\nHost: x.denied.test\r\n\r\n", false},
		"a whole packet like git's":   {"000cgit-x \x00\x00", "/ HTTP/1.1\r\nHost: x.denied.test\r\n\r\n", true},
		"a method that cannot be one": {"G:T", " http://x.denied.test/ HTTP/1.1\r\n\r\n", true},
		"a method of binary":          {"\x14\x00", " http://x.denied.test/ HTTP/1.1\r\n\r\n", false},
		"its version comes last":      {"G:T\thttp://x.denied.test/", " a\thttp/1.1\r\n\r\n", true},
		"a request like LDAP":         {"0\x0c\x02\x01 http://x.denied.test/", " HTTP/1.1\r\n\r\n", true},
		"SOCKS5 without a login":      {"\x05\x00", "\x05\x01\x00\x03\x0dx.denied.test\x00\x50", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := rig.New(t, rig.Options{})
			r.Names.Bind("allowed.test", loopback)
			first, all := make(chan struct{}), make(chan string, 1)
			c := dial(t, r.Redirect(t, rig.TCP(t, func(c *net.TCPConn) {
				b := make([]byte, len(tt.first))
				n, _ := io.ReadFull(c, b)
				close(first)
				rest, _ := io.ReadAll(c)
				all <- string(b[:n]) + string(rest)
			})))
			_, _ = io.WriteString(c, tt.first)
			if tt.passed {
				<-first
			}
			_, _ = io.WriteString(c, tt.second)
			_ = c.CloseWrite()
			_, _ = io.Copy(io.Discard, c)
			attr(t, r.Events.Wait(t, 1)[0], map[string]any{"paddock.decision": "deny"})
			select {
			case <-first:
				if got := <-all; strings.Contains(got, tt.second) {
					t.Errorf("the server got %q", got)
				}
			default: // nobody connected to it
				if tt.passed {
					t.Error("the server was not connected to")
				}
			}
		})
	}
}

// What is no request passes, however it begins and in whatever pieces.
func TestWhatIsNoRequestPasses(t *testing.T) {
	for name, parts := range map[string][2]string{
		"git":              {"0030git-upload-pack /srv/http/x.git\x00host=a.test\x00", "0000\n"},
		"Cassandra":        {"\x05\x00\x00\x00\x01\x00\x00\x00\x16", "\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0"},
		"DCE/RPC":          {"\x05\x00\x0b\x03\x10\x00\x00\x00\x48\x00\x00\x00", "\x01\x00\x00\x00"},
		"LDAP":             {"0\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00", "0\x05\x02\x01\x02\x42\x00"},
		"LDAP, StartTLS":   {"0\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037", ""},
		"JSON":             {`{"method": "GET"`, ", \"version\": \"HTTP/1.1\"}\n"},
		"a line of syslog": {"<13>Oct 11 nginx: \"GET /", " HTTP/1.1\" 200 5\n"},
		"gdb":              {"+$qSupported:multiprocess+", "#c6"},
		"binary":           {"\x00\x00\x00\x08\x04\xd2\x16\x2f", "\x00 HTTP/1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := rig.New(t, rig.Options{})
			r.Names.Bind("allowed.test", loopback)
			c := dial(t, r.Redirect(t, rig.TCP(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })))
			for _, part := range parts {
				_, _ = io.WriteString(c, part)
				b := make([]byte, len(part))
				if _, err := io.ReadFull(c, b); err != nil || string(b) != part {
					t.Errorf("%q, %v", b, err)
				}
			}
			_ = c.Close()
			attr(t, r.Events.Wait(t, 1)[0], map[string]any{"paddock.decision": "allow", "paddock.network.bytes_sent": int64(len(parts[0] + parts[1]))})
		})
	}
}

// What comes together with the end is heard before it: else the client would be taken for a silent one,
// and what it said be lost or judged by its address.
func TestWhoSaysAllAtOnceIsHeard(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Bind("allowed.test", loopback)
	var reached atomic.Int64
	at := r.Redirect(t, rig.TCP(t, func(*net.TCPConn) { reached.Add(1) }))
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for range 500 {
				c := dial(t, at)
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x.denied.test\r\n\r\n")
				_ = c.CloseWrite()
				if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 403") {
					t.Errorf("%.40q, %v", b, err)
				}
				_ = c.Close()
			}
		})
	}
	work.Wait()
	if n := reached.Load(); n > 0 {
		t.Errorf("the server was connected to %d times", n)
	}
}

// The second request on a connection is as good a way out as the first.
func TestEveryRequestIsJudged(t *testing.T) {
	for name, second := range map[string]string{
		"denied":    "GET /2 HTTP/1.1\r\nHost: x.denied.test\r\n\r\n",
		"elsewhere": "GET /2 HTTP/1.1\r\nHost: other.test\r\n\r\n", // allowed, but not at this address
		"malformed": "GET /2 HTTP/1.1\r\nHost: allowed.test\r\nHost: allowed.test\r\n\r\n",
		"connect":   "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\n",
	} {
		for _, pipelined := range []bool{true, false} {
			t.Run(fmt.Sprint(name, pipelined), func(t *testing.T) {
				r := rig.New(t, rig.Options{})
				r.Names.Bind("allowed.test", loopback)
				r.Names.Know("other.test", netip.MustParseAddr("127.0.0.9"))
				c := dial(t, r.Redirect(t, rig.HTTP(t)))
				first := "POST /1 HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n"
				if pipelined {
					first += second
				}
				fmt.Fprint(c, first)
				answers := bufio.NewReader(c)
				line, err := answers.ReadString('\n')
				if err != nil || line != "HTTP/1.1 200 OK\r\n" {
					t.Fatalf("%q, %v", line, err)
				}
				if !pipelined {
					fmt.Fprint(c, second)
				}
				rest, err := io.ReadAll(answers)
				if err != nil {
					t.Fatal(err)
				}
				_ = c.Close()
				if !strings.Contains(string(rest), "POST allowed.test /1 abc") || strings.Contains(string(rest), "/2 ") || !strings.Contains(string(rest), "HTTP/1.1 40") {
					t.Errorf("%q", rest)
				}
				attr(t, r.Events.Wait(t, 1)[0], map[string]any{"paddock.decision": "deny"})
			})
		}
	}
}

func TestChunksThatHideARequest(t *testing.T) {
	for name, body := range map[string]string{
		"longer than it says":   "3\r\nabcGET /2 HTTP/1.1\r\nHost: x.denied.test\r\n\r\n",
		"no number":             "zz\r\nabc\r\n0\r\n\r\n",
		"negative":              "-1\r\nabc\r\n0\r\n\r\n",
		"0x":                    "0x3\r\nabc\r\n0\r\n\r\n",
		"LF after the size":     "3\nabc\r\n0\r\n\r\n",
		"an enormous size":      "ffffffffffffffffffff\r\nabc",
		"Host in the trailer":   "0\r\nHost: x.denied.test\r\n\r\n",
		"length in the trailer": "0\r\nContent-Length: 5\r\n\r\n",
		"LF in an extension":    "3;a\nb\r\nabc\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := rig.New(t, rig.Options{})
			r.Names.Bind("allowed.test", loopback)
			c := dial(t, r.Redirect(t, rig.HTTP(t)))
			fmt.Fprint(c, "POST /1 HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\n\r\n"+body)
			got, _ := io.ReadAll(c)
			if strings.Contains(string(got), "200 OK") {
				t.Errorf("%q", got)
			}
			attr(t, r.Events.Wait(t, 1)[0], map[string]any{"paddock.decision": "deny", "paddock.decision.cause": "malformed"})
		})
	}
}

// A name that leads elsewhere is a disguise.
func TestNamesMustLeadToTheAddress(t *testing.T) {
	authority := rig.NewAuthority(t)
	for _, tt := range []struct {
		name    string
		prepare func(*rig.Names)
		allow   bool
	}{
		{"the session was given it", func(n *rig.Names) { n.Bind("allowed.test", loopback) }, true},
		{"it resolves to it", func(n *rig.Names) { n.Know("allowed.test", netip.MustParseAddr("192.0.2.1"), loopback) }, true},
		{"it resolves elsewhere", func(n *rig.Names) { n.Know("allowed.test", netip.MustParseAddr("192.0.2.1")) }, false},
		{"it does not resolve", func(*rig.Names) {}, false},
		{"another session was given it", func(n *rig.Names) { n.Know("allowed.test", netip.MustParseAddr("192.0.2.1")) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rig.New(t, rig.Options{})
			tt.prepare(r.Names)
			c := dial(t, r.Redirect(t, rig.HTTPS(t, authority)))
			over := tls.Client(c, &tls.Config{ServerName: "allowed.test", RootCAs: authority.Pool})
			err := over.Handshake()
			if tt.allow != (err == nil) {
				t.Error(err)
			}
			if err != nil && !strings.HasSuffix(err.Error(), "tls: access denied") {
				t.Errorf("%v, want the alert access denied", err)
			}
			_ = over.Close()
			_ = c.Close()
			want := map[string]any{"paddock.decision": "allow", "paddock.network.name_from": "sni", "paddock.network.protocol": "https"}
			if !tt.allow {
				want["paddock.decision"], want["paddock.decision.cause"] = "deny", "host_mismatch"
			}
			attr(t, r.Events.Wait(t, 1)[0], want)
		})
	}
}

// A hello may come in any pieces: of TCP, and of records.
func TestAHelloInPieces(t *testing.T) {
	authority := rig.NewAuthority(t)
	for _, name := range []string{"allowed.test", "x.denied.test"} {
		for _, record := range []int{0, 1, 7, 100} {
			t.Run(fmt.Sprint(name, record), func(t *testing.T) {
				r := rig.New(t, rig.Options{})
				r.Names.Bind("allowed.test", loopback)
				c := dial(t, r.Redirect(t, rig.HTTPS(t, authority)))
				over := tls.Client(&pieces{TCPConn: c, record: record}, &tls.Config{ServerName: name, RootCAs: authority.Pool})
				if err := over.Handshake(); (err == nil) != (name == "allowed.test") {
					t.Error(err)
				}
				_ = over.Close()
				attr(t, r.Events.Wait(t, 1)[0], map[string]any{"server.address": name})
			})
		}
	}
}

// pieces sends the first message in small segments, and in small records.
type pieces struct {
	*net.TCPConn
	record int
	sent   bool
}

func (p *pieces) Write(b []byte) (int, error) {
	if p.sent {
		return p.TCPConn.Write(b)
	}
	p.sent = true
	out := b
	if p.record > 0 {
		out = nil
		for message := b[5:]; len(message) > 0; {
			n := min(p.record, len(message))
			out = append(append(out, 0x16, 3, 1, byte(n>>8), byte(n)), message[:n]...)
			message = message[n:]
		}
	}
	for i := range out { // no delay: each byte is a segment
		if _, err := p.TCPConn.Write(out[i : i+1]); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func TestAClientThatLetsTheServerSpeakFirst(t *testing.T) {
	for _, tt := range []struct {
		bound []string
		allow bool
		host  string
		from  string
	}{
		{[]string{"allowed.test"}, true, "allowed.test", "dns"},
		{[]string{"x.denied.test", "allowed.test"}, false, "x.denied.test", "dns"},
		{[]string{"allowed.test", "x.denied.test"}, false, "x.denied.test", "dns"},
		{nil, false, "127.0.0.1", "none"},
	} {
		r := rig.New(t, rig.Options{Limits: egress.Limits{Silence: 50 * time.Millisecond}})
		r.Asker.Answer(egress.Answer{By: "nobody"})
		for _, name := range tt.bound {
			r.Names.Bind(name, loopback)
		}
		c := dial(t, r.Redirect(t, rig.Greeter(t)))
		line, err := bufio.NewReader(c).ReadString('\n')
		if allowed := line == "220 hello\r\n"; allowed != tt.allow {
			t.Errorf("%v: %q, %v", tt.bound, line, err)
		}
		if !tt.allow && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v: %v, want a reset", tt.bound, err)
		}
		if tt.allow {
			fmt.Fprint(c, "EHLO x\r\n")
			_ = c.CloseWrite()
			if b, _ := io.ReadAll(c); string(b) != "250 EHLO x\r\n" {
				t.Errorf("%q", b)
			}
		}
		attr(t, r.Events.Wait(t, 1)[0], map[string]any{"server.address": tt.host, "paddock.network.name_from": tt.from})
	}
}

// Who is silent first is not unobserved later.
func TestWhatASilentClientSaysLateIsJudged(t *testing.T) {
	authority := rig.NewAuthority(t)
	r := rig.New(t, rig.Options{Limits: egress.Limits{Silence: 20 * time.Millisecond}})
	r.Names.Bind("allowed.test", loopback)
	for i, tt := range []struct {
		name  string
		allow bool
	}{{"allowed.test", true}, {"x.denied.test", false}, {"other.test", false}} {
		passed := make(chan struct{}, 1)
		https, plain := r.Redirect(t, seen(t, rig.HTTPS(t, authority), passed)), r.Redirect(t, seen(t, rig.HTTP(t), passed))
		c := dial(t, https)
		<-passed
		over := tls.Client(c, &tls.Config{ServerName: tt.name, RootCAs: authority.Pool})
		if err := over.Handshake(); (err == nil) != tt.allow {
			t.Errorf("%s: %v", tt.name, err)
		}
		_ = over.Close()
		r.Events.Wait(t, 2*i+1)
		c = dial(t, plain)
		<-passed
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", tt.name)
		got, _ := io.ReadAll(c)
		_ = c.Close()
		if strings.Contains(string(got), "200 OK") != tt.allow {
			t.Errorf("%s: %q", tt.name, got)
		}
		r.Events.Wait(t, 2*i+2)
	}
}

// seen leads to a server, and says of each connection that the engine has judged and
// passed it on: the client was silent for as long as it may be by then.
func seen(t *testing.T, server netip.AddrPort, passed chan<- struct{}) netip.AddrPort {
	return rig.TCP(t, func(c *net.TCPConn) {
		to, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(server))
		if err != nil {
			t.Error(err)
			return
		}
		defer to.Close()
		passed <- struct{}{}
		go func() {
			_, _ = io.Copy(to, c)
			_ = to.CloseWrite()
		}()
		_, _ = io.Copy(c, to)
	})
}
