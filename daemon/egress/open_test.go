// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// A connection that lasts is told of while it does, once, and its end can be joined to that.
func TestWhatIsOpenIsTold(t *testing.T) {
	r := rig.New(t, rig.Options{Limits: egress.Limits{Open: 20 * time.Millisecond}})
	r.Names.Bind("allowed.test", loopback)
	at := r.Redirect(t, rig.TCP(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) }))
	c := dial(t, at)
	fmt.Fprint(c, raw)
	open := r.Events.Wait(t, 1)[0]
	id, _ := open.Attrs[telemetry.AttrConnectionID].(string)
	if open.Name != telemetry.NameNetworkOpen || open.Session != rig.Session || id == "" {
		t.Fatalf("%+v", open)
	}
	attr(t, open, map[string]any{
		"server.address": "allowed.test", "paddock.decision": "allow", "process.pid": int64(4242),
	})
	// Another one is told when it is open: meanwhile the first was looked at again.
	second := dial(t, at)
	fmt.Fprint(second, raw)
	other := r.Events.Wait(t, 2)[1]
	if otherID, _ := other.Attrs[telemetry.AttrConnectionID].(string); other.Name != telemetry.NameNetworkOpen || otherID == id || otherID == "" {
		t.Errorf("%+v", other)
	}
	_ = c.Close()
	end := r.Events.Wait(t, 3)[2]
	attr(t, end, map[string]any{telemetry.AttrConnectionID: id, "paddock.network.bytes_sent": int64(len(raw))})
	if end.Name != telemetry.NameNetworkConnection {
		t.Errorf("%+v", end)
	}
}

// One that ends soon has one event, which nothing needs to be joined to.
func TestWhatEndsSoonIsToldOnce(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Bind("allowed.test", loopback)
	if _, err := say(t, r.Redirect(t, rig.HTTP(t)), "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	e := r.Events.Wait(t, 1)[0]
	if _, has := e.Attrs[telemetry.AttrConnectionID]; has || e.Name != telemetry.NameNetworkConnection {
		t.Errorf("%+v", e)
	}
}
