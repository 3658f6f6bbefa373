// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestApprovalsOfSeveralLayers(t *testing.T) {
	layer := func(text string) *Requirements {
		t.Helper()
		r, err := Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for name, test := range map[string]struct {
		layers []string
		want   Approvals
	}{
		"nobody says anything": {[]string{"", ""}, DefaultApprovals()},
		"written counts before a default": {
			[]string{"", "[paddock.approvals]\nscopes = [\"always\", \"once\"]\nhigh_risk = []\nroot_may_answer = true\ntimeout = 600\n"},
			Approvals{Timeout: 600, Scopes: []string{"once", "always"}, RootMayAnswer: true, RootSet: true, HighRisk: []string{}},
		},
		"the strictest, whatever its place": {
			[]string{
				"[paddock.approvals]\nscopes = [\"once\", \"always\"]\nhigh_risk = [\"publish\"]\nroot_may_answer = false\ntimeout = 60\nauto_review = [\"project\"]\n",
				"[paddock.approvals]\nscopes = [\"once\", \"session\"]\nhigh_risk = [\"remote\"]\nroot_may_answer = true\ntimeout = 90\nauto_review = [\"project\", \"read-only\"]\n",
			},
			Approvals{Timeout: 60, Scopes: []string{"once"}, RootSet: true, HighRisk: []string{"publish", "remote"}, AutoReview: []string{"project"}},
		},
		"no scope in common leaves the narrowest": {
			[]string{"[paddock.approvals]\nscopes = [\"always\"]\n", "[paddock.approvals]\nscopes = [\"session\"]\n"},
			Approvals{Timeout: 120, Scopes: []string{"once"}, HighRisk: DefaultApprovals().HighRisk},
		},
		"Codex's own key ends automatic review": {
			[]string{"[paddock.approvals]\nauto_review = [\"project\"]\n", "allowed_approvals_reviewers = [\"user\"]\n"}, DefaultApprovals(),
		},
	} {
		t.Run(name, func(t *testing.T) {
			var layers []*Requirements
			for _, text := range test.layers {
				layers = append(layers, layer(text))
			}
			for range 2 {
				if diff := cmp.Diff(test.want, Merge(layers...).Approvals); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				layers[0], layers[1] = layers[1], layers[0]
			}
		})
	}
}

func TestApprovalsErrors(t *testing.T) {
	for text, want := range map[string]string{
		"timeout = 4":               "a number of seconds from 5 to 3600",
		"timeout = \"2m\"":          "a number of seconds from 5 to 3600",
		"scopes = []":               "an empty list would let nobody allow anything",
		"scopes = [\"forever\"]":    "unknown word \"forever\" (one of once, session, always)",
		"high_risk = [\"x\"]":       "one of credentials, destroy, privilege, publish, remote",
		"auto_review = [\"all\"]":   "one of read-only, registries, project",
		"root_may_answer = \"yes\"": "expected true or false",
		"guard = \"no\"":            "expected true or false",
		"time = 3":                  "unknown key \"time\"",
	} {
		_, err := Parse("f", []byte("[paddock.approvals]\n"+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: error %v, want line 2 and %q", text, err, want)
		}
	}
}

func TestHighRisk(t *testing.T) {
	for _, test := range []struct {
		class string
		line  string
		want  bool
	}{
		{"privilege", "sudo ls", true},
		{"privilege", "/usr/bin/sudo ls", true},
		{"privilege", "ls sudo", false},
		{"publish", "git push origin main", true},
		{"publish", "git -C /x push", true},
		{"publish", "git status", false},
		{"destroy", "mkfs.ext4 /dev/sda", true},
		{"remote", "ssh host", true},
		{"none", "ssh host", false},
	} {
		words := strings.Fields(test.line)
		if got := HighRisk(test.class, Command{Names: words[:1], Args: words[1:]}); got != test.want {
			t.Errorf("%s is of the class %s: %v", test.line, test.class, got)
		}
	}
}
