// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"os"
	"testing"
)

const (
	teamRules = ruleFiles + "/team.rules"
	moreRules = ruleFiles + "/more.rules"

	starForbidGit = `prefix_rule(pattern = ["git"], decision = "forbidden", match = ["git push"])`
	starAllowLs   = `prefix_rule(pattern = ["ls"], decision = "allow")`
)

// Files of rules are requirements: what they forbid is forbidden to every agent,
// and what goes wrong with one of them never makes anything milder.
func TestRuleFiles(t *testing.T) {
	tr := newTree(t)
	tr.write(codexFile, "[paddock]\nmode = \"enforce\"\n")
	const holdsOpen = "enforce ls:allow git:allow true:allow net:allow"
	state := t.TempDir()
	l := NewLoader(tr.root, state, nil)
	steps := []struct {
		name      string
		do        func()
		holds     string
		files     int
		incidents incidents
	}{
		{"no directory", func() {}, holdsOpen, 0, nil},
		{"an empty one", func() { tr.dir(ruleFiles) }, holdsOpen, 0, nil},
		{"a file", func() { tr.write(teamRules, starForbidGit) }, holdsGit, 1, nil},
		{"another suffix is none", func() { tr.write(ruleFiles+"/old.rules.bak", "{") }, holdsGit, 1, nil},
		{"requirements above it", func() { tr.write(codexFile, forbidLs); tr.write(moreRules, starAllowLs) }, holdsBoth, 2, nil},
		{
			"broken: what it said goes on to hold, and the others hold", func() { tr.write(teamRules, "prefix_rule(") }, holdsBoth, 2,
			incidents{"/etc/codex/rules/team.rules|/etc/codex/rules/team.rules:1"},
		},
		{
			"its example does not match", func() {
				tr.write(teamRules, `prefix_rule(pattern = ["git"], match = ["got push"])`)
			}, holdsBoth, 2,
			incidents{"/etc/codex/rules/team.rules|got push"},
		},
		{
			"somebody's", func() { tr.write(teamRules, starAllowLs); tr.owner(teamRules, nobody) }, holdsBoth, 2,
			incidents{"/etc/codex/rules/team.rules|belongs to uid 65534"},
		},
		{
			"taken away by somebody", func() { tr.must(os.Remove(tr.path(teamRules))); tr.mode(ruleFiles, 0o777) }, holdsBoth, 2,
			incidents{"/etc/codex/rules/more.rules|can be written by", "/etc/codex/rules/team.rules|can be written by"},
		},
		{"withdrawn", func() { tr.mode(ruleFiles, 0o755) }, holdsLs, 1, nil},
		{
			"a new one that never said anything", func() { tr.write(ruleFiles+"/x.rules", "no_such_function()") }, holdsStrictest, 1,
			incidents{"/etc/codex/rules/x.rules|no_such_function"},
		},
		{"all withdrawn", func() { tr.must(os.RemoveAll(tr.path(ruleFiles))) }, holdsLs, 0, nil},
		{
			"nobody can tell what was there", func() { tr.dir(ruleFiles); tr.owner(ruleFiles, nobody) }, holdsStrictest, 0,
			incidents{"/etc/codex/rules|belongs to uid 65534"},
		},
	}
	for _, step := range steps {
		step.do()
		r := l.Load()
		if got := decide(r); got != step.holds || len(r.RuleFiles) != step.files {
			t.Errorf("%s: holds %s by %d files, want %s by %d", step.name, got, len(r.RuleFiles), step.holds, step.files)
		}
		t.Run(step.name, func(t *testing.T) { step.incidents.check(t, r.Incidents) })
	}
}

func TestWatchNoticesRuleFiles(t *testing.T) {
	tr := newTree(t)
	tr.write(codexFile, forbidLs)
	l := NewLoader(tr.root, t.TempDir(), nil)
	l.Load()
	results := watching(t, l)
	tr.write(paddockFile, "[paddock]\nmode = \"enforce\"\n") // the watch is there once this is reported
	next(t, results, "requirements")
	for _, step := range []struct {
		name  string
		do    func()
		holds string
	}{
		{"the first file, and its directory", func() { tr.write(teamRules, starForbidGit) }, holdsBoth},
		{"changed", func() { tr.write(teamRules, starAllowLs) }, holdsLs},
		{"another", func() { tr.write(moreRules, starForbidGit) }, holdsBoth},
		{"gone", func() { tr.must(os.Remove(tr.path(moreRules))) }, holdsLs},
	} {
		step.do()
		if got := decide(next(t, results, step.name)); got != step.holds {
			t.Errorf("%s: holds %s, want %s", step.name, got, step.holds)
		}
	}
}
