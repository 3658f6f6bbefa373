// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// A server may answer an upload before it has all of it, or any: nothing has failed
// when the client leaves it at that.
func TestAnAnswerBeforeTheBody(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Bind("allowed.test", loopback)
	r.Names.Know("allowed.test", loopback)
	const answer = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n\r\nwho"
	dest := rig.TCP(t, func(c *net.TCPConn) {
		b := bufio.NewReader(c)
		req, err := http.ReadRequest(b)
		if err != nil {
			return
		}
		if req.URL.Path == "/silent" {
			_, _ = io.Copy(io.Discard, b)
			return
		}
		fmt.Fprint(c, answer)
		_, _ = io.Copy(io.Discard, b)
	})
	redirected, proxy := r.Redirect(t, dest), r.Proxy(t, egress.Credentials{})
	n := 0
	for _, test := range []struct{ name, head, some, path, failed string }{
		{"nothing sent", "Content-Length: 1000\r\nExpect: 100-continue\r\n", "", "/", ""},
		{"some sent", "Content-Length: 1000\r\n", "some", "/", ""},
		{"no chunk sent", "Transfer-Encoding: chunked\r\n", "", "/", ""},
		{"some chunks sent", "Transfer-Encoding: chunked\r\n", "4\r\nsome\r\n", "/", ""},
		{"part of a chunk sent", "Transfer-Encoding: chunked\r\n", "9\r\nsome", "/", ""},
		{"no answer", "Content-Length: 1000\r\n", "some", "/silent", "unexpected EOF"},
		{"no answer to chunks", "Transfer-Encoding: chunked\r\n", "4\r\nsome\r\n", "/silent", "unexpected EOF"},
	} {
		for _, way := range []string{"redirected", "through CONNECT"} {
			t.Run(test.name+" "+way, func(t *testing.T) {
				var c net.Conn
				if way == "redirected" {
					c = dial(t, redirected)
				} else {
					c = dial(t, proxy)
					fmt.Fprintf(c, "CONNECT allowed.test:%d HTTP/1.1\r\nHost: allowed.test\r\n\r\n", dest.Port())
					opened := make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))
					if _, err := io.ReadFull(c, opened); err != nil {
						t.Fatal(err)
					}
				}
				fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: allowed.test:%d\r\n%s\r\n%s", test.path, dest.Port(), test.head, test.some)
				if test.failed == "" {
					got := make([]byte, len(answer))
					if _, err := io.ReadFull(c, got); err != nil || string(got) != answer {
						t.Errorf("%q, %v", got, err)
					}
				}
				_ = c.Close()
				n++
				if e := r.Events.Ends(t, n)[n-1]; fmt.Sprint(e.Attrs["error.message"]) != test.failed && (e.Attrs["error.message"] != nil || test.failed != "") {
					t.Errorf("error %v, want %q", e.Attrs["error.message"], test.failed)
				}
			})
		}
	}
}

// A server that answers and closes its end resets the connection while more comes for it:
// what it said before is not lost.
func TestAnAnswerBeforeAReset(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Bind("allowed.test", loopback)
	at := r.Redirect(t, rig.TCP(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 100))
		fmt.Fprint(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}))
	block := make([]byte, 1<<16)
	for i := range 40 {
		c := dial(t, at)
		head := "PUT / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 100000000\r\n\r\n"
		if i%2 == 1 {
			head = strings.Replace(head, "Content-Length: 100000000", "Transfer-Encoding: chunked", 1)
		}
		fmt.Fprint(c, head)
		for err := error(nil); err == nil; { // as long as anybody takes it
			if i%2 == 1 {
				_, err = fmt.Fprintf(c, "%x\r\n%s\r\n", len(block), block)
			} else {
				_, err = c.Write(block)
			}
		}
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || answer.StatusCode != http.StatusRequestEntityTooLarge {
			t.Fatalf("%d: %v, %v", i, answer, err)
		}
		_ = answer.Body.Close()
	}
}
