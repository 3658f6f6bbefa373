// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"os"
	"testing"

	"howett.net/plist"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

const (
	codexPlist   = managed + "/com.openai.codex.plist"
	paddockPlist = managed + "/dev.paddock.plist"
	annsPlist    = managed + "/ann/com.openai.codex.plist"
)

// force makes a file of managed preferences as macOS does.
func (tr tree) force(name, key, toml string) {
	tr.t.Helper()
	tr.write(name, string(list(tr.t, plist.BinaryFormat, map[string]any{key: base64Of(toml), "PayloadUUID": "1"})))
}

// The tree of a Mac, looked at wherever the test runs.
func TestManagedPreferences(t *testing.T) {
	tr := newTree(t)
	l := NewLoader(tr.root, t.TempDir(), nil)
	steps := []struct {
		name      string
		do        func()
		holds     string
		incidents incidents
	}{
		{"nothing is forced", func() { tr.dir(managed) }, holdsNothing, nil},
		{"for Codex, on the machine", func() { tr.force(codexPlist, requirementsKey, forbidLs) }, holdsLs, nil},
		{"for Paddock", func() { tr.force(paddockPlist, requirementsKey, forbidGit) }, holdsBoth, nil},
		{"another key says nothing", func() { tr.force(codexPlist, configKey, `sandbox_mode = "read-only"`) }, holdsGit, nil},
		{"on a user", func() { tr.force(annsPlist, requirementsKey, forbidLs) }, holdsBoth, nil},
		{
			"emptied: what it said goes on to hold", func() { tr.write(annsPlist, "") }, holdsBoth,
			incidents{"MDM com.openai.codex:requirements_toml_base64 of ann|neither a binary nor an XML"},
		},
		{
			"not a string", func() {
				tr.write(annsPlist, string(list(t, plist.XMLFormat, map[string]any{requirementsKey: []byte(forbidLs)})))
			}, holdsBoth,
			incidents{"MDM com.openai.codex:requirements_toml_base64 of ann|must be a string"},
		},
		{
			"written by somebody", func() { tr.force(annsPlist, requirementsKey, ""); tr.owner(annsPlist, nobody) }, holdsBoth,
			incidents{"MDM com.openai.codex:requirements_toml_base64 of ann|belongs to uid 65534"},
		},
		{
			"bad TOML", func() { tr.force(annsPlist, requirementsKey, broken) }, holdsBoth,
			incidents{"MDM com.openai.codex:requirements_toml_base64 of ann|line 2, column 57"},
		},
		{"the user is gone", func() { tr.must(os.RemoveAll(tr.path(managed + "/ann"))) }, holdsGit, nil},
		{
			"the directory is a file: nobody can tell what was forced", func() {
				tr.must(os.RemoveAll(tr.path(managed)))
				tr.write(managed, "x")
			}, holdsStrictest,
			incidents{
				"MDM com.openai.codex:config_toml_base64|not a directory", "MDM dev.paddock:requirements_toml_base64|not a directory",
				managed + "|not a directory",
			},
		},
	}
	for _, step := range steps {
		step.do()
		r := l.Load()
		if got := decide(r); got != step.holds {
			t.Errorf("%s: holds %s, want %s", step.name, got, step.holds)
		}
		t.Run(step.name, func(t *testing.T) { step.incidents.check(t, r.Incidents) })
		for _, layer := range r.Layers {
			if want := policy.FileOnly; !layer.LastKnownGood && layer.Provenance != want {
				t.Errorf("%s: %s is %s, want %s", step.name, layer.Source, layer.Provenance, want)
			}
		}
	}
}

func TestProvenanceOfLayers(t *testing.T) {
	tr := newTree(t)
	tr.force(codexPlist, requirementsKey, observing)
	tr.write(codexFile, observing)
	l := NewLoader(tr.root, t.TempDir(), nil)
	l.evidence = func() Evidence {
		return Evidence{profiles(t, computer, codexDomain, map[string]any{requirementsKey: base64Of(observing)}), []byte(fromMDM), []byte(enrolledText)}
	}
	var got []policy.Provenance
	for _, layer := range l.Load().Layers {
		got = append(got, layer.Provenance)
	}
	if len(got) != 2 || got[0] != policy.Absent || got[1] != policy.MDMVerified {
		t.Errorf("%v: the system's file has none, the profile's is verified", got)
	}
}

// Requirements may demand that it is sure who forced them. What is less sure does not
// count; what was sure enough before goes on to hold.
func TestRequireProvenance(t *testing.T) {
	const demand = "[paddock]\nrequire_provenance = \"mdm_verified\"\n"
	tr := newTree(t)
	state := t.TempDir()
	said := forbidGit
	l := NewLoader(tr.root, state, nil)
	l.evidence = func() Evidence {
		return Evidence{profiles(t, computer, codexDomain, map[string]any{requirementsKey: base64Of(said)}), []byte(fromMDM), []byte(enrolledText)}
	}
	const source = "MDM com.openai.codex:requirements_toml_base64"
	for _, step := range []struct {
		name      string
		do        func()
		holds     string
		incidents incidents
	}{
		{"anything goes", func() { tr.force(codexPlist, requirementsKey, forbidLs) }, holdsLs, nil},
		{
			"a demand, and it never was sure: what was kept is not either", func() { tr.write(paddockFile, demand) }, holdsStrictest,
			incidents{source + "|its provenance is file_only, and /etc/paddock/requirements.toml requires mdm_verified"},
		},
		{"the profile's own", func() { tr.force(codexPlist, requirementsKey, forbidGit) }, holdsGit, nil},
		{"somebody who is root changes it", func() { tr.force(codexPlist, requirementsKey, "") }, holdsGit, incidents{source + "|file_only"}},
		{"and breaks the demand", func() { tr.write(paddockFile, demand+"x") }, holdsGit, incidents{"/etc/paddock/requirements.toml|line 3", source + "|file_only"}},
		{"no demand any more", func() { tr.must(os.Remove(tr.path(paddockFile))) }, "enforce ls:allow git:allow true:allow net:allow", nil},
		{
			"a profile that demands it of itself", func() {
				said = forbidGit + "require_provenance = \"manual\"\n"
				tr.force(codexPlist, requirementsKey, said)
			}, holdsGit, nil,
		},
		{
			"and is not one any more", func() { said = "" }, holdsGit, incidents{source + "|its provenance is file_only, and " + source + " requires manual"},
		},
	} {
		step.do()
		r := l.Load()
		if got := decide(r); got != step.holds {
			t.Errorf("%s: holds %s, want %s", step.name, got, step.holds)
		}
		t.Run(step.name, func(t *testing.T) { step.incidents.check(t, r.Incidents) })
	}
}

// A user's directory appears when the user first logs in.
func TestWatchNoticesUsers(t *testing.T) {
	tr := newTree(t)
	tr.dir(managed)
	l := NewLoader(tr.root, t.TempDir(), nil)
	l.Load()
	results := watching(t, l)
	tr.force(codexPlist, requirementsKey, forbidGit) // the watch is there once this is reported
	if got := decide(next(t, results, "the machine")); got != holdsGit {
		t.Fatalf("the machine: holds %s", got)
	}
	tr.force(annsPlist, requirementsKey, forbidLs)
	if got := decide(next(t, results, "a new user")); got != holdsBoth {
		t.Fatalf("a new user: holds %s", got)
	}
	tr.force(annsPlist, requirementsKey, "")
	if got := decide(next(t, results, "a change for the user")); got != holdsGit {
		t.Errorf("a change for the user: holds %s", got)
	}
	tr.must(os.RemoveAll(tr.path(codexPlist)))
	if got := decide(next(t, results, "the machine's is withdrawn")); got != "enforce ls:allow git:allow true:allow net:allow" {
		t.Errorf("the machine's is withdrawn: holds %s", got)
	}
}
