// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"os"
	"slices"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

const (
	managedConfig     = etc + "/codex/managed_config.toml"
	legacyName        = "/etc/codex/managed_config.toml"
	mdmLegacyName     = "MDM com.openai.codex:config_toml_base64"
	onlyUser          = "approvals_reviewer = \"user\"\n"
	userAndAutoReview = "allowed_approvals_reviewers = [\"user\", \"auto_review\"]\n"
)

// managed_config.toml is a layer like another: it ranks above the machine's own file
// and below MDM, it is locked, and what it last said goes on to hold.
func TestLegacy(t *testing.T) {
	tr := newTree(t)
	l := NewLoader(tr.root, t.TempDir(), nil)
	for _, step := range []struct {
		name      string
		do        func()
		layers    []string // that are used, in their order
		approvals []string // of Codex
		auto      bool     // may a program approve
		strictest bool
		incidents incidents
	}{
		{"no such file", func() { tr.write(codexFile, userAndAutoReview+"allowed_approval_policies = [\"on-request\"]\n") }, []string{codexName}, []string{"on-request"}, true, false, nil},
		{"one", func() { tr.write(managedConfig, "approval_policy = \"never\"\nmodel = \"x\"\n"+onlyUser) }, []string{codexName, legacyName}, []string{"never"}, false, false, nil},
		{
			"what Codex does not start with", func() { tr.write(managedConfig, "approval_policy = \"untrusted\"\n") },
			[]string{codexName, legacyName},
			[]string{"never"},
			false, false,
			incidents{legacyName + "|line 1, column 19: approval_policy: \"untrusted\" is no longer supported"},
		},
		{
			"it is writable", func() { tr.write(managedConfig, onlyUser); tr.mode(managedConfig, 0o664) },
			[]string{codexName, legacyName},
			[]string{"never"},
			false, false,
			incidents{legacyName + "|chmod go-w it"},
		},
		{"withdrawn", func() { tr.must(os.Remove(tr.path(managedConfig))) }, []string{codexName}, []string{"on-request"}, true, false, nil},
		{
			"its directory is not locked, and it was never there", func() { tr.mode(etc+"/codex", 0o777) },
			[]string{codexName},
			[]string{"on-request"},
			true, false,
			incidents{codexName + "|chmod go-w it"},
		},
		{
			"new, and never good", func() { tr.mode(etc+"/codex", 0o755); tr.write(managedConfig, "sandbox_mode = 7\n") },
			[]string{codexName},
			nil, false, true,
			incidents{legacyName + "|sandbox_mode"},
		},
		{
			"on a Mac, forced as well", func() {
				tr.write(managedConfig, onlyUser)
				tr.force(codexPlist, configKey, "approval_policy = \"on-request\"\n")
			}, []string{codexName, legacyName, mdmLegacyName}, []string{"on-request"}, false, false, nil,
		},
	} {
		step.do()
		r := l.Load()
		var used []string
		for _, layer := range r.Layers {
			used = append(used, layer.Source)
		}
		if !slices.Equal(used, step.layers) || r.Strictest != step.strictest {
			t.Errorf("%s: layers %q, strictest %t", step.name, used, r.Strictest)
		}
		if !step.strictest {
			if got := codex.Texts(r.Requirements.Codex.Get("allowed_approval_policies")); !slices.Equal(got, step.approvals) {
				t.Errorf("%s: approval policies %q, want %q", step.name, got, step.approvals)
			}
			if got := r.Requirements.AutoReview(); got != step.auto {
				t.Errorf("%s: a program may approve: %t", step.name, got)
			}
		}
		t.Run(step.name, func(t *testing.T) { step.incidents.check(t, r.Incidents) })
	}
}

const codexName = "/etc/codex/requirements.toml"

func TestWatchNoticesLegacy(t *testing.T) {
	tr := newTree(t)
	tr.write(codexFile, userAndAutoReview)
	l := NewLoader(tr.root, t.TempDir(), nil)
	l.Load()
	results := watching(t, l)
	tr.write(managedConfig, onlyUser)
	if r := next(t, results, "managed_config.toml"); r.Requirements.AutoReview() {
		t.Errorf("layers %v", r.Layers)
	}
}
