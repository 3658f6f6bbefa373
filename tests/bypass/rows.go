// SPDX-License-Identifier: Apache-2.0

// Package bypass lists every known way around Paddock, what stands in it on each
// tier, and the test that tries it. docs/threat-model.md is made of these rows; a
// row whose test does not exist fails.
package bypass

// Verdict says what becomes of an attack.
type Verdict string

// What may become of an attack.
const (
	Stopped    Verdict = "stopped"
	Partly     Verdict = "partly"      // stopped in the form that Why names
	Seen       Verdict = "seen"        // it works, and leaves an event
	NotCovered Verdict = "not covered" // it works, and nobody is told
)

// Row is one attack.
type Row struct {
	// ID is the attack's, never given to another one.
	ID string
	// Attack is what a hostile agent does, in a few words.
	Attack string
	// Hook is what stands in its way where programs may be attached to security
	// hooks (tiers lsm and fmod_ret).
	Hook string
	// Core is what does so where they may not (tiers hold and cgroup); empty:
	// nothing.
	Core string
	// Verdict is what becomes of it on the better tier, and Why says what is left.
	Verdict Verdict
	Why     string
	// Tests name what tries it, each "DIRECTORY TestName" or "DIRECTORY
	// TestName/subtest"; there is none only for what is not covered.
	Tests []string
}

// Subject is a part of the table.
type Subject struct {
	Name string // of the marker in docs/threat-model.md
	Rows []Row
}

// Subjects returns the table.
func Subjects() []Subject {
	return []Subject{
		{"exec", execRows},
		{"attribution", attributionRows},
		{"strangers", strangerRows},
		{"network", networkRows},
		{"approvals", approvalRows},
		{"files", fileRows},
		{"paddock", paddockRows},
		{"log", logRows},
		{"launch", launchRows},
	}
}
