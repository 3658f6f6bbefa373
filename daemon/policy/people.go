// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"maps"
	"slices"
)

// The gates know one policy for the whole machine. What a cohort of people says thus
// holds for everybody while one of them is there, and so it may only make stricter:
// whoever it does not name must not be under less because of it.

// withPeople puts the layers of cohorts of people below the files they are from.
func withPeople(layers []*Requirements) []*Requirements {
	if !slices.ContainsFunc(layers, func(l *Requirements) bool { return len(l.People) > 0 }) {
		return layers
	}
	var out []*Requirements
	alone := mergeOwn(layers)
	for _, l := range layers {
		for _, p := range l.People {
			out = append(out, p.stricter(alone))
		}
		out = append(out, l)
	}
	return out
}

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
	out.Telemetry, out.Sinks = TelemetrySink{}, nil
	out.Contents = maps.Clone(out.Contents)
	for content, record := range out.Contents {
		if record {
			delete(out.Contents, content)
		}
	}
	if out.Secrets != secretsRedact {
		out.Secrets = ""
	}
	return &out
}
