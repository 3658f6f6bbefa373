// SPDX-License-Identifier: Apache-2.0

package session

import "strings"

// quickly tells most programs from agents without a look at each rule.
type quickly struct {
	names     map[string]bool // file names of agents and of what may run one
	packages  map[string]bool
	fragments []string // one of them is in every path that is recognised as a path
}

// MayBe reports whether an exec may be an agent's, by the name of the executable, the
// path it was called by and its own path, each as far as it is known. It says no only
// to what Recognise does not recognise.
func (p *Profiles) MayBe(name, called, exe string) bool {
	exe = strings.TrimSuffix(exe, deleted)
	if p.quickly.names[name] || p.quickly.names[base(called)] || p.quickly.names[base(exe)] ||
		p.quickly.packages[packageOf(exe)] || p.quickly.packages[packageOf(called)] {
		return true
	}
	for _, f := range p.quickly.fragments {
		if strings.Contains(exe, f) || strings.Contains(called, f) {
			return true
		}
	}
	return false
}

func (p *Profiles) prepareQuickly() {
	p.quickly.names, p.quickly.packages = map[string]bool{}, map[string]bool{}
	for _, c := range p.Candidates() {
		p.quickly.names[c.Name] = true
	}
	for i := range p.agents {
		for j := range p.agents[i].Match {
			m := &p.agents[i].Match[j]
			if len(m.Program) > 0 {
				continue
			}
			for _, pkg := range m.Package {
				p.quickly.packages[pkg] = true
			}
			if len(m.Package) > 0 {
				continue
			}
			for _, pattern := range m.Path {
				p.quickly.fragments = append(p.quickly.fragments, fragment(pattern))
			}
		}
	}
}

// fragment is the longest part of a path pattern that stands for itself.
func fragment(pattern string) string {
	longest := ""
	for part := range strings.SplitSeq(strings.ReplaceAll(pattern, versionMark, "*"), "*") {
		if part = strings.TrimPrefix(part, "/"); len(part) > len(longest) { // ** may be no directory at all
			longest = part
		}
	}
	return longest
}
