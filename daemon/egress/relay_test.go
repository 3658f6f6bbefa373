// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// raw is what a client of a protocol nobody knows says first.
const raw = "\x00\x01binary"

func TestEachDirectionEndsByItself(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Bind("allowed.test", loopback)
	// The server ends first, and the client goes on; then the other way round.
	got := make(chan string, 1)
	at := r.Redirect(t, rig.TCP(t, func(c *net.TCPConn) {
		fmt.Fprint(c, "bye")
		_ = c.CloseWrite()
		b, _ := io.ReadAll(c)
		got <- string(b)
	}))
	c := dial(t, at)
	fmt.Fprint(c, raw)
	if b, err := io.ReadAll(c); string(b) != "bye" || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	fmt.Fprint(c, " and more")
	_ = c.CloseWrite()
	if s := <-got; s != raw+" and more" {
		t.Errorf("%q", s)
	}
	at = r.Redirect(t, rig.TCP(t, func(c *net.TCPConn) {
		b, _ := io.ReadAll(c)
		fmt.Fprintf(c, "all: %s", b)
	}))
	c = dial(t, at)
	fmt.Fprint(c, raw)
	_ = c.CloseWrite()
	if b, err := io.ReadAll(c); string(b) != "all: "+raw || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestAResetIsAReset(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Bind("allowed.test", loopback)
	at := r.Redirect(t, rig.TCP(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, len(raw)))
		_ = c.SetLinger(0)
	}))
	if _, err := say(t, at, raw); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
	r.Events.Wait(t, 1)
	// And where nobody listens.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := netip.MustParseAddrPort(l.Addr().String())
	_ = l.Close()
	if _, err := say(t, r.Redirect(t, closed), raw); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
	e := r.Events.Wait(t, 2)[1]
	if text, _ := e.Attrs["error.message"].(string); !strings.Contains(text, "connection refused") || e.Attrs["paddock.decision"] != "allow" {
		t.Errorf("%+v", e.Attrs)
	}
}

// A server that does not read must stop the client, and nothing may be lost then.
func TestBackPressure(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Bind("allowed.test", loopback)
	start, sum := make(chan struct{}), make(chan [32]byte, 1)
	at := r.Redirect(t, rig.TCP(t, func(c *net.TCPConn) {
		<-start
		h := sha256.New()
		_, _ = io.Copy(h, c)
		sum <- [32]byte(h.Sum(nil))
	}))
	c := dial(t, at)
	block := bytes.Repeat([]byte("\x00abcdefghijklmnopqrstuvwxyz-----"), 1<<15)
	sent, h := 0, sha256.New()
	send := func(b []byte) error {
		n, err := c.Write(b)
		sent += n
		h.Write(b[:n])
		return err
	}
	// The kernel keeps some tens of MiB on the way.
	var err error
	for sent < 1<<30 && err == nil {
		_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		err = send(block)
	}
	if !isTimeout(err) {
		t.Fatalf("%d bytes went to a server that does not read (%v)", sent, err)
	}
	close(start)
	_ = c.SetDeadline(time.Time{}) // a machine with much to do takes its time
	if err := send(block[sent%len(block):]); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	if got := <-sum; got != [32]byte(h.Sum(nil)) {
		t.Error("the bytes changed on the way")
	}
	_ = c.Close()
	attr(t, r.Events.Wait(t, 1)[0], map[string]any{"paddock.network.bytes_sent": int64(sent)})
}

func TestShutdownEndsConnectionsAndRecordsThem(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Bind("allowed.test", loopback)
	ready := make(chan struct{})
	at := r.Redirect(t, rig.TCP(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, len(raw)))
		close(ready)
		_, _ = io.Copy(io.Discard, c)
	}))
	c := dial(t, at)
	fmt.Fprint(c, raw)
	<-ready
	if err := r.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err == nil {
		t.Error("the connection did not break")
	}
	attr(t, r.Events.Wait(t, 1)[0], map[string]any{"paddock.network.bytes_sent": int64(len(raw))})
	if _, err := net.DialTimeout("tcp", at, time.Second); err == nil {
		t.Error("it still listens")
	}
}

func TestUpgrade(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Bind("allowed.test", loopback)
	at := r.Redirect(t, rig.TCP(t, func(c *net.TCPConn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		switch up := req.Header.Get("Upgrade"); up {
		case "websocket":
			fmt.Fprint(c, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nframe")
		default:
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(up)+1, up+".")
			return
		}
		_, _ = io.Copy(c, c)
	}))
	c := dial(t, at)
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n")
	// After 101 nothing is HTTP, whatever it looks like.
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x.denied.test\r\n\r\n")
	_ = c.CloseWrite()
	b, err := io.ReadAll(c)
	if err != nil || !strings.HasSuffix(string(b), "frameGET / HTTP/1.1\r\nHost: x.denied.test\r\n\r\n") || !strings.HasPrefix(string(b), "HTTP/1.1 103") {
		t.Errorf("%q, %v", b, err)
	}
	// HTTP/2 that begins like this would be judged by nobody: the server is not asked.
	for _, offer := range []string{"h2c", "other, H2C", "h2c,", "other\r\nUpgrade: h2c", "HTTP/2.0"} {
		got, err := say(t, at, "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: "+offer+"\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n")
		if err != nil || !strings.HasSuffix(got, "\r\n\r\n.") {
			t.Errorf("%q: %q, %v", offer, got, err)
		}
	}
	// A server that refuses goes on with HTTP, and so does the judging.
	c = dial(t, r.Redirect(t, rig.HTTP(t)))
	fmt.Fprint(c, "GET /1 HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\nHost: x.denied.test\r\n\r\n")
	b, err = io.ReadAll(c)
	if err != nil || !strings.Contains(string(b), "GET allowed.test /1") || !strings.Contains(string(b), "blocked-by-denylist") {
		t.Errorf("%q, %v", b, err)
	}
}

// priorKnowledge is a client of HTTP/2 that does not ask.
func priorKnowledge(t *testing.T, addr string) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: deadline}
}

func TestHTTP2(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Bind("allowed.test", loopback)
	r.Names.Bind("a.wild.test", loopback)
	at := r.Redirect(t, rig.HTTP(t))
	client := priorKnowledge(t, at)
	big := strings.Repeat("x", 1<<20)
	for _, host := range []string{"allowed.test", "allowed.test"} {
		answer, err := client.Post("http://"+host+"/p", "text/plain", strings.NewReader(big))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.Proto != "HTTP/2.0" || string(b) != "POST allowed.test /p "+big {
			t.Fatalf("%s %.100q %v", answer.Proto, b, err)
		}
	}
	client.CloseIdleConnections()
	attr(t, r.Events.Wait(t, 1)[0], map[string]any{"server.address": "allowed.test", "paddock.network.name_from": "authority", "paddock.decision": "allow"})
	answer, err := priorKnowledge(t, at).Get("http://x.denied.test/")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden || answer.Header.Get("X-Proxy-Error") != "blocked-by-denylist" || !strings.Contains(string(b), "**.denied.test") {
		t.Errorf("%d %v %q", answer.StatusCode, answer.Header, b)
	}
}

// One connection of HTTP/2 may ask for several hosts.
func TestHTTP2WithSeveralAuthorities(t *testing.T) {
	for _, tt := range []struct {
		second []hpack.HeaderField
		split  bool
		allow  bool
	}{
		{[]hpack.HeaderField{{Name: ":authority", Value: "a.wild.test"}}, false, true},
		{[]hpack.HeaderField{{Name: ":authority", Value: "a.wild.test"}}, true, true},
		{[]hpack.HeaderField{{Name: ":authority", Value: "x.denied.test"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "x.denied.test"}}, true, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "host", Value: "x.denied.test"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: ":authority", Value: "x.denied.test"}}, false, false},
		{[]hpack.HeaderField{{Name: "host", Value: "x.denied.test"}}, false, false},
		{[]hpack.HeaderField{{Name: "a", Value: "b"}, {Name: ":authority", Value: "allowed.test"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: ":x", Value: "y"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "a", Value: "b c"}, {Name: "te", Value: "trailers"}}, false, true},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "Host", Value: "x.denied.test"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "a", Value: "b\r\nHost: x.denied.test\r\n\r\nPOST /"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "a b", Value: "c"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "a:", Value: "c"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "", Value: "c"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "transfer-encoding", Value: "chunked"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "transfer_encoding", Value: "chunked"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "connection", Value: "host"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "upgrade", Value: "h2c"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "te", Value: "chunked"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: ":protocol", Value: "a b"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: ":protocol", Value: "a"}, {Name: ":protocol", Value: "b"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "X-HTTP-Method-Override", Value: "POST"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "content-length", Value: "+0"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "content_length", Value: "0"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "a", Value: "b\x00"}}, false, false},
		{[]hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}, {Name: "content-length", Value: "0"}, {Name: "content-length", Value: "0"}}, false, false},
	} {
		r := rig.New(t, rig.Options{})
		r.Names.Bind("allowed.test", loopback)
		r.Names.Bind("a.wild.test", loopback)
		c := dial(t, r.Redirect(t, rig.HTTP(t)))
		fmt.Fprint(c, http2.ClientPreface)
		fr := http2.NewFramer(c, c)
		fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		ask := func(stream uint32, more []hpack.HeaderField, split bool) {
			block.Reset()
			for _, f := range append([]hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/"}}, more...) {
				_ = enc.WriteField(f)
			}
			b := block.Bytes()
			at := len(b)
			if split {
				at = 3
			}
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b[:at], EndHeaders: !split, EndStream: true, PadLength: 7, Priority: http2.PriorityParam{Weight: 3}})
			if split {
				_ = fr.WriteContinuation(stream, true, b[at:])
			}
		}
		_ = fr.WriteSettings()
		ask(1, []hpack.HeaderField{{Name: ":authority", Value: "allowed.test"}}, false)
		answered := map[uint32]bool{}
		asked := false
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				break
			}
			if m, ok := f.(*http2.MetaHeadersFrame); ok {
				answered[m.StreamID] = m.PseudoValue("status") == "200"
			}
			if answered[1] && !asked {
				asked = true
				ask(3, tt.second, tt.split)
			}
			if answered[3] {
				break
			}
		}
		if !answered[1] || answered[3] != tt.allow {
			t.Errorf("%v: answered %v, want stream 3 %t", tt.second, answered, tt.allow)
		}
		_ = c.Close()
		want := "allow"
		if !tt.allow {
			want = "deny"
		}
		attr(t, r.Events.Wait(t, 1)[0], map[string]any{"paddock.decision": want})
	}
}

// Another proxy, which is somewhere in the network.
func TestAnotherProxyIsJudgedTwice(t *testing.T) {
	authority := rig.NewAuthority(t)
	inner := rig.HTTPS(t, authority)
	logins := 0
	proxy := rig.ConnectProxy(t, inner, func(req *http.Request, c net.Conn) bool {
		if req.Header.Get("Proxy-Authorization") != "" {
			return true
		}
		logins++
		fmt.Fprint(c, "HTTP/1.1 407 Who are you\r\nContent-Length: 3\r\n\r\nwho")
		return false
	})
	for _, tt := range []struct{ bound, target, sni, want string }{
		{"allowed.test", "other.test:443", "other.test", "ok"},
		{"allowed.test", "other.test:443", "allowed.test", "tls: access denied"}, // another name inside of the tunnel
		{"allowed.test", "x.denied.test:443", "", "403"},
		{"allowed.test", "169.254.169.254:80", "", "403"},
		{"allowed.test", "0xA9FEA9FE:80", "", "403"},
		{"x.denied.test", "other.test:443", "", "403"},
	} {
		r := rig.New(t, rig.Options{})
		r.Names.Bind(tt.bound, loopback)
		c := dial(t, r.Redirect(t, proxy))
		answers := bufio.NewReader(c)
		got := ""
		for _, login := range []string{"", "Proxy-Authorization: Basic eDp5\r\n"} {
			fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", tt.target, tt.target, login)
			answer, err := http.ReadResponse(answers, &http.Request{Method: http.MethodConnect}) //nolint:bodyclose // the body of a tunnel is the connection
			if err != nil {
				got = err.Error()
				break
			}
			if answer.StatusCode == http.StatusProxyAuthRequired {
				_, _ = answers.Discard(3)
				continue
			}
			if answer.StatusCode != http.StatusOK {
				got = fmt.Sprint(answer.StatusCode)
				break
			}
			over := tls.Client(c, &tls.Config{ServerName: tt.sni, RootCAs: authority.Pool})
			got = "ok"
			if err := over.Handshake(); err != nil {
				got = err.Error()
			}
			_ = over.Close()
		}
		if !strings.HasSuffix(got, tt.want) {
			t.Errorf("%+v: %s", tt, got)
		}
		_ = c.Close()
		r.Events.Wait(t, 1)
	}
	if logins == 0 {
		t.Error("nobody had to log in")
	}
}

// A destination that does not answer is given up, whoever else waits for nothing.
func TestADestinationThatDoesNotAnswer(t *testing.T) {
	r := rig.New(t, rig.Options{Limits: egress.Limits{Dial: 30 * time.Millisecond}})
	r.Names.Bind("allowed.test", loopback)
	if _, err := say(t, r.Redirect(t, deaf(t)), raw); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
	attr(t, r.Events.Wait(t, 1)[0], map[string]any{"paddock.decision": "allow", "paddock.network.bytes_sent": int64(0)})
}

// deaf is where a connection neither succeeds nor fails: the queue of those that nobody accepts is full.
func deaf(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(fd)
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port))
	for { // until one waits
		c, err := net.DialTimeout("tcp", at.String(), 30*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { _ = c.Close() })
	}
}
