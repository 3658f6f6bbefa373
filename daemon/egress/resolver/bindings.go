// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"container/list"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// shortest is how long an address is remembered at least: clients keep answers
	// for longer than they may, and try again.
	shortest = 5 * time.Minute
	// longest is how long at most. Answers are given out with no longer a time to
	// live, so that clients ask again in time.
	longest = time.Hour

	maxSessions  = 1024
	maxAddresses = 4096 // of one session
	maxNames     = 16   // of one address
)

// bindings remembers which names a session was given which address for. It is
// bounded: what is oldest is forgotten, and a forgotten address is judged as an
// address.
type bindings struct {
	mu       sync.Mutex
	sessions map[string]*given
	clock    func() time.Time
}

// given is what one session was given.
type given struct {
	used      time.Time
	addresses map[netip.Addr]*list.Element // of order
	order     *list.List                   // of *names; what was given last is first
}

type names struct {
	addr netip.Addr
	list []bound // the most recent first
}

type bound struct {
	name  string
	until time.Time
}

func newBindings(clock func() time.Time) *bindings {
	return &bindings{sessions: map[string]*given{}, clock: clock}
}

// begin makes room for what a session will be given.
func (b *bindings) begin(session string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.sessions[session]
	if g == nil {
		if len(b.sessions) >= maxSessions {
			forgetEarliest(b.sessions, func(g *given) time.Time { return g.used })
		}
		g = &given{addresses: map[netip.Addr]*list.Element{}, order: list.New()}
		b.sessions[session] = g
	}
	g.used = b.clock()
}

// bind remembers that session was given addresses for name, with this time to live, unless
// it ended since it asked: nobody would forget it again. All sessions wait while it works,
// so an address costs the same however many there are.
func (b *bindings) bind(session, name string, addresses []netip.Addr, ttl time.Duration) {
	if len(addresses) == 0 {
		return
	}
	now := b.clock()
	until := now.Add(min(max(ttl, shortest), longest))
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.sessions[session]
	if g == nil {
		return
	}
	g.used = now
	for _, addr := range addresses {
		g.at(addr.WithZone("").Unmap()).add(name, now, until)
	}
}

// at returns the names of an address, which is the one that was given last now.
func (g *given) at(addr netip.Addr) *names {
	if e := g.addresses[addr]; e != nil {
		g.order.MoveToFront(e)
		return e.Value.(*names)
	}
	if len(g.addresses) >= maxAddresses {
		delete(g.addresses, g.order.Remove(g.order.Back()).(*names).addr)
	}
	n := &names{addr: addr}
	g.addresses[addr] = g.order.PushFront(n)
	return n
}

func (n *names) add(name string, now, until time.Time) {
	n.list = slices.DeleteFunc(n.list, func(o bound) bool {
		if o.name == name && o.until.After(until) {
			until = o.until // an earlier answer lives longer
		}
		return o.name == name || !o.until.After(now)
	})
	n.list = slices.Insert(n.list, 0, bound{name, until})
	if len(n.list) > maxNames {
		n.list = n.list[:maxNames]
	}
}

// namesOf returns the names of an address that have not expired.
func (b *bindings) namesOf(session string, addr netip.Addr) []string {
	addr = addr.WithZone("").Unmap()
	now := b.clock()
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.sessions[session]
	if g == nil || g.addresses[addr] == nil {
		return nil
	}
	var out []string
	for _, o := range g.addresses[addr].Value.(*names).list {
		if o.until.After(now) {
			out = append(out, o.name)
		}
	}
	return out
}

// forget drops all of a session.
func (b *bindings) forget(session string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.sessions, session)
}

// forgetEarliest drops the session whose time is the earliest.
func forgetEarliest[S any](sessions map[string]S, when func(S) time.Time) {
	var first string
	var at time.Time
	for id, s := range sessions {
		if t := when(s); at.IsZero() || t.Before(at) {
			first, at = id, t
		}
	}
	delete(sessions, first)
}
