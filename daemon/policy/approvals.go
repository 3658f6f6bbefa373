// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"path"
	"slices"
	"strings"
)

// Approvals is how people are asked: the table [paddock.approvals]. Of a single layer
// it has what is written there; merged, it is complete.
type Approvals struct {
	// Timeout is how long a question waits, in seconds; then it is denied. 0: not
	// written.
	Timeout int
	// Scopes are what a person may allow, from the narrowest. nil: not written.
	Scopes []string
	// RootMayAnswer lets root answer for the user who is asked, if RootSet.
	RootMayAnswer, RootSet bool
	// Unguarded lets sessions reach where people answer, if GuardSet, and otherwise they
	// are kept from it whether or not anything is asked; see Requirements.Limits.
	Unguarded, GuardSet bool
	// HighRisk are classes of commands that need proof of who allows them. nil: not
	// written.
	HighRisk []string
	// AutoReview are classes of questions that the reviewer may answer. nil: not
	// written, and none.
	AutoReview []string
}

// The scopes of an answer, from the narrowest.
var approvalScopes = []string{"once", "session", "always"}

// The classes of questions a reviewer may answer.
var reviewClasses = []string{"read-only", "registries", "project"}

// defaultTimeout is in seconds.
const defaultTimeout = 120

// DefaultApprovals returns what holds where no layer says otherwise.
func DefaultApprovals() Approvals {
	return Approvals{
		Timeout: defaultTimeout, Scopes: slices.Clone(approvalScopes[:2]), HighRisk: []string{"credentials", "privilege"},
	}
}

// mergeApprovals combines layers, given from high to low: the shortest time, the
// scopes and reviews that all layers with a list permit, the risks that any names.
// A default does not outvote what a layer says.
func mergeApprovals(layers []*Requirements) Approvals {
	var out Approvals
	for _, l := range layers {
		a := l.Approvals
		if a.Timeout != 0 && (out.Timeout == 0 || a.Timeout < out.Timeout) {
			out.Timeout = a.Timeout
		}
		if a.RootSet {
			out.RootMayAnswer = a.RootMayAnswer && (!out.RootSet || out.RootMayAnswer)
			out.RootSet = true
		}
		if a.GuardSet {
			out.Unguarded = a.Unguarded && (!out.GuardSet || out.Unguarded)
			out.GuardSet = true
		}
		out.Scopes = narrowed(out.Scopes, a.Scopes)
		out.AutoReview = narrowed(out.AutoReview, a.AutoReview)
		if a.HighRisk != nil {
			out.HighRisk = widened(out.HighRisk, a.HighRisk)
		}
	}
	return out.Complete()
}

// Complete fills in what no layer has written. What layers have in common is never
// nothing: the narrowest scope is left.
func (a Approvals) Complete() Approvals {
	defaults := DefaultApprovals()
	if a.Timeout == 0 {
		a.Timeout = defaults.Timeout
	}
	if a.Scopes == nil {
		a.Scopes = defaults.Scopes
	}
	if a.HighRisk == nil {
		a.HighRisk = defaults.HighRisk
	}
	if len(a.Scopes) == 0 {
		a.Scopes = approvalScopes[:1:1]
	}
	return a
}

// narrowed is what both lists have; nil has no say.
func narrowed(a, b []string) []string {
	switch {
	case b == nil:
		return a
	case a == nil:
		return b
	}
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
}

// widened is what either list has.
func widened(a, b []string) []string {
	out := append(append([]string{}, a...), b...)
	slices.Sort(out)
	return slices.Compact(out)
}

// riskClasses are the classes of commands that may be called a high risk: the
// programs, and for some of them the first words that make them one.
var riskClasses = map[string]map[string][]string{
	"credentials": {
		"pass": nil, "gpg": nil, "gpg2": nil, "ssh-add": nil, "ssh-keygen": nil, "secret-tool": nil, "security": nil, "op": nil, "bw": nil,
		"keyctl": nil, "vault": nil, "aws-vault": nil, "git-credential": nil, "kinit": nil, "certutil": nil,
		"git": {"credential"}, "gh": {"auth", "secret"}, "npm": {"token", "login", "adduser"}, "docker": {"login"},
	},
	"destroy": {
		"shred": nil, "mkfs": nil, "dd": nil, "wipefs": nil, "fdisk": nil, "parted": nil, "blkdiscard": nil,
		"terraform": {"destroy", "apply"}, "kubectl": {"delete", "drain"}, "git": {"clean", "reset"},
	},
	"privilege": {
		"sudo": nil, "su": nil, "doas": nil, "pkexec": nil, "run0": nil, "runuser": nil, "systemd-run": nil, "machinectl": nil, "crontab": nil,
	},
	"publish": {
		"git": {"push", "send-email"}, "npm": {"publish", "unpublish"}, "pnpm": {"publish"}, "yarn": {"publish", "npm"}, "cargo": {"publish", "yank"},
		"twine": {"upload"}, "gem": {"push", "yank"}, "docker": {"push"}, "podman": {"push"}, "gh": {"release", "pr", "repo", "gist"},
		"mvn": {"deploy"}, "poetry": {"publish"}, "uv": {"publish"}, "helm": {"push"},
	},
	"remote": {
		"ssh": nil, "scp": nil, "sftp": nil, "rsync": nil, "kubectl": nil, "aws": nil, "gcloud": nil, "az": nil, "terraform": nil,
		"ansible": nil, "ansible-playbook": nil, "helm": nil, "mosh": nil, "telnet": nil,
	},
}

// RiskClasses lists the classes that may be called a high risk.
func RiskClasses() []string {
	var out []string
	for class := range riskClasses {
		out = append(out, class)
	}
	slices.Sort(out)
	return out
}

// HighRisk reports whether a command belongs to a class of RiskClasses. A word counts
// wherever it stands among the arguments: options before it change nothing.
func HighRisk(class string, c Command) bool {
	for _, name := range c.Names {
		name = path.Base(name)
		words, known := riskClasses[class][name]
		if !known && strings.HasPrefix(name, "mkfs.") {
			words, known = riskClasses[class]["mkfs"]
		}
		if !known {
			continue
		}
		if len(words) == 0 || slices.ContainsFunc(c.Args, func(arg string) bool { return slices.Contains(words, arg) }) {
			return true
		}
	}
	return false
}
