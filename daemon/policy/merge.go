// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

// Merge combines layers, given from low to high. The stricter layer wins whatever
// its place: a mode that was written counts before a default, and "enforce"
// before "observe"; every rule of every layer applies; a connection must be
// allowed by every layer. Only what has no stricter side comes from the highest
// layer that has it: where telemetry goes. Text is
// recorded if every layer that speaks of it says so. Agents are governed if any layer with
// a list names them. Layers that are nil are left out; of none, Merge makes
// Defaults.
//
// Codex's own keys combine as Codex combines them, whatever the order of layers here:
// see codex.Compose.
func Merge(layers ...*Requirements) *Requirements {
	layers = slices.DeleteFunc(slices.Clone(layers), func(l *Requirements) bool { return l == nil })
	if len(layers) == 0 {
		return Defaults()
	}
	files := layers
	layers, without := withPeople(layers)
	out := mergeOwn(layers)
	out.Without = without
	out.Launch.Allowed = allowedByCodex(files, layers)
	var parsed []*codex.Parsed
	for _, l := range layers {
		if l.Layer != nil {
			parsed = append(parsed, l.Layer)
		}
	}
	if len(parsed) > 0 {
		out.Codex, out.CodexError = codex.Compose(parsed...)
	}
	if !out.AutoReview() { // Codex's own key says no
		out.Approvals.AutoReview = nil
	}
	if without != nil && without.Limits().Guard { // also where a cohort of people forbids what was asked about
		out.Approvals.GuardSet, out.Approvals.Unguarded = true, false
	}
	return out
}

func mergeOwn(layers []*Requirements) *Requirements {
	layers = slices.Clone(layers)
	slices.Reverse(layers) // now high to low: what is found first, explains
	out := &Requirements{Mode: mergeModes(layers)}
	networks := make([]Network, len(layers))
	for i, l := range layers {
		out.ModeSet = out.ModeSet || l.ModeSet
		out.Unmatched = max(out.Unmatched, l.Unmatched)
		out.Provenance = max(out.Provenance, l.Provenance)
		out.Rules = append(out.Rules, l.Rules...)
		out.HostRules = append(out.HostRules, l.HostRules...)
		out.Warnings = append(out.Warnings, l.Warnings...)
		out.Cohorts = append(out.Cohorts, l.Cohorts...)
		if out.Telemetry.Endpoint == "" {
			out.Telemetry = l.Telemetry
		}
		if len(out.Sinks) == 0 {
			out.Sinks = l.Sinks
		}
		if l.Beat > 0 && (out.Beat == 0 || l.Beat < out.Beat) {
			out.Beat = l.Beat
		}
		if out.Secrets != secretsRedact && l.Secrets != "" {
			out.Secrets = l.Secrets
		}
		for content, record := range l.Contents {
			if out.Contents == nil {
				out.Contents = map[string]bool{}
			}
			before, said := out.Contents[content]
			out.Contents[content] = record && (before || !said)
		}
		for _, a := range l.Agents {
			if !slices.Contains(out.Agents, a) {
				out.Agents = append(out.Agents, a)
			}
		}
		networks[i] = l.Network
	}
	out.Network = mergeNetworks(networks)
	out.Approvals = mergeApprovals(layers)
	out.Boundary = mergeBoundaries(layers)
	out.Launch = mergeLaunch(layers)
	return out
}

func mergeModes(layers []*Requirements) Mode {
	written := slices.DeleteFunc(slices.Clone(layers), func(l *Requirements) bool { return !l.ModeSet })
	if len(written) == 0 {
		written = layers
	}
	for _, l := range written {
		if l.Mode != Observe {
			return Enforce
		}
	}
	return Observe
}
