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
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// long is more than what every connection is looked at with.
var long = "X-Long: " + strings.Repeat("x", 5<<10)

// One session may have as many requests with long heads under way as it likes: it is the only one
// that waits for them.
func TestLongHeadsOfOneSessionKeepNobodyElse(t *testing.T) {
	r := rig.New(t, rig.Options{Limits: egress.Limits{Sniff: deadline}})
	r.Names.Bind("allowed.test", loopback)
	dest := rig.HTTP(t)
	own := r.Redirect(t, dest)
	r.Flow.Session = "01OTHER"
	other := r.Redirect(t, dest)
	for range 200 {
		fmt.Fprintf(dial(t, other), "GET / HTTP/1.1\r\nHost: allowed.test\r\n%s", long)
	}
	for deadline := time.Now().Add(deadline); r.Counters().Open < 200; {
		if time.Now().After(deadline) {
			t.Fatal("not all connections were taken")
		}
		if _, err := say(t, own, "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	answered := make(chan string, 1)
	go func() {
		got, _ := say(t, own, "GET /cookie HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n"+long+"\r\n\r\n")
		answered <- got
	}()
	select {
	case got := <-answered:
		if !strings.Contains(got, "GET allowed.test /cookie") {
			t.Errorf("%q", got)
		}
	case <-time.After(deadline / 4):
		t.Error("a request of another session waits for those of the first")
	}
}

// A server that begins an answer and never ends its head holds nothing for ever.
func TestAnAnswerThatDoesNotEnd(t *testing.T) {
	r := rig.New(t, rig.Options{Limits: egress.Limits{Sniff: 50 * time.Millisecond}})
	r.Names.Bind("allowed.test", loopback)
	at := r.Redirect(t, rig.TCP(t, func(c *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\n%s", long)
			_, _ = io.Copy(io.Discard, c)
		}
	}))
	c := dial(t, at)
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if _, err := io.ReadAll(c); isTimeout(err) {
		t.Error("the connection is still there")
	}
	r.Events.Wait(t, 1)
}
