// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/policy/rulesfile"
)

// ruleFiles is where Codex reads rules that administrators write in files of their
// own. What users and projects have is theirs, and no requirement.
const ruleFiles = etc + "/codex/rules"

const (
	ruleSuffix = ".rules"
	keptRules  = "rules-" // begins the names of their last-known-good
)

// loadRules reads the rule files into r.Rules, and returns what they say together.
// A file that cannot be used is what it last said; Codex would drop them all.
func (l *Loader) loadRules(r *Result) *rulesfile.Policy {
	together, _ := rulesfile.Load(rulesfile.Env{}) // of no file
	var accepted []rulesfile.Source
	take := func(s source, data []byte) error {
		p, err := rulesfile.Load(rulesfile.Env{}, append(slices.Clip(accepted), rulesfile.Source{Name: s.name, Data: data})...)
		if err == nil {
			together = p
			accepted = append(accepted, rulesfile.Source{Name: s.name, Data: data})
		}
		return err
	}
	for _, s := range l.ruleSources() {
		file := Layer{Source: s.name, Path: under(l.root, s.path)}
		data, _, err := s.read(l.root)
		if errors.Is(err, fs.ErrNotExist) {
			if err := l.kept.forget(s); err != nil {
				r.Incidents = append(r.Incidents, Incident{s.name, err})
			}
			continue
		}
		if err == nil {
			err = take(s, data)
		}
		if err == nil {
			if err := l.kept.keep(s, data, policy.Absent); err != nil {
				r.Incidents = append(r.Incidents, Incident{s.name, err})
			}
		} else {
			r.Incidents = append(r.Incidents, Incident{s.name, err})
			if data, _, err = l.kept.recall(s, policy.Absent); err == nil {
				err = take(s, data)
			}
			if err != nil {
				r.Strictest = true
				if !errors.Is(err, fs.ErrNotExist) {
					r.Incidents = append(r.Incidents, Incident{s.name, fmt.Errorf("last-known-good: %w", err)})
				}
				continue
			}
			file.LastKnownGood, r.LastKnownGood = true, true
		}
		file.Digest = digest(data)
		r.RuleFiles = append(r.RuleFiles, file)
	}
	return together
}

// ReadRules returns what the rule files under root say now, together, and what cannot
// be used of them. Like Read, it keeps nothing and is for looking.
func ReadRules(root string) (*rulesfile.Policy, []Incident) {
	together, _ := rulesfile.Load(rulesfile.Env{}) // of no file
	var accepted []rulesfile.Source
	var incidents []Incident
	for _, s := range ruleSources(root, nil) {
		data, _, err := s.read(root)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			all := append(slices.Clip(accepted), rulesfile.Source{Name: s.name, Data: data})
			var p *rulesfile.Policy
			if p, err = rulesfile.Load(rulesfile.Env{}, all...); err == nil {
				together, accepted = p, all
			}
		}
		if err != nil {
			incidents = append(incidents, Incident{s.name, err})
		}
	}
	return together, incidents
}

// ruleSources lists the rule files there are, and those there were: they are
// withdrawn, or were taken away by somebody who may not.
func (l *Loader) ruleSources() []source {
	var were []string
	kept, _ := filepath.Glob(filepath.Join(l.kept.dir, keptDir, keptRules+"*"+ruleSuffix)) // only a bad pattern errs
	for _, file := range kept {
		name, err := url.PathUnescape(strings.TrimPrefix(filepath.Base(file), keptRules))
		if err == nil {
			were = append(were, name)
		}
	}
	return ruleSources(l.root, were)
}

// ruleSources lists the rule files under root, with names of others, in the order in
// which Codex reads them.
func ruleSources(root string, names []string) []source {
	entries, err := os.ReadDir(under(root, ruleFiles))
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ruleSuffix) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	var list []source
	for _, name := range slices.Compact(names) {
		list = append(list, source{
			name: "/etc/codex/rules/" + name, path: path.Join(ruleFiles, name), keep: keptRules + url.PathEscape(name),
		})
	}
	if len(list) > 0 {
		return list
	}
	// Nothing there: that counts if nobody can have taken it away. When it is the
	// directory above that is not locked, the requirements in that say so.
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		_, err = ReadLocked(root, path.Join(ruleFiles, "none"+ruleSuffix))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, above := ReadLocked(root, path.Join(path.Dir(ruleFiles), "none"+ruleSuffix)); !errors.Is(above, fs.ErrNotExist) {
		return nil
	}
	return []source{{name: "/etc/codex/rules", path: ruleFiles, keep: keptRules + "none", broken: err}}
}

// addRules puts the rules of files below those of requirements.
func addRules(req *policy.Requirements, files *rulesfile.Policy) *policy.Requirements {
	if len(files.Rules()) == 0 && len(files.Network()) == 0 {
		return req
	}
	out := *req
	out.Rules = rulesfile.Combine(req, files)
	out.HostRules = append(slices.Clip(out.HostRules), files.HostRules()...)
	out.Warnings = append(slices.Clip(out.Warnings), files.Warnings()...)
	return &out
}
