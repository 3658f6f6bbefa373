// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// A server that does not know the client's key shares asks for a second hello, in the
// open: it must be for the same name.
func TestASecondHello(t *testing.T) {
	for _, late := range []bool{false, true} {
		testSecondHello(t, late)
	}
}

func testSecondHello(t *testing.T, late bool) {
	t.Helper()
	authority := rig.NewAuthority(t)
	dest := rig.TCP(t, func(c *net.TCPConn) {
		over := tls.Server(c, &tls.Config{
			Certificates: []tls.Certificate{authority.Certificate(t, "allowed.test")}, CurvePreferences: []tls.CurveID{tls.CurveP384}, MinVersion: tls.VersionTLS13,
		})
		fmt.Fprint(over, "hello")
		_ = over.Close()
	})
	r := rig.New(t, rig.Options{Limits: egress.Limits{Silence: 20 * time.Millisecond}})
	r.Names.Bind("allowed.test", loopback)
	passed := make(chan struct{}, 2)
	at := r.Redirect(t, seen(t, dest, passed))
	open := func() *net.TCPConn {
		c := dial(t, at)
		if late { // passed on because it was silent
			<-passed
		}
		return c
	}
	config := &tls.Config{ServerName: "allowed.test", RootCAs: authority.Pool, CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP384}}
	over := tls.Client(open(), config)
	b, err := io.ReadAll(over)
	if string(b) != "hello" || err != nil || !over.ConnectionState().DidResume && !over.ConnectionState().HelloRetryRequest {
		t.Errorf("%q, %v, %+v", b, err, over.ConnectionState().HelloRetryRequest)
	}
	_ = over.Close()
	attr(t, r.Events.Wait(t, 1)[0], map[string]any{"paddock.decision": "allow"})
	// The same, but the second hello names another one.
	c := &renamed{TCPConn: open()}
	if err := tls.Client(c, config).Handshake(); err == nil {
		t.Error("a second hello for another server was let through")
	}
	_ = c.Close()
	if c.hellos != 2 {
		t.Fatalf("%d hellos were sent", c.hellos)
	}
	attr(t, r.Events.Wait(t, 2)[1], map[string]any{"paddock.decision": "deny", "paddock.decision.cause": "host_mismatch"})
}

// renamed is a client whose second hello is for another server.
type renamed struct {
	*net.TCPConn
	hellos int
}

func (r *renamed) Write(b []byte) (int, error) {
	if at := strings.Index(string(b), "allowed.test"); at >= 0 {
		if r.hellos++; r.hellos == 2 {
			copy(b[at:], "x.denied.tes")
		}
	}
	return r.TCPConn.Write(b)
}
