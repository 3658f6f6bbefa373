// SPDX-License-Identifier: Apache-2.0

package join

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// How many events of a session Show reads when it is not told, and at most.
const (
	DefaultShown = 2000
	MaxShown     = 20_000
)

// Page says which part of a session Show tells.
type Page struct {
	Before int64 // only events before this Seq; 0: the newest
	Limit  int   // events; 0: DefaultShown
}

// Check says what is wrong with a page.
func (p Page) Check() error {
	if p.Before < 0 || p.Limit < 0 || p.Limit > MaxShown {
		return fmt.Errorf("showing a session: before %d, limit %d: must not be negative, and the limit at most %d", p.Before, p.Limit, MaxShown)
	}
	return nil
}

// Show puts together the newest events of a session, whatever its size. The
// error is ErrNothing when it has none.
func Show(ctx context.Context, from Events, session string, p Page) (*Account, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if p.Limit == 0 {
		p.Limit = DefaultShown
	}
	g := &gathering{ctx: ctx, from: from, seen: map[int64]bool{}}
	newest := g.add(telemetry.Query{Session: session, Before: p.Before, Newest: true, Limit: p.Limit})
	if g.err == nil && len(newest) == 0 {
		return nil, fmt.Errorf("showing session %q: %w", cut(session, 100), ErrNothing)
	}
	g.add(telemetry.Query{Session: session, Names: []string{telemetry.NameSessionStart}, Limit: 1})
	if len(newest) == p.Limit {
		// What was asked before the page begins is what its first tool calls were for.
		g.add(telemetry.Query{Session: session, Names: []string{telemetry.NameAgentPrompt, telemetry.NameHookPrompt}, Before: newest[0].Seq, Newest: true, Limit: maxPrompts})
		g.add(telemetry.Query{Session: session, Names: []string{telemetry.NameAgentSession}, Before: newest[0].Seq, Newest: true, Limit: 1})
	}
	if g.err != nil {
		return nil, g.err
	}
	slices.SortFunc(g.events, func(a, b telemetry.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	a := Fold(g.events)
	a.First, a.Last, a.Events = newest[0].Seq, newest[len(newest)-1].Seq, len(newest)
	a.More = len(newest) == p.Limit
	return a, nil
}

// Entry is one line of a timeline. One of its pointers is set.
type Entry struct {
	At         time.Time
	Prompt     *Prompt
	Call       *Call
	Process    *Process // one without a tool call
	Connection *Connection
	File       *File
	Note       *Note
}

// Timeline lists what an account tells, by time. What belongs to a tool call is
// told with it.
func (a *Account) Timeline() []Entry {
	var out []Entry
	for i := range a.Prompts {
		out = append(out, Entry{At: a.Prompts[i].At, Prompt: &a.Prompts[i]})
	}
	for _, c := range a.Calls {
		out = append(out, Entry{At: c.Began, Call: c})
	}
	for _, p := range a.Loose {
		out = append(out, Entry{At: p.At, Process: p})
	}
	for i := range a.Network {
		out = append(out, Entry{At: a.Network[i].At, Connection: &a.Network[i]})
	}
	for i := range a.Files {
		out = append(out, Entry{At: a.Files[i].At, File: &a.Files[i]})
	}
	for i := range a.Notes {
		out = append(out, Entry{At: a.Notes[i].At, Note: &a.Notes[i]})
	}
	slices.SortStableFunc(out, func(a, b Entry) int { return a.At.Compare(b.At) })
	return out
}

// Stopped counts what of a tool call was kept from happening.
func (c *Call) Stopped() int {
	n := 0
	for i := range c.Decisions {
		d := &c.Decisions[i]
		if d.By == ByPaddock && d.Stopped() {
			n++
		}
	}
	return n
}

// Title is a tool call in a few words.
func (c *Call) Title() string {
	switch {
	case c.Command != "":
		return c.Command
	case c.MCPServer != "":
		return strings.TrimSpace(c.MCPServer + ": " + c.Tool + " " + c.Arguments)
	case c.Tool != "":
		return strings.TrimSpace(c.Tool + " " + c.Arguments)
	case len(c.Processes) > 0:
		return strings.Join(c.Processes[0].Args, " ")
	}
	return c.ID
}
