// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"maps"
	"slices"
)

// The gates know one policy for the whole machine. What a cohort of people says thus
// holds for everybody while one of them is there, and so it may only make stricter:
// whoever it does not name must not be under less because of it.

// withPeople puts the layers of cohorts of people below the files they are from. It
// returns as well what the files say without them, nil if there are none.
func withPeople(layers []*Requirements) (all []*Requirements, without *Requirements) {
	if !slices.ContainsFunc(layers, func(l *Requirements) bool { return len(l.People) > 0 }) {
		return layers, nil
	}
	var files, people []*Requirements
	for _, l := range layers {
		file := *l
		file.People = nil
		files, people = append(files, &file), append(people, l.People...)
	}
	without = Merge(files...)
	guarded := without.Limits().Guard
	opens := !slices.ContainsFunc(slices.Concat(files, people), boundsAlone)
	for i, l := range layers {
		for _, p := range l.People {
			said := p.stricter(without)
			if !opens {
				said.Boundary.Writable, said.Boundary.Readable, said.Boundary.Reachable = nil, nil, nil
			}
			if guarded {
				said.Boundary.Reachable = nil
			}
			all = append(all, said)
		}
		all = append(all, files[i])
	}
	return all, without
}

// boundsAlone reports whether a layer has a boundary and no table for it: then what a
// table opens is opened by nobody else.
func boundsAlone(l *Requirements) bool { return l.Boundary.Mode != NoBoundary && !l.Boundary.Table }

// stricter takes from a layer what would make others milder that have been merged to
// than. Of the rest, merging takes what is stricter.
func (r *Requirements) stricter(than *Requirements) *Requirements {
	out := *r
	if out.Mode != Enforce {
		out.Mode, out.ModeSet = Enforce, false
	}
	if than.Unmatched == Forbidden {
		// A rule decides before that.
		out.Rules = slices.DeleteFunc(slices.Clone(out.Rules), func(rule PrefixRule) bool { return rule.Decision < Forbidden })
	}
	if len(than.Agents) == 0 {
		out.Agents = nil // all are governed
	}
	out.Telemetry, out.Sinks, out.Beat = TelemetrySink{}, nil, 0
	out.Contents = maps.Clone(out.Contents)
	for content, record := range out.Contents {
		if record {
			delete(out.Contents, content)
		}
	}
	if out.Secrets != secretsRedact {
		out.Secrets = ""
	}
	out.Approvals = out.Approvals.stricter(than.Approvals)
	out.Launch = out.Launch.stricter(than.Launch)
	return &out
}

// stricter takes from a layer what is milder than what holds without it. What a layer
// writes counts before a default, so the defaults are written too.
func (a Approvals) stricter(than Approvals) Approvals {
	a.Timeout = min(a.Timeout, than.Timeout)
	a.RootSet = a.RootSet && (!a.RootMayAnswer || than.RootMayAnswer)
	a.RootMayAnswer = a.RootMayAnswer && a.RootSet
	a.GuardSet = a.GuardSet && (!a.Unguarded || than.Unguarded)
	a.Unguarded = a.Unguarded && a.GuardSet
	if a.Scopes != nil {
		a.Scopes = narrowed(a.Scopes, than.Scopes)
	}
	if a.HighRisk != nil {
		a.HighRisk = widened(a.HighRisk, than.HighRisk)
	}
	if a.AutoReview != nil {
		a.AutoReview = narrowed(a.AutoReview, append([]string{}, than.AutoReview...))
	}
	return a
}
