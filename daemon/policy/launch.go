// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// LaunchAction is what becomes of an agent that was started so as to slip its
// management. The greater one is the stricter.
type LaunchAction int

const (
	// LaunchRecord leaves an event.
	LaunchRecord LaunchAction = iota
	// LaunchWarn tells the person who started it as well.
	LaunchWarn
	// LaunchRefuse ends it, and says what to run instead.
	LaunchRefuse
)

// String returns the word used in requirements files.
func (a LaunchAction) String() string {
	switch a {
	case LaunchRecord:
		return "record"
	case LaunchWarn:
		return "warn"
	case LaunchRefuse:
		return "refuse"
	}
	return fmt.Sprintf("LaunchAction(%d)", int(a))
}

// LaunchKind is by what an agent may slip its management.
type LaunchKind int

const (
	// LaunchEnvironment is a variable of its environment.
	LaunchEnvironment LaunchKind = iota
	// LaunchFlags is an option on its command line.
	LaunchFlags
	// LaunchOverrides is a setting that requirements are about, given on the command
	// line or in a file of the project.
	LaunchOverrides
	// LaunchVersions is the program itself: too old, not known, not where it should be.
	LaunchVersions
	launchKinds
)

// String returns the key in requirements files.
func (k LaunchKind) String() string {
	switch k {
	case LaunchEnvironment:
		return "environment"
	case LaunchFlags:
		return "flags"
	case LaunchOverrides:
		return "overrides"
	case LaunchVersions:
		return "versions"
	case launchKinds:
	}
	return fmt.Sprintf("LaunchKind(%d)", int(k))
}

// LaunchKinds lists the kinds.
func LaunchKinds() []LaunchKind {
	return []LaunchKind{LaunchEnvironment, LaunchFlags, LaunchOverrides, LaunchVersions}
}

// Launch is what requirements say of how agents are started.
type Launch struct {
	// Actions are those that are written. A kind that is not in it: LaunchWarn, but
	// LaunchRecord for what is quiet, and for what Codex's own keys allow.
	Actions map[LaunchKind]LaunchAction
	// Minimum is the lowest version of an agent, by its name.
	Minimum map[string]string
	// Programs are the SHA-256 of an agent's program that are known, in hexadecimal.
	// An agent that is not in it is not looked at.
	Programs map[string][]string
	// Places are lists of directories, one of each layer that has one: an agent's
	// program must lie in one of each. Nil: anywhere.
	Places [][]Pattern
	// Allowed is what Codex's own keys allow, as KEY=VALUE: every layer that has the key
	// does. Only merged requirements have it.
	Allowed map[string]bool
}

// LaunchFinding is one thing about how an agent was started.
type LaunchFinding struct {
	Kind LaunchKind
	// What is the variable, the option, the setting: its name, and its value only
	// where that is what counts.
	What string
	// Why says what it does, as the end of a sentence.
	Why string
	// Quiet says that it is usual: nobody is warned unless requirements ask for it.
	Quiet bool
	// Within are the Codex keys that allow it if each of them has the value, as
	// KEY=VALUE.
	Within []string
}

// Start is an agent that starts.
type Start struct {
	Agent   string
	Version string // empty: not known
	Program string // path of what was recognised; empty: not known
	Home    string // of its user; empty: not known
	// Digest reads the program and returns its SHA-256, in hexadecimal. It is called
	// only where requirements list programs of the agent.
	Digest   func() (string, error)
	Findings []LaunchFinding
}

// Judged is a finding, and what requirements say of it.
type Judged struct {
	LaunchFinding
	Action LaunchAction
}

// JudgeStart says what becomes of a start: what was found, the strictest first, with
// what is wrong with the program. The strictest action holds for the whole.
func (l *Launch) JudgeStart(s Start) []Judged {
	var out []Judged
	for _, f := range slices.Concat(s.Findings, l.program(s)) {
		out = append(out, Judged{f, l.action(&f)})
	}
	slices.SortStableFunc(out, func(a, b Judged) int { return int(b.Action) - int(a.Action) })
	return out
}

func (l *Launch) action(f *LaunchFinding) LaunchAction {
	if a, written := l.Actions[f.Kind]; written {
		return a
	}
	allowed := len(f.Within) > 0
	for _, w := range f.Within {
		allowed = allowed && l.Allowed[w]
	}
	if f.Quiet || allowed {
		return LaunchRecord
	}
	return LaunchWarn
}

// program looks at what runs.
func (l *Launch) program(s Start) []LaunchFinding {
	var out []LaunchFinding
	add := func(what, format string, args ...any) {
		out = append(out, LaunchFinding{Kind: LaunchVersions, What: what, Why: fmt.Sprintf(format, args...)})
	}
	if minimum := l.Minimum[s.Agent]; minimum != "" {
		switch {
		case s.Version == "":
			add("version", "it is not known, and at least %s is required", minimum)
		case Older(s.Version, minimum):
			add("version "+s.Version, "at least %s is required", minimum)
		}
	}
	for _, list := range l.Places {
		if !slices.ContainsFunc(list, func(p Pattern) bool { return s.Program != "" && within(s.Program, expand(p.Text, s.Home)) }) {
			add(s.Program, "agents may only be installed elsewhere (paddock.launch.places)")
			break
		}
	}
	if known, listed := l.Programs[s.Agent]; listed {
		sum, err := s.Digest()
		switch {
		case err != nil:
			add("program", "it could not be read: %v", err)
		case !slices.Contains(known, sum):
			add("program "+sum, "it is none of those that are known (paddock.launch.programs)")
		}
	}
	return out
}

// Older reports whether a version comes before another one: by its numbers, and of
// equal ones a preview ("-alpha.1") before the release. Other words, such as a
// platform, do not count. What has no number at all is older than everything.
func Older(version, than string) bool {
	a, aPre := versionOf(version)
	b, bPre := versionOf(than)
	if len(a) == 0 {
		return true
	}
	for len(a) < len(b) {
		a = append(a, 0)
	}
	for len(b) < len(a) {
		b = append(b, 0)
	}
	if c := slices.Compare(a, b); c != 0 {
		return c < 0
	}
	return aPre && !bPre
}

var previews = []string{"alpha", "beta", "rc", "pre", "dev", "canary", "nightly", "snapshot", "next", "insiders"}

// versionOf returns the numbers a version begins with, and whether it is a preview.
func versionOf(s string) (numbers []uint64, preview bool) {
	s = strings.TrimPrefix(strings.TrimSpace(s), "v")
	end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	rest := ""
	if end >= 0 {
		s, rest = s[:end], strings.ToLower(strings.TrimLeft(s[end:], "-+._"))
	}
	for part := range strings.SplitSeq(strings.Trim(s, "."), ".") {
		n, err := strconv.ParseUint(part, 10, 64)
		if err != nil { // nothing between two dots, or a number beyond all use
			return nil, false
		}
		numbers = append(numbers, n)
	}
	return numbers, slices.ContainsFunc(previews, func(p string) bool { return strings.HasPrefix(rest, p) })
}

// mergeLaunch combines layers, given from high to low: the strictest of each.
func mergeLaunch(layers []*Requirements) Launch {
	var out Launch
	for _, l := range layers {
		for kind, action := range l.Launch.Actions {
			if out.Actions == nil {
				out.Actions = map[LaunchKind]LaunchAction{}
			}
			out.Actions[kind] = max(out.Actions[kind], action)
		}
		for agent, version := range l.Launch.Minimum {
			if out.Minimum == nil {
				out.Minimum = map[string]string{}
			}
			if before, said := out.Minimum[agent]; !said || Older(before, version) {
				out.Minimum[agent] = version
			}
		}
		for agent, sums := range l.Launch.Programs {
			if out.Programs == nil {
				out.Programs = map[string][]string{}
			}
			if before, said := out.Programs[agent]; said {
				sums = slices.DeleteFunc(slices.Clone(before), func(s string) bool { return !slices.Contains(sums, s) })
			}
			out.Programs[agent] = sums
		}
		out.Places = append(out.Places, l.Launch.Places...)
	}
	return out
}

// stricter takes from what a cohort of people says of starts what would be milder than
// without it: an action that is written counts before a default.
func (l Launch) stricter(than Launch) Launch {
	l.Actions = maps.Clone(l.Actions)
	maps.DeleteFunc(l.Actions, func(kind LaunchKind, a LaunchAction) bool {
		_, written := than.Actions[kind]
		return !written && a < LaunchWarn
	})
	return l
}

// allowedByCodex is what every layer allows that has the key. Cohorts of people, which
// all has beside files, cannot be the only ones to say so.
func allowedByCodex(files, all []*Requirements) map[string]bool {
	var out map[string]bool
	for _, key := range []string{"allowed_sandbox_modes", "allowed_approval_policies"} {
		said := func(l *Requirements) *document.Value {
			if l.Layer == nil {
				return nil
			}
			return l.Layer.Doc.Table.Get(key)
		}
		if !slices.ContainsFunc(files, func(l *Requirements) bool { return said(l) != nil }) {
			continue
		}
		var common []string // nil: no layer yet
		for _, l := range all {
			if v := said(l); v != nil {
				common = narrowed(common, append([]string{}, codex.Texts(v)...))
			}
		}
		for _, value := range common {
			if out == nil {
				out = map[string]bool{}
			}
			out[key+"="+value] = true
		}
	}
	return out
}
