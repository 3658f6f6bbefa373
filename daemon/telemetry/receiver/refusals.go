// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"context"
	"sync"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// refusal is records that were not taken.
type refusal struct {
	sender Sender
	cause  string // one of telemetry's Refused constants
	claim  string // the session or conversation it was meant for
	detail string
	count  int64 // records, or requests
}

// tellEvery is how often refusals are told of that are like one told before.
const tellEvery = 10 * time.Second

// How many kinds of refusals are told apart in that time: in all, and claims of
// one session. Whoever makes up session IDs gets one event for the rest of them.
const (
	maxKinds  = 1024
	maxClaims = 8
)

// refusals counts what was refused and tells of it: the first of a kind at
// once, those like it together.
type refusals struct {
	config Config

	mu      sync.Mutex
	waiting map[refusalKind]*refusal
	told    map[refusalKind]bool // since the last tick
	claims  map[string]int       // kinds of a session, since the last tick
	counts  map[string]uint64    // by cause, since the start
	taken   uint64               // records stored
	came    uint64               // records, and requests that could not be read
}

type refusalKind struct{ session, cause, claim string }

func newRefusals(c Config) *refusals {
	return &refusals{config: c, waiting: map[refusalKind]*refusal{}, told: map[refusalKind]bool{}, claims: map[string]int{}, counts: map[string]uint64{}}
}

func (r *refusals) add(one refusal) {
	r.mu.Lock()
	r.counts[one.cause] += uint64(one.count)
	r.came += uint64(one.count)
	kind := refusalKind{one.sender.Session, one.cause, one.claim}
	if one.claim != "" && !r.told[kind] {
		if r.claims[kind.session] >= maxClaims {
			kind.claim, one.claim = "", ""
		}
		r.claims[kind.session]++
	}
	if len(r.told) >= maxKinds && !r.told[kind] {
		kind = refusalKind{"", one.cause, ""}
		one.sender, one.claim = Sender{}, ""
	}
	if r.told[kind] {
		if w := r.waiting[kind]; w != nil {
			w.count += one.count
		} else {
			r.waiting[kind] = &one
		}
		r.mu.Unlock()
		return
	}
	r.told[kind] = true
	r.mu.Unlock()
	r.record(context.Background(), one)
}

func (r *refusals) took(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken += uint64(n)
	r.came += uint64(n)
}

func (r *refusals) tell(ctx context.Context) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.flush(ctx)
		}
	}
}

// flush tells of all that waits.
func (r *refusals) flush(ctx context.Context) {
	r.mu.Lock()
	waiting := r.waiting
	r.waiting = map[refusalKind]*refusal{}
	r.told, r.claims = map[refusalKind]bool{}, map[string]int{}
	for kind := range waiting {
		r.told[kind] = true // it goes on: told with the next tick
	}
	r.mu.Unlock()
	for _, one := range waiting {
		r.record(ctx, *one)
	}
}

func (r *refusals) record(ctx context.Context, one refusal) {
	attrs := map[string]any{telemetry.AttrRefusedCause: one.cause, telemetry.AttrRefusedCount: one.count}
	if one.claim != "" {
		attrs[telemetry.AttrRefusedSession] = one.claim
	}
	if one.detail != "" {
		attrs[telemetry.AttrErrorMessage] = one.detail
	}
	if one.sender.PID != 0 {
		attrs[telemetry.AttrProcessPID] = int64(one.sender.PID)
		attrs[telemetry.AttrProcessStart] = int64(one.sender.Start)
	}
	if one.sender.Agent != "" {
		attrs[telemetry.AttrAgent] = one.sender.Agent
	}
	err := r.config.Events.Record(ctx, telemetry.Event{
		Name: telemetry.NameTelemetryRefused, Severity: telemetry.Warn, Session: one.sender.Session, Attrs: attrs,
	})
	if err != nil {
		r.config.Log.Error("telemetry was refused, and that cannot be recorded", "cause", one.cause, "count", one.count, "error", err)
	}
}

// Counters returns what came and what became of it, by the names that
// docs/telemetry.md explains.
func (r *Receiver) Counters() map[string]uint64 {
	q := r.refusals
	q.mu.Lock()
	defer q.mu.Unlock()
	out := map[string]uint64{"agents.received": q.came, "agents.stored": q.taken}
	for cause, n := range q.counts {
		out["agents.refused."+cause] = n
	}
	return out
}

// Identity is the equation of Counters: what came was stored or refused.
func (r *Receiver) Identity() telemetry.Identity {
	q := r.refusals
	q.mu.Lock()
	defer q.mu.Unlock()
	sum := q.taken
	for _, n := range q.counts {
		sum += n
	}
	return telemetry.Identity{Name: "agents.received = stored + refused", Left: q.came, Right: sum}
}
