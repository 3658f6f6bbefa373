// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

// Which addresses the machine has is looked up, and again when it may have others.
func TestOwnAddressesAreLookedUp(t *testing.T) {
	all, err := net.InterfaceAddrs()
	if err != nil || len(all) == 0 {
		t.Fatal("this machine has no address", err)
	}
	machine := own{list: net.InterfaceAddrs}
	for _, a := range all {
		addr, _ := netip.AddrFromSlice(a.(*net.IPNet).IP)
		if !machine.has(addr.Unmap()) {
			t.Errorf("%s is not its own", addr)
		}
	}
	first, second := netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8::9")
	has := []netip.Addr{first}
	var fails error
	o := own{list: func() (all []net.Addr, _ error) {
		for _, a := range has {
			all = append(all, &net.IPNet{IP: a.AsSlice()})
		}
		return all, fails
	}}
	if !o.has(first) || o.has(second) {
		t.Error("of two, the first is its own")
	}
	has = []netip.Addr{second}
	o.at = time.Now().Add(-2 * ownFor)
	if o.has(first) || !o.has(second) {
		t.Error("after a change it has what it had")
	}
	has, fails = nil, errors.New("no files")
	o.at = time.Now().Add(-2 * ownFor)
	if !o.has(second) {
		t.Error("what it had is forgotten when nobody can say what it has")
	}
}
