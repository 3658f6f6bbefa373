// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
)

// refusalsInARow is how many requests out of one delivery may be refused, while
// none is accepted, before that is taken for a fault of the receiver.
const refusalsInARow = 32

// delivery is one batch on its way, as far as it got. A refused request is
// halved until it is known which events are refused.
//
// An event is given up only if the receiver took another one of the same
// batch. A receiver that refuses everything is misconfigured, and everything is
// kept until that is put right.
type delivery struct {
	elsewhere bool // the last attempt found none that is accepted: look for one in other places
	events    []Event
	todo      [][2]int // ranges of events, half open
	exported  int64
	refused   int         // requests
	suspects  []rejection // refused one by one
	rejected  []rejection
}

func newDelivery(events []Event, elsewhere bool) *delivery {
	return &delivery{events: events, elsewhere: elsewhere, todo: [][2]int{{0, len(events)}}}
}

// last is the sequence number of the last event.
func (d *delivery) last() int64 { return d.events[len(d.events)-1].Seq }

// begun says whether an attempt got anywhere, so that the rest of this very
// batch must be sent, and not another one.
func (d *delivery) begun() bool { return d.exported > 0 || len(d.rejected) > 0 }

// send goes on until all is dealt with (no error) or something stands in the
// way: a *setback or the end of ctx.
func (d *delivery) send(ctx context.Context, r target) error {
	for len(d.todo) > 0 {
		part := d.todo[len(d.todo)-1]
		events := d.events[part[0]:part[1]]
		a, err := r.post(ctx, events)
		var refused *refusal
		switch {
		case errors.As(err, &refused):
			d.todo = d.todo[:len(d.todo)-1]
			d.refuse(part, refused.reason)
			if !d.begun() && d.refused >= refusalsInARow {
				return d.refusesAll(refused)
			}
		case err != nil:
			return err
		default:
			d.todo = d.todo[:len(d.todo)-1]
			d.accept(events, a)
		}
	}
	if len(d.suspects) > 0 && !d.begun() {
		return d.refusesAll(errors.New(d.suspects[0].reason))
	}
	d.rejected = append(d.rejected, d.suspects...)
	d.suspects = nil
	return nil
}

func (d *delivery) refusesAll(err error) error {
	return &setback{err: fmt.Errorf("it refuses every event, which are kept until it takes some again: %w", err)}
}

func (d *delivery) accept(events []Event, a answer) {
	n := int64(len(events))
	rejected := min(max(a.rejected, 0), n)
	d.exported += n - rejected
	if rejected > 0 {
		d.rejected = append(d.rejected, rejection{
			first: events[0].Seq, last: events[n-1].Seq, count: rejected, reason: "partial success: " + a.message,
		})
	}
}

func (d *delivery) refuse(part [2]int, reason string) {
	d.refused++
	if part[1]-part[0] == 1 {
		seq := d.events[part[0]].Seq
		d.suspects = append(d.suspects, rejection{first: seq, last: seq, count: 1, reason: reason})
		return
	}
	middle := (part[0] + part[1]) / 2
	first, second := [2]int{part[0], middle}, [2]int{middle, part[1]}
	if d.elsewhere && rand.IntN(2) == 0 {
		first, second = second, first
	}
	d.todo = append(d.todo, second, first) // the last one is the next
}
