// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// However the bytes are put together, a server behind us sees no request for a host
// that is not allowed.
func TestNothingIsSmuggled(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	dest := rig.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		seen[r.Host]++
	}), nil)
	r := rig.New(t, rig.Options{Nobody: true, Limits: egress.Limits{Sniff: 200 * time.Millisecond, Silence: 100 * time.Millisecond}})
	r.Names.Bind("allowed.test", loopback)
	at := r.Redirect(t, dest)
	good := "GET /good HTTP/1.1\r\nHost: allowed.test\r\n\r\n"
	evil := "GET /evil HTTP/1.1\r\nHost: x.denied.test\r\n\r\n"
	parts := []string{
		good, evil, "POST / HTTP/1.1\r\nHost: allowed.test\r\n", "Content-Length: 5\r\n", "Content-Length: 49\r\n", "content-length:0\r\n", "Content-Length : 3\r\n",
		"Transfer-Encoding: chunked\r\n", "Transfer-Encoding: identity\r\n", "Transfer-Encoding:\tchunked\r\n", "transfer-encoding: chunked, chunked\r\n", "Transfer_Encoding: chunked\r\n",
		"Host: x.denied.test\r\n", "Host:allowed.test\r\n", " folded\r\n", "\r\n", "\n", "\r", "0\r\n\r\n", "5\r\nhello\r\n", "5;x=\"\r\n\"\r\nhello\r\n", "0\r\nA: b\r\n\r\n", "hello",
		"Expect: 100-continue\r\n", "Connection: close\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\n", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
		"GET http://x.denied.test/ HTTP/1.1\r\n", "GET http://allowed.test/ HTTP/1.1\r\n", "CONNECT x.denied.test:80 HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.0\r\n", "X: y\r\n", "\x00", "\t",
	}
	rapid.Check(t, func(t *rapid.T) {
		stream := strings.Join(rapid.SliceOfN(rapid.SampledFrom(parts), 1, 8).Draw(t, "parts"), "")
		if rapid.Bool().Draw(t, "after a good one") {
			stream = good + stream
		}
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(deadline))
		_, _ = io.WriteString(c, stream)
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		mu.Lock()
		defer mu.Unlock()
		for host := range seen {
			if host != "allowed.test" && host != "" { // HTTP/1.0 may name none
				t.Fatalf("the server saw a request for %q in %q", host, stream)
			}
		}
	})
	mu.Lock()
	defer mu.Unlock()
	if seen["allowed.test"] == 0 {
		t.Error("nothing came through")
	}
}
