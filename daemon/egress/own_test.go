// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// The machine's own addresses lead to what listens on it, as loopback does.
func TestTheMachinesOwnAddresses(t *testing.T) {
	mine := netip.MustParseAddrPort("203.0.113.9:80")
	r := rig.New(t, rig.Options{
		Own:          []netip.Addr{mine.Addr()},
		Requirements: "[experimental_network]\nenabled = true\n[experimental_network.domains]\n'allowed.test' = 'allow'\n[paddock.network]\nunfamiliar = 'allow'",
	})
	r.Names.Bind("allowed.test", mine.Addr())
	r.Names.Know("unfamiliar.test", mine.Addr())
	at := r.Redirect(t, mine)
	if _, err := say(t, at, raw); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
	if got, err := say(t, at, "GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n"); err != nil || !strings.Contains(got, "an address of this machine") {
		t.Errorf("%q, %v", got, err)
	}
	proxy := r.Proxy(t, egress.Credentials{})
	for _, host := range []string{"allowed.test", "unfamiliar.test", mine.Addr().String()} {
		if got, err := say(t, proxy, fmt.Sprintf("CONNECT %s:80 HTTP/1.1\r\nHost: %[1]s:80\r\n\r\n", host)); err != nil || !strings.Contains(got, "an address of this machine") {
			t.Errorf("%s: %q, %v", host, got, err)
		}
	}
	for _, e := range r.Events.Wait(t, 5) {
		attr(t, e, map[string]any{"paddock.decision": "deny", "paddock.decision.cause": "not_allowed_local", "paddock.network.bytes_sent": int64(0)})
	}
}
