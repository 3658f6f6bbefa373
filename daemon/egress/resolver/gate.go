// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// inFlight is how many questions are being answered at a time, and how many
	// connections are served beside them.
	inFlight = 512
	// perSession is how many of these may be one session's, and fewWhenFull how many when
	// half of the places are taken: hostile sessions do not keep the others waiting.
	perSession, fewWhenFull = 64, 8
	// perSecond is how many a session may begin in a second.
	perSecond = 1000
	// maxRemembered is how many clients are remembered for that second.
	maxRemembered = 4096
)

// gate decides what is served at all. It is asked by the one reader that all sessions
// share, so it says no without looking further: to be slower than who floods is to lose the
// questions of everybody else.
type gate struct {
	whose func(client, server netip.AddrPort) uint64
	clock func() time.Time

	mu     sync.Mutex
	inside int
	of     map[uint64]int // of inside

	second  time.Time // began
	begun   map[uint64]int
	clients map[netip.AddrPort]uint64
}

func newGate(clock func() time.Time, whose func(client, server netip.AddrPort) uint64) *gate {
	return &gate{
		whose: whose, clock: clock, of: map[uint64]int{}, begun: map[uint64]int{}, clients: map[netip.AddrPort]uint64{},
	}
}

// enter says whether a client is served. Its socket may be another session's than a moment
// ago: what is counted may be wrong for a second, and whose it is, is asked once more.
func (g *gate) enter(client, server netip.AddrPort) (whose uint64, ok bool) {
	g.mu.Lock()
	if now := g.clock(); now.Sub(g.second) >= time.Second {
		g.second = now
		clear(g.begun)
		clear(g.clients)
	}
	whose, known := g.clients[client]
	g.mu.Unlock()
	if !known {
		whose = g.whose(client, server)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !known && len(g.clients) < maxRemembered {
		g.clients[client] = whose
	}
	g.begun[whose]++
	most := perSession
	if g.inside >= inFlight/2 {
		most = fewWhenFull
	}
	if g.begun[whose] > perSecond || g.inside >= inFlight || g.of[whose] >= most {
		return whose, false
	}
	g.inside++
	g.of[whose]++
	return whose, true
}

func (g *gate) leave(whose uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.of[whose]--; g.of[whose] == 0 {
		delete(g.of, whose)
	}
}
