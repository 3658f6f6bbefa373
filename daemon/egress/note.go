// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"hash/maphash"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// note keeps the first judgement about a connection, which the event of its end tells
// of. Each other one has an event of its own, at once, unless it says nothing new or there
// are too many (see told): one connection may carry requests for several hosts, and a
// harmless first one must not hide the others.
func (c *conn) note(j *judgement) {
	c.mu.Lock()
	first := c.judged
	if first == nil {
		c.judged = j
	}
	untold, isNew := c.told.add(c.engine.seed, j, time.Now())
	flow := c.flow
	c.mu.Unlock()
	if first != nil && first != j && isNew {
		flow.untold = untold
		c.engine.tell(laterEvent(flow, j, first))
	}
	if j.pass {
		c.letPass(j)
	}
}

// laterEvent is about a judgement on a connection that is open.
func laterEvent(flow Flow, j, first *judgement) telemetry.Event {
	event := connectionEvent(flow, j)
	event.Attrs[telemetry.AttrConnectionFirst] = net.JoinHostPort(first.host.String(), strconv.Itoa(int(first.port)))
	return event
}

// told remembers what the events of one connection said, as hashes: who decided what,
// about which host, and with each method, each kept by itself, so that methods leave no
// host untold. What is beyond these is told once a second, for one connection must not
// fill the store of all; what is left out is counted, so that nobody hides unseen.
type told struct {
	kinds, hosts, methods sums
	next                  time.Time
	untold                int64
}

const (
	maxTold    = 64
	toldPause  = time.Second
	toldAlways = 32 // who decides, and how, is nothing a client can make up
)

// add reports whether a judgement is to be told, and how many before it were not that
// may have said something new.
func (t *told) add(seed maphash.Seed, j *judgement, now time.Time) (untold int64, tell bool) {
	var h maphash.Hash
	h.SetSeed(seed)
	write := func(texts ...string) uint64 {
		for _, text := range texts {
			_, _ = h.WriteString(text) // it cannot fail
			_ = h.WriteByte(0)
		}
		return h.Sum64()
	}
	isNew, kept := t.kinds.add(write(j.by, j.verdict.Decision.String(), strconv.FormatBool(j.allow), string(j.verdict.Cause)), toldAlways)
	add := func(to *sums, sum uint64) {
		n, k := to.add(sum, maxTold)
		isNew, kept = isNew || n, kept || k
	}
	add(&t.hosts, write(j.host.String(), strconv.Itoa(int(j.port))))
	if j.method != "" { // a hello inside of CONNECT has none, and is nothing new
		add(&t.methods, write(j.method))
	}
	switch {
	case !isNew:
		return 0, false
	case kept:
	case now.Before(t.next):
		t.untold++
		return 0, false
	default:
		t.next = now.Add(toldPause)
	}
	untold, t.untold = t.untold, 0
	return untold, true
}

// sums are hashes of what was told.
type sums []uint64

// add reports whether one is not among them, and whether it is from now on.
func (s *sums) add(sum uint64, most int) (isNew, kept bool) {
	if slices.Contains(*s, sum) {
		return false, false
	}
	if len(*s) >= most {
		return true, false
	}
	*s = append(*s, sum)
	return true, true
}
