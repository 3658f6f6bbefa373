// SPDX-License-Identifier: Apache-2.0

package join

import (
	"context"
	"slices"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// gathering reads the events a story is made of: few of a session that may have
// a hundred thousand.
type gathering struct {
	ctx    context.Context
	from   Events
	events []telemetry.Event // in the order of Seq, once around has returned
	seen   map[int64]bool
	err    error
}

func (g *gathering) add(q telemetry.Query) []telemetry.Event {
	if g.err != nil {
		return nil
	}
	events, err := g.from.Query(g.ctx, q)
	if err != nil {
		g.err = err
		return nil
	}
	for _, e := range events {
		if !g.seen[e.Seq] {
			g.seen[e.Seq] = true
			g.events = append(g.events, e)
		}
	}
	return events
}

// around reads what belongs to an event.
func (g *gathering) around(anchor telemetry.Event) {
	defer func() {
		slices.SortFunc(g.events, func(a, b telemetry.Event) int { return int(a.Seq - b.Seq) })
	}()
	if anchor.Session == "" {
		g.events = append(g.events, anchor)
		return
	}
	g.seen[anchor.Seq] = true
	g.events = append(g.events, anchor)
	session := anchor.Session
	g.add(telemetry.Query{Session: session, Names: []string{telemetry.NameSessionStart}, Limit: 1})
	g.add(telemetry.Query{Session: session, Names: []string{telemetry.NameSessionEnd}, Newest: true, Limit: 1})
	g.add(telemetry.Query{Session: session, Names: []string{telemetry.NameAgentSession}, Newest: true, Limit: 4})
	first, call := g.ancestors(anchor)
	if call != "" {
		events := g.add(telemetry.Query{Session: session, Call: call, Limit: maxOfCall})
		if len(events) > 0 {
			first = events[0]
		}
	} else {
		g.neighbours(anchor, first)
	}
	// An agent tells of a prompt seconds after it acted on it.
	prompts := []string{telemetry.NameAgentPrompt, telemetry.NameHookPrompt}
	g.add(telemetry.Query{Session: session, Names: prompts, Before: first.Seq, Newest: true, Limit: maxPrompts})
	g.add(telemetry.Query{Session: session, Names: prompts, After: first.Seq, Limit: maxPrompts})
}

// ancestors reads the way up to the agent. It returns the outermost ancestor
// that is recorded, and the tool call of the first one that has any.
func (g *gathering) ancestors(e telemetry.Event) (outermost telemetry.Event, call string) {
	at := view{&e}
	call = at.text(telemetry.AttrToolCallID)
	if !isExec(&e) {
		// Whoever did this executed something before.
		events := g.add(telemetry.Query{Session: e.Session, PID: at.number(telemetry.AttrProcessPID), Before: e.Seq, Newest: true, Limit: 8})
		if execs := best(events); len(execs) > 0 && isExec(&execs[len(execs)-1]) {
			at = view{&execs[len(execs)-1]}
		}
	}
	for range maxAncestry {
		if call == "" {
			call = at.text(telemetry.AttrToolCallID)
		}
		parent := at.number(telemetry.AttrProcessParentPID)
		if parent <= 1 {
			break
		}
		events := g.add(telemetry.Query{Session: e.Session, PID: parent, Before: at.Seq, Newest: true, Limit: 8})
		execs := best(events)
		if len(execs) == 0 || !isExec(&execs[len(execs)-1]) {
			break
		}
		at = view{&execs[len(execs)-1]}
	}
	return *at.Event, call
}

// neighbours reads what happened about the time, where no tool call is known:
// what the process started, and what the agent told of its tool calls.
func (g *gathering) neighbours(anchor, first telemetry.Event) {
	g.add(telemetry.Query{Session: anchor.Session, Before: anchor.Seq, Newest: true, Limit: maxAround / 2})
	g.add(telemetry.Query{Session: anchor.Session, After: anchor.Seq - 1, Limit: maxAround})
	if anchor.Seq-first.Seq < maxAround {
		g.add(telemetry.Query{Session: anchor.Session, After: first.Seq - 1, Limit: maxAround})
	}
	tools := []string{telemetry.NameAgentToolResult, telemetry.NameAgentToolDecision}
	g.add(telemetry.Query{Session: anchor.Session, Names: tools, After: anchor.Seq, Limit: maxPrompts})
	g.add(telemetry.Query{Session: anchor.Session, Names: tools, Before: anchor.Seq, Newest: true, Limit: maxPrompts})
}
