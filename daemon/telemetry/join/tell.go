// SPDX-License-Identifier: Apache-2.0

package join

import (
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// tell makes a story of the events around one.
func tell(events []telemetry.Event, anchor telemetry.Event) *Story {
	a := Fold(events)
	s := &Story{Session: a.Session, Notes: a.Notes, Event: anchor.ID}
	who := view{&anchor}.proc()
	all := slices.Clone(a.Loose)
	for _, c := range a.Calls {
		all = append(all, c.Processes...)
	}
	for _, p := range all {
		if who.pid != 0 && p.PID == who.pid && p.Start == who.start {
			s.Process = p
		}
	}
	if id := (view{&anchor}).text(telemetry.AttrToolCallID); id != "" {
		s.Call = a.callOf(id)
	} else if s.Process != nil {
		s.Call = a.callOf(s.Process.Call)
	}
	if s.Process != nil {
		s.Lineage = lineage(all, s.Process)
	}
	switch {
	case s.Call != nil:
		s.Prompt = s.Call.Prompt
	default:
		s.own(a, anchor)
	}
	s.doubt(a, anchor)
	return s
}

func (a *Account) callOf(id string) *Call {
	for _, c := range a.Calls {
		if c.ID == id && id != "" {
			return c
		}
	}
	return nil
}

// own keeps what the process and its descendants did.
func (s *Story) own(a *Account, anchor telemetry.Event) {
	as := &Call{Began: anchor.Time, Thread: view{&anchor}.text(telemetry.AttrThreadID)}
	a.prompt(as)
	s.Prompt = as.Prompt
	if s.Process == nil {
		return
	}
	below := map[int64]bool{s.Process.PID: true}
	for _, p := range a.Loose {
		if p == s.Process || below[p.Parent] && p.Start >= s.Process.Start {
			below[p.PID] = true
			s.Processes = append(s.Processes, p)
		}
	}
	for _, n := range a.Network {
		if below[n.PID] {
			s.Network = append(s.Network, n)
		}
	}
	for _, f := range a.Files {
		if below[f.PID] {
			s.Files = append(s.Files, f)
		}
	}
}

// lineage is the way from the first recorded ancestor down to p.
func lineage(all []*Process, p *Process) []*Process {
	out := []*Process{p}
	for range maxAncestry {
		var parent *Process
		for _, other := range all {
			if other.PID == p.Parent && other.Start <= p.Start && other != p && (parent == nil || other.Start > parent.Start) {
				parent = other
			}
		}
		if parent == nil {
			break
		}
		out = append(out, parent)
		p = parent
	}
	slices.Reverse(out)
	return out
}

// doubt says what is not known.
func (s *Story) doubt(a *Account, anchor telemetry.Event) {
	say := func(text string) { s.Doubts = append(s.Doubts, text) }
	if anchor.Session == "" {
		say("It belongs to no session: nothing an agent did.")
		return
	}
	switch {
	case s.Prompt == nil && len(a.Prompts) == 0:
		say("No prompt is recorded: the agent sends no telemetry to Paddock, or did not before this.")
	case s.Prompt == nil:
		say("No recorded prompt came before this.")
	case strings.HasPrefix(s.Prompt.Text, "[redacted:prompts:"):
		say("The text of the prompt is not kept: the requirements leave prompts out ([paddock.telemetry] prompts).")
	case s.Prompt.Text == "" || s.Prompt.Text == "[REDACTED]":
		say("The text of the prompt was not recorded: log_user_prompt is off.")
	}
	switch {
	case s.Call == nil:
		say("No tool call is known for it: the agent ran it by itself, or does not say for which call.")
	case !s.Call.Told:
		say("The agent did not tell of this tool call: only the id that the kernel carried is known.")
	case len(s.Call.Processes) == 0 && s.Call.Command != "" && s.Call.Result != nil && s.Call.Result.Success != nil && *s.Call.Result.Success:
		say("The agent says that it ran the command, and no process of it was seen.")
	}
	if s.Call != nil && s.Call.Link != nil && (s.Call.Link.Confidence == Medium || s.Call.Link.Confidence == Low) {
		say("That the processes belong to this tool call is a conclusion from time and parents: " + s.Call.Link.Because + ".")
	}
	if s.Session.Started.IsZero() {
		say("The start of the session is not stored any more.")
	}
	for _, n := range a.Notes {
		if strings.HasPrefix(n.Text, "events are missing") {
			say("Events of the session are missing.")
			break
		}
	}
}
