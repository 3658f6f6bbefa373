// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// SandboxMode is how much of the file system a session may write. Of the modes
// that are a boundary at all, the greater one allows more.
type SandboxMode int

const (
	// NoBoundary judges no file: requirements say nothing about it.
	NoBoundary SandboxMode = iota
	// ReadOnly lets a session write nowhere.
	ReadOnly
	// WorkspaceWrite lets it write in its project, temporary directories, the caches
	// of tools, and where requirements say.
	WorkspaceWrite
	// FullAccess lets it write everywhere but to what is Paddock's own. What may not
	// be read stays so.
	FullAccess
)

// String returns Codex's word for the mode.
func (m SandboxMode) String() string {
	switch m {
	case NoBoundary:
		return "none"
	case ReadOnly:
		return "read-only"
	case WorkspaceWrite:
		return "workspace-write"
	case FullAccess:
		return "danger-full-access"
	}
	return fmt.Sprintf("SandboxMode(%d)", int(m))
}

// ProjectRule says what a session's project directory is. The greater one is the
// stricter.
type ProjectRule int

const (
	// Repository is the work tree the session began in, or, where there is none, the
	// directory.
	Repository ProjectRule = iota
	// WorkingDirectory is the directory the session began in.
	WorkingDirectory
	// NoProject gives a session no directory of its own.
	NoProject
)

// String returns the word used in requirements files.
func (p ProjectRule) String() string {
	switch p {
	case Repository:
		return "repository"
	case WorkingDirectory:
		return "directory"
	case NoProject:
		return "none"
	}
	return fmt.Sprintf("ProjectRule(%d)", int(p))
}

// Boundary says where sessions may write, what they may not read, and which paths
// stay protected: what is written in requirements, without what is built in. See
// Rules.
type Boundary struct {
	// Table says that there is a table for it. Without one, Codex's keys put the
	// boundary into force, and nothing is said about exceptions.
	Table bool
	// Guard says that only sockets are judged: see Requirements.Limits.
	Guard   bool
	Mode    SandboxMode
	Project ProjectRule
	// Projects are lists of directories, one of each layer that has one: a project
	// must lie in a directory of every list. Nil: anywhere.
	Projects [][]Pattern
	// Writable are further places to write to.
	Writable []Pattern
	// NoCaches and NoTemporary take the caches of tools and the temporary
	// directories out of what may be written.
	NoCaches, NoTemporary bool
	// NoLandlock and NoFanotify do without what stands in for security hooks on kernels
	// where these cannot be had.
	NoLandlock, NoFanotify bool
	// Protected and Unreadable are added to what is built in. A relative pattern is
	// below every project.
	Protected, Unreadable []Pattern
	// Unprotected are patterns of the built-in protected ones that may be written.
	Unprotected []Pattern
	// Readable are patterns of the built-in unreadable ones that may be read.
	Readable []Pattern
	// Sockets are added to those of services that would act for a session outside of
	// it; Reachable are taken out of those that are built in.
	Sockets, Reachable []Pattern
}

// PathKind is what a rule about a path says.
type PathKind int

// What a rule about a path may say.
const (
	Writable PathKind = iota
	Protected
	Unreadable
	Broker
)

// String is the word for it in events.
func (k PathKind) String() string {
	return [...]string{"writable", "protected", "unreadable", "broker"}[k]
}

// PathRule is what holds for a path and all below it. Of the rules about writing,
// that of the nearest directory decides; what is unreadable stays so whatever is
// said of a directory in it.
type PathRule struct {
	Pattern
	Kind PathKind
	// Agent names whose own program the rule does not bind; AnyAgent: every agent's.
	// What the agent starts is always bound.
	Agent string
}

// AnyAgent stands for every agent.
const AnyAgent = "*"

// Relative reports whether the rule is about what is below each project.
func (r PathRule) Relative() bool {
	return !strings.HasPrefix(r.Text, "/") && !strings.HasPrefix(r.Text, "~/")
}

// Rules returns everything the boundary says about paths, with what is built in.
func (b Boundary) Rules() []PathRule {
	if b.Mode == NoBoundary {
		return nil
	}
	var out []PathRule
	if b.Guard {
		for _, text := range brokerPaths {
			out = append(out, PathRule{Pattern: Pattern{Text: text, Source: byDefault}, Kind: Broker})
		}
		return out
	}
	add := func(kind PathKind, patterns []Pattern) {
		for _, p := range patterns {
			out = append(out, PathRule{Pattern: p, Kind: kind})
		}
	}
	add(Writable, b.Writable)
	add(Protected, b.Protected)
	add(Unreadable, b.Unreadable)
	add(Broker, b.Sockets)
	has := func(list []Pattern, text string) bool {
		return slices.ContainsFunc(list, func(p Pattern) bool { return p.Text == text })
	}
	for _, r := range builtIn() {
		switch {
		case r.Kind == Protected && has(b.Unprotected, r.Text):
		case r.Kind == Unreadable && has(b.Readable, r.Text), r.Kind == Broker && has(b.Reachable, r.Text):
		case r.Kind == Writable && b.NoCaches && slices.Contains(cachePaths, r.Text):
		case r.Kind == Writable && b.NoTemporary && slices.Contains(temporaryPaths, r.Text):
		default:
			out = append(out, r)
		}
	}
	return out
}

// MayBeProject reports whether a directory, given as an absolute path, may be a
// session's project: not the root, not what belongs to the system or holds the home
// directories of all, and in every list of Projects. home is that of the session's
// user.
func (b Boundary) MayBeProject(dir, home string) bool {
	if b.Project == NoProject || !path.IsAbs(dir) || path.Clean(dir) != dir || dir == "/" {
		return false
	}
	for _, system := range systemDirectories {
		if within(dir, system) && !within(dir, home) {
			return false
		}
	}
	if slices.Contains(sharedDirectories, dir) || within(home, dir) && home != dir {
		return false
	}
	if b.Keeps(dir, home) { // a project inside what is protected would open it
		return false
	}
	for _, list := range b.Projects {
		if !slices.ContainsFunc(list, func(p Pattern) bool { return within(dir, expand(p.Text, home)) }) {
			return false
		}
	}
	return true
}

// Keeps reports whether a path is, or lies in, what is protected or unreadable.
func (b Boundary) Keeps(path, home string) bool {
	return slices.ContainsFunc(b.Rules(), func(r PathRule) bool {
		return (r.Kind == Protected || r.Kind == Unreadable) && !r.Relative() && within(path, expand(r.Text, home))
	})
}

func expand(pattern, home string) string {
	if rest, ok := strings.CutPrefix(pattern, "~/"); ok {
		return path.Join(home, rest)
	}
	return pattern
}

// within reports whether a path is dir or below it, as text.
func within(p, dir string) bool {
	return dir != "" && (p == dir || dir == "/" || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/"))
}

// mergeBoundaries makes the boundary that lets a session do what every one of
// layers, from high to low, lets it do. A layer without a boundary does not speak.
func mergeBoundaries(layers []*Requirements) Boundary {
	var out Boundary
	first := true
	for _, l := range layers {
		b := l.Boundary
		if b.Mode == NoBoundary {
			continue
		}
		if first {
			out, first = b, false
			out.Protected, out.Unreadable = slices.Clip(b.Protected), slices.Clip(b.Unreadable)
			out.Projects, out.Sockets = slices.Clip(b.Projects), slices.Clip(b.Sockets)
			continue
		}
		out.Mode = min(out.Mode, b.Mode)
		out.Project = max(out.Project, b.Project)
		out.Projects = append(out.Projects, b.Projects...)
		out.NoCaches = out.NoCaches || b.NoCaches
		out.NoTemporary = out.NoTemporary || b.NoTemporary
		out.Protected = append(out.Protected, b.Protected...)
		out.Unreadable = append(out.Unreadable, b.Unreadable...)
		out.Sockets = append(out.Sockets, b.Sockets...)
		switch {
		case !b.Table:
		case !out.Table:
			out.Table, out.Writable, out.Unprotected, out.Readable, out.Reachable = true, b.Writable, b.Unprotected, b.Readable, b.Reachable
			out.NoLandlock, out.NoFanotify = b.NoLandlock, b.NoFanotify
		default:
			out.NoLandlock, out.NoFanotify = out.NoLandlock && b.NoLandlock, out.NoFanotify && b.NoFanotify
			same := func(a, b string) bool { return a == b }
			out.Writable = bothHave(out.Writable, b.Writable, within)
			out.Unprotected = bothHave(out.Unprotected, b.Unprotected, same)
			out.Readable = bothHave(out.Readable, b.Readable, same)
			out.Reachable = bothHave(out.Reachable, b.Reachable, same)
		}
	}
	return out
}

// bothHave returns those patterns of either list that the other one has, or has
// something around.
func bothHave(a, b []Pattern, covers func(inner, outer string) bool) []Pattern {
	out := []Pattern{}
	in := func(p Pattern, list []Pattern) bool {
		return slices.ContainsFunc(list, func(o Pattern) bool { return covers(p.Text, o.Text) })
	}
	for _, p := range a {
		if in(p, b) {
			out = append(out, p)
		}
	}
	for _, p := range b {
		if in(p, a) && !slices.ContainsFunc(out, func(o Pattern) bool { return o.Text == p.Text }) {
			out = append(out, p)
		}
	}
	return out
}
