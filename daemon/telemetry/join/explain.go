// SPDX-License-Identifier: Apache-2.0

package join

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Events is where stored events come from. telemetry.Store is one.
type Events interface {
	Query(context.Context, telemetry.Query) ([]telemetry.Event, error)
}

// ErrNothing says that no event is about the subject.
var ErrNothing = errors.New("no event is about it")

// Story is why something ran, and what it did.
type Story struct {
	Subject Subject `json:"subject"`
	Session Session `json:"session"`
	// Prompt and Call are nil where nobody knows them.
	Prompt *Prompt `json:"prompt,omitempty"`
	Call   *Call   `json:"call,omitempty"`
	// Process is the one asked about, or the one that did what is asked about.
	Process *Process `json:"process,omitempty"`
	// Lineage is the way from the agent's first process down to Process, as far as it is recorded.
	Lineage []*Process `json:"lineage,omitempty"`
	// What the process did itself, where no tool call is known.
	Processes []*Process   `json:"processes,omitempty"`
	Network   []Connection `json:"network,omitempty"`
	Files     []File       `json:"files,omitempty"`
	Notes     []Note       `json:"notes,omitempty"`
	Others    []Other      `json:"others,omitempty"` // what else matches, newest first
	Doubts    []string     `json:"doubts,omitempty"` // what is not known, a sentence each
	Event     string       `json:"event"`            // the id of the event this began with
}

// Other is another event the subject may mean.
type Other struct {
	At      time.Time `json:"at"`
	Session string    `json:"session"`
	What    string    `json:"what"`
	Event   string    `json:"event"`
}

// maxOthers bounds Story.Others.
const maxOthers = 10

// How many events are read for one story, and how many of a kind.
const (
	maxOfCall   = 3000
	maxAround   = 1500
	maxMatches  = 400
	maxPrompts  = 20
	maxAncestry = 64
)

// Explain tells the story of what subject means. Only events of sessions that
// sees allows are looked at. The error is ErrNothing when there is none.
func Explain(ctx context.Context, from Events, subject Subject, sees func(session string) bool) (*Story, error) {
	if err := subject.Check(); err != nil {
		return nil, err
	}
	anchors, err := find(ctx, from, subject)
	if err != nil {
		return nil, err
	}
	anchors = slices.DeleteFunc(anchors, func(e telemetry.Event) bool {
		return !sees(e.Session) || subject.Session != "" && e.Session != subject.Session
	})
	if len(anchors) == 0 {
		return nil, fmt.Errorf("explaining %s %q: %w", subject.Kind, cut(subject.Value, 200), ErrNothing)
	}
	anchor := choose(anchors, subject.At)
	g := &gathering{ctx: ctx, from: from, seen: map[int64]bool{}}
	g.around(anchor)
	if g.err != nil {
		return nil, g.err
	}
	s := tell(g.events, anchor)
	s.Subject = subject
	s.Others = others(anchors, anchor)
	return s, nil
}

// choose takes the newest event, or the last one before the time.
func choose(anchors []telemetry.Event, at time.Time) telemetry.Event {
	best := anchors[len(anchors)-1]
	if at.IsZero() {
		return best
	}
	for _, e := range slices.Backward(anchors) {
		if !e.Time.After(at.Add(time.Second)) {
			return e
		}
		best = e
	}
	return best
}

func others(anchors []telemetry.Event, anchor telemetry.Event) []Other {
	type key struct {
		session string
		proc    procKey
	}
	told := map[key]bool{{anchor.Session, view{&anchor}.proc()}: true}
	var out []Other
	for i := range slices.Backward(anchors) {
		v := view{&anchors[i]}
		k := key{v.Session, v.proc()}
		if told[k] || len(out) == maxOthers {
			continue
		}
		told[k] = true
		out = append(out, Other{At: v.Time, Session: v.Session, What: what(v), Event: v.ID})
	}
	return out
}

// what names an event in a few words.
func what(v view) string {
	if args := v.list(telemetry.AttrProcessCommandArgs); len(args) > 0 {
		return cut(strings.Join(args, " "), 200)
	}
	host := v.text(telemetry.AttrServerAddress)
	if host == "" {
		host = v.text(telemetry.AttrDestinationAddress)
	}
	if host != "" {
		return strings.TrimSpace(v.program() + " to " + host)
	}
	if path := v.text(telemetry.AttrFilePath); path != "" {
		return strings.TrimSpace(v.program() + " " + path)
	}
	return strings.TrimSpace(strings.TrimPrefix(v.Name, "paddock.") + " " + v.program())
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
