// SPDX-License-Identifier: Apache-2.0

package resolver

import (
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
	addresses map[netip.Addr]*names
}

type names struct {
	used time.Time
	list []bound // the most recent first
}

type bound struct {
	name  string
	until time.Time
}

func newBindings(clock func() time.Time) *bindings {
	return &bindings{sessions: map[string]*given{}, clock: clock}
}

// bind remembers that session was given addr for name, with this time to live.
func (b *bindings) bind(session, name string, addr netip.Addr, ttl time.Duration) {
	addr = addr.WithZone("").Unmap()
	now := b.clock()
	until := now.Add(min(max(ttl, shortest), longest))
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.sessions[session]
	if g == nil {
		if len(b.sessions) >= maxSessions {
			forgetOldest(b.sessions, func(g *given) time.Time { return g.used })
		}
		g = &given{addresses: map[netip.Addr]*names{}}
		b.sessions[session] = g
	}
	g.used = now
	n := g.addresses[addr]
	if n == nil {
		if len(g.addresses) >= maxAddresses {
			for a, old := range g.addresses {
				if old.expired(now) {
					delete(g.addresses, a)
				}
			}
		}
		if len(g.addresses) >= maxAddresses {
			forgetOldest(g.addresses, func(n *names) time.Time { return n.used })
		}
		n = &names{}
		g.addresses[addr] = n
	}
	n.used = now
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

func (n *names) expired(now time.Time) bool {
	return !slices.ContainsFunc(n.list, func(b bound) bool { return b.until.After(now) })
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
	for _, o := range g.addresses[addr].list {
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

func forgetOldest[K comparable, V any](m map[K]V, used func(V) time.Time) {
	var oldest K
	var when time.Time
	for k, v := range m {
		if t := used(v); when.IsZero() || t.Before(when) {
			oldest, when = k, t
		}
	}
	delete(m, oldest)
}
