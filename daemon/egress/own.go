// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// ownFor is how long the machine's own addresses are taken for what they were: less than anybody
// who gives it one needs to make use of that.
const ownFor = time.Second

// own are the machine's own addresses. A connection to one of them reaches what listens on this
// machine, as one to loopback does.
type own struct {
	list func() ([]net.Addr, error)

	mu   sync.Mutex
	at   time.Time
	have map[netip.Addr]struct{}
}

// has reports whether an address is the machine's.
func (o *own) has(addr netip.Addr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.at) > ownFor {
		if all, err := o.list(); err == nil { // else what it had is the best that is known
			o.have = make(map[netip.Addr]struct{}, len(all))
			for _, a := range all {
				if network, ok := a.(*net.IPNet); ok {
					one, _ := netip.AddrFromSlice(network.IP)
					o.have[policy.HostOf(one).Addr()] = struct{}{}
				}
			}
		}
		o.at = time.Now()
	}
	_, has := o.have[addr]
	return has
}

// decide asks the policy, and tells it whether the address is the machine's own if that makes it
// stricter.
func (p *Policy) decide(q policy.HostRequest) policy.HostVerdict {
	if p.Hosts == nil {
		return policy.HostVerdict{Cause: policy.CauseNotAllowed, Reason: "no policy is in force yet"}
	}
	v := p.Hosts.Decide(q)
	addr := q.Addr
	if a := q.Host.Addr(); a.IsValid() {
		addr = a
	}
	if v.Decision == policy.NetDeny || p.own == nil || !addr.IsValid() || addr.IsLoopback() || !p.own.has(policy.HostOf(addr).Addr()) {
		return v
	}
	q.Own = true
	return p.Hosts.Decide(q)
}
