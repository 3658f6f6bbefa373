// SPDX-License-Identifier: Apache-2.0

package policy

import "slices"

// Asks reports whether a person may be asked about anything under the requirements.
func (r *Requirements) Asks() bool {
	return r.Unmatched == Prompt ||
		slices.ContainsFunc(r.Rules, func(rule PrefixRule) bool { return rule.Decision == Prompt }) ||
		CompileHosts(r).asks()
}

// asks reports whether some host is asked about.
func (h *Hosts) asks() bool {
	return h.byName && (h.unfamiliar.Decision == NetAsk ||
		slices.ContainsFunc(h.rules, func(rule hostRule) bool { return rule.Decision == NetAsk }))
}

// Limits is the boundary in force. Where requirements have none, and people are asked,
// it is a Guard: it says nothing about files, and keeps sessions from where somebody
// could answer in the person's place.
func (r *Requirements) Limits() Boundary {
	guard := r.Asks()
	if r.Approvals.GuardSet {
		guard = !r.Approvals.Unguarded
	}
	if r.Boundary.Mode == NoBoundary && guard {
		return Boundary{Mode: FullAccess, Guard: true}
	}
	return r.Boundary
}
