// SPDX-License-Identifier: Apache-2.0

package session

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// MaxName is the longest file name, in bytes, that the kernel side compares.
const MaxName = 63

const maxProfilesFile = 1 << 20

//go:embed profiles.toml
var embedded []byte

// Profiles say how agents are recognised. It does not change and may be used
// by many at once.
type Profiles struct {
	agents       []agent
	interpreters map[string]*interpreter // by file name
	launch       []launchRule            // of every agent
	quickly      quickly
}

// Embedded returns the profiles Paddock is built with.
func Embedded() (*Profiles, error) {
	return ParseProfiles("the embedded profiles", embedded)
}

// LoadProfiles reads profiles from a TOML file. They replace the embedded ones.
func LoadProfiles(path string) (*Profiles, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading agent profiles: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxProfilesFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading agent profiles %s: %w", path, err)
	}
	if len(data) > maxProfilesFile {
		return nil, fmt.Errorf("reading agent profiles %s: larger than %d bytes", path, maxProfilesFile)
	}
	return ParseProfiles(path, data)
}

// Names lists the agents, in the order of the profiles.
func (p *Profiles) Names() []string {
	names := make([]string, len(p.agents))
	for i := range p.agents {
		names[i] = p.agents[i].Name
	}
	return names
}

// Only returns the profiles of the named agents; of all when names is empty. An
// unknown name is an error: an agent somebody meant to govern would be free.
func (p *Profiles) Only(names []string) (*Profiles, error) {
	if len(names) == 0 {
		return p, nil
	}
	out := &Profiles{interpreters: p.interpreters, launch: p.launch}
	for _, name := range names {
		i := slices.IndexFunc(p.agents, func(a agent) bool { return a.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no profile for agent %q (there are %s)", name, strings.Join(p.Names(), ", "))
		}
		out.agents = append(out.agents, p.agents[i])
	}
	out.prepareQuickly()
	return out, nil
}

// Candidates lists the file names under which an agent may be started, sorted.
// One that is only ever found by its path (a file named after its version, say)
// is in it under the name it is called by.
func (p *Profiles) Candidates() []Candidate {
	all := map[string]Candidate{}
	add := func(c Candidate) {
		old := all[c.Name]
		c.Sure = c.Sure || old.Sure
		c.Interpreter = c.Interpreter || old.Interpreter
		all[c.Name] = c
	}
	for i := range p.agents {
		a := &p.agents[i]
		for _, name := range a.AlsoCalled {
			add(Candidate{Name: name})
		}
		for j := range a.Match {
			for _, name := range a.Match[j].Program {
				add(Candidate{Name: name, Sure: a.Match[j].sure()})
			}
		}
	}
	for name := range p.interpreters {
		add(Candidate{Name: name, Interpreter: true})
	}
	out := make([]Candidate, 0, len(all))
	for _, c := range all {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Candidate) int { return strings.Compare(a.Name, b.Name) })
	return out
}
