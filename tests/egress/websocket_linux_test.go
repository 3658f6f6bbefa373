// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// websocketClient is a client of the library that Python's tools use. It talks while it listens:
// what it sent comes back, what the server says by itself comes between, and
// the end is agreed on.
const websocketClient = `
import asyncio, socket, ssl, sys, websockets
url, ca, proxy, port = sys.argv[1:5]
async def main():
    more = {}
    if url.startswith("wss"):
        more["ssl"] = ssl.create_default_context(cafile=ca)
        more["server_hostname"] = "localhost"
    if proxy:
        s = socket.create_connection(("127.0.0.1", int(proxy)))
        s.sendall(b"CONNECT localhost:%s HTTP/1.1\r\nHost: localhost:%s\r\n\r\n" % (port.encode(), port.encode()))
        said = b""
        while b"\r\n\r\n" not in said:
            got = s.recv(1)
            if not got: break
            said += got
        if b" 200 " not in said:
            print(said.split(b"\r\n")[0].decode())
            return
        s.setblocking(False)
        more["sock"] = s
    async with websockets.connect(url, max_size=None, **more) as ws:
        print(await ws.recv())
        async def talk():
            for i in range(300):
                await ws.send(b"%d" % i * (i * 40))
        async def listen():
            own = 0
            for i in range(300):
                got = await ws.recv()
                while got == "by itself":
                    own += 1
                    got = await ws.recv()
                assert got == b"%d" % i * (i * 40), i
            return own
        _, own = await asyncio.gather(talk(), listen())
        print("all came back", "and more" if own else "")
    print("closed", ws.close_code)
try:
    asyncio.run(main())
except websockets.exceptions.InvalidStatusCode as e:
    print(e.status_code, e.headers["x-proxy-error"])
except Exception as e:
    print(repr(e))
`

// chatter sends back what it gets, and says something by itself now and then.
func chatter(ws *websocket.Conn) {
	defer func() { _ = ws.WriteClose(1000) }()
	if websocket.Message.Send(ws, "hello") != nil {
		return
	}
	for i := 0; ; i++ {
		var got []byte
		if websocket.Message.Receive(ws, &got) != nil {
			return
		}
		if i%50 == 0 && websocket.Message.Send(ws, "by itself") != nil || websocket.Message.Send(ws, got) != nil {
			return
		}
	}
}

func TestWebSockets(t *testing.T) {
	authority := rig.NewAuthority(t)
	handler := websocket.Server{Handler: chatter} // which minds no origin
	plain := rig.Serve(t, handler, nil)
	secure := rig.Serve(t, handler, &tls.Config{Certificates: []tls.Certificate{authority.Certificate(t, "localhost")}})
	for _, requirements := range []string{allowing, denying} {
		r := rig.New(t, rig.Options{Requirements: requirements, Nobody: true})
		port := func(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }
		proxy := port(r.Proxy(t, egress.Credentials{}))
		redirected := func(to netip.AddrPort) string { return port(r.Redirect(t, to)) }
		for _, test := range []struct{ name, url, proxy, port, denied string }{
			{"redirected", "ws://localhost:" + redirected(plain), "", "", "403 blocked-by-denylist"},
			{"redirected, TLS", "wss://localhost:" + redirected(secure), "", "", "ACCESS_DENIED"},
			{"CONNECT", fmt.Sprintf("ws://localhost:%d", plain.Port()), proxy, fmt.Sprint(plain.Port()), "HTTP/1.1 403 Forbidden"},
			{"CONNECT, TLS", fmt.Sprintf("wss://localhost:%d", secure.Port()), proxy, fmt.Sprint(secure.Port()), "HTTP/1.1 403 Forbidden"},
		} {
			t.Run(test.name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, "/usr/bin/python3", "-c", websocketClient, test.url, authority.File, test.proxy, test.port)
				cmd.Env = cleanEnv()
				out, err := cmd.CombinedOutput()
				want := "hello\nall came back and more\nclosed 1000\n"
				if requirements == denying {
					want = test.denied
				}
				if !strings.Contains(string(out), want) {
					t.Errorf("%v: %s\nwant %s", err, out, want)
				}
			})
		}
	}
}

// After an upgrade each side ends by itself, as without us.
func TestAnUpgradedConnectionEndsByHalves(t *testing.T) {
	r := rig.New(t, rig.Options{Requirements: allowing, Nobody: true})
	dest := rig.TCP(t, func(c *net.TCPConn) {
		b := bufio.NewReader(c)
		if _, err := http.ReadRequest(b); err != nil {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		all, _ := io.ReadAll(b)
		fmt.Fprintf(c, "after your end: %s", all)
	})
	for _, way := range []string{"redirected", "CONNECT"} {
		at := r.Redirect(t, dest)
		if way == "CONNECT" {
			at = r.Proxy(t, egress.Credentials{})
		}
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		b := bufio.NewReader(c)
		if way == "CONNECT" {
			fmt.Fprintf(c, "CONNECT localhost:%d HTTP/1.1\r\nHost: localhost\r\n\r\n", dest.Port())
			if line := headOf(b); !strings.Contains(line, " 200 ") {
				t.Fatalf("%s: %q", way, line)
			}
		}
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		if line := headOf(b); !strings.Contains(line, " 101 ") {
			t.Fatalf("%s: %q", way, line)
		}
		block := bytes.Repeat([]byte("what is sent "), 20_000)
		if _, err := c.Write(block); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(b); err != nil || string(got) != "after your end: "+string(block) {
			t.Errorf("%s: %d bytes, %v", way, len(got), err)
		}
	}
}

// headOf reads the head of an answer and returns its first line.
func headOf(b *bufio.Reader) string {
	first, err := b.ReadString('\n')
	for line := first; err == nil && line != "\r\n"; {
		line, err = b.ReadString('\n')
	}
	return first
}
