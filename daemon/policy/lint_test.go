// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

func TestLint(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files []string
		want  []string
	}{
		{"clean", []string{"allow_appshots = false\n[paddock]\nmode = 'observe'\n"}, nil},
		{"syntax", []string{"a = 1\nb =\n"}, []string{"0:2:4 error : not valid TOML: unexpected character U+000A at start of value"}},
		{
			"every key's first mistake",
			[]string{"allow_appshots = 1\nenforce_residency = 'eu'\n[rules]\nprefix_rules = []\n[features]\na = 1\n"},
			[]string{
				"0:1:18 error allow_appshots: expected true or false, found an integer (1)",
				"0:2:21 error enforce_residency: unknown value \"eu\" (one of: us)",
				"0:6:5 error features.a: expected true or false, found an integer (1)",
				"0:4:1 error rules.prefix_rules: prefix_rules cannot be empty; leave [rules] out to have none",
			},
		},
		{"Paddock's own", []string{"[paddock]\nmoed = 'observe'\n"}, []string{`0:2:1 error : unknown key "moed" in [paddock]; did you mean "mode"? (keys: agents, approvals, boundary, cohort, launch, mode, network, require_provenance, telemetry, unmatched)`}},
		{"unknown keys", []string{"allow_appshot = true\n[feedback]\nenable = true\n"}, []string{
			`0:1:1 warning allow_appshot: unknown key "allow_appshot" in requirements.toml is ignored, by Codex too; did you mean "allow_appshots"?`,
			`0:3:1 warning feedback.enable: unknown key "enable" in [feedback] is ignored, by Codex too; did you mean "enabled"? (keys: enabled)`,
		}},
		{"what Codex refuses of all layers", []string{"default_permissions = ':workspace'\n"}, []string{
			"0:1:23 error default_permissions: it needs allowed_permission_profiles, which is not there (Codex does not start)",
		}},
		{"a fragment beside its base", []string{"[allowed_permission_profiles]\n':workspace' = true\n':read-only' = true\n", "default_permissions = ':workspace'\n"}, nil},
		{"what has no effect", []string{"[experimental_network.domains]\n'https://a.com' = 'allow'\n'b.com' = 'deny'\n"}, []string{
			"0:1:2 warning experimental_network: without enabled = true Codex starts no proxy, and the rest of the table has no effect",
			`0:2:1 warning experimental_network.domains: "https://a.com" matches no host: write the host alone, without the scheme`,
		}},
		{"hosts Codex would not start on", []string{"[[remote_sandbox_config]]\nhostname_patterns = ['x']\nallowed_sandbox_modes = ['workspace-write']\n"}, []string{
			`0:3:1 warning remote_sandbox_config[0]: on hosts that match, Codex does not start: "read-only" must be among allowed_sandbox_modes`,
		}},
		{"in a cohort nobody is of", []string{"[[paddock.cohort]]\nname = 'a'\nusers = ['x']\nrequirements.allow_appshot = true\n"}, []string{
			`0:4:14 warning allow_appshot: unknown key "allow_appshot" in requirements.toml is ignored, by Codex too; did you mean "allow_appshots"?`,
		}},
	} {
		var layers []codex.Layer
		for i, text := range tt.files {
			layers = append(layers, codex.Layer{Name: fmt.Sprint(i), Data: []byte(text)})
		}
		var got []string
		for _, f := range Lint(Subject{}, layers...) {
			kind := "warning"
			if f.Error {
				kind = "error"
			}
			got = append(got, fmt.Sprintf("%s:%d:%d %s %s: %s", f.Source, f.Line, f.Column, kind, f.Key, f.Problem))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// What is in force says who set it, and keeps secrets.
func TestValues(t *testing.T) {
	low := as(t, "[otel.exporter.otlp-grpc]\nendpoint = 'g'\nheaders = {auth = 'hunter2'}\n[model_providers.p]\nname = 'p'\nexperimental_bearer_token = 'hunter2'\n[paddock.telemetry]\nendpoint = 'http://t'\nheaders = {auth = 'hunter2'}\n[[paddock.network.rules]]\ncidr = '10.0.0.0/8'\nports = [443, '80-90']\nprotocol = 'tcp'\ndecision = 'deny'\n", Subject{})
	high := as(t, "[paddock]\nunmatched = 'prompt'\nagents = ['codex']\n[new]\n'a b' = 1\n", Subject{})
	high.Layer.Name = "high"
	got := map[string]string{}
	for _, v := range Values(Merge(low, high), low, high) {
		got[v.Key] = fmt.Sprintf("%v %s:%d", v.Value, v.Source, v.Line)
	}
	want := map[string]string{
		"otel.exporter.otlp-grpc.endpoint": "g f:2", "otel.exporter.otlp-grpc.headers.auth": "[redacted] f:3",
		"model_providers.p.name": "p f:5", "model_providers.p.experimental_bearer_token": "[redacted] f:6",
		"paddock.telemetry.endpoint": "http://t f:8", "paddock.telemetry.headers.auth": "[redacted] f:9",
		"paddock.network.rules[0]": "deny 10.0.0.0/8 tcp port 443,80-90 f:10", "paddock.network.default": "allow default:0",
		"paddock.mode": "enforce default:0", "paddock.unmatched": "prompt high:2", "paddock.agents[0]": "codex high:3", `new."a b"`: "1 high:5",
		"paddock.approvals.timeout": "120 default:0", "paddock.approvals.scopes": "[once session] default:0",
		"paddock.approvals.high_risk": "[credentials privilege] default:0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Of lists that layers narrow or widen, the highest layer that had a say explains them.
func TestValuesOfApprovals(t *testing.T) {
	low := as(t, "[paddock.approvals]\ntimeout = 60\nscopes = ['once', 'session', 'always']\nhigh_risk = ['destroy']\n", Subject{})
	high := as(t, "[paddock.approvals]\ntimeout = 90\nscopes = ['once', 'session']\nhigh_risk = ['remote']\nguard = true\n", Subject{})
	high.Layer.Name = "high"
	got := map[string]string{}
	for _, v := range Values(Merge(low, high), low, high) {
		if strings.HasPrefix(v.Key, "paddock.approvals.") {
			got[v.Key] = fmt.Sprintf("%v %s:%d", v.Value, v.Source, v.Line)
		}
	}
	want := map[string]string{
		"paddock.approvals.timeout": "60 f:2", "paddock.approvals.scopes": "[once session] high:3",
		"paddock.approvals.high_risk": "[destroy remote] high:4", "paddock.approvals.guard": "true high:5",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Every key of [paddock] that is written is listed: what an admin does not see there, they take for not being in force.
func TestValuesListEveryKey(t *testing.T) {
	all := as(t, `
[paddock]
mode = 'observe'
unmatched = 'prompt'
agents = ['codex']
require_provenance = 'mdm_verified'
[paddock.approvals]
timeout = 60
scopes = ['once']
guard = true
root_may_answer = false
high_risk = ['destroy']
auto_review = ['read-only']
[paddock.boundary]
mode = 'read-only'
project = 'repository'
projects = ['/p']
writable = ['/w']
caches = false
temporary = true
landlock = false
fanotify = true
protected = ['/a']
unprotected = ['~/.bashrc']
unreadable = ['/b']
readable = ['~/.ssh']
sockets = ['/c']
reachable = ['/run/docker.sock']
[paddock.launch]
environment = 'warn'
flags = 'warn'
overrides = 'warn'
versions = 'warn'
minimum = { codex = '1.0.0' }
programs = { codex = ['`+strings.Repeat("a", 64)+`'] }
places = ['/usr/bin']
[paddock.network]
access = 'rules'
default = 'deny'
mode = 'limited'
unfamiliar = 'ask'
[[paddock.network.rules]]
cidr = '10.0.0.0/8'
decision = 'deny'
[paddock.telemetry]
endpoint = 'https://t'
headers = { a = 'b' }
headers_file = '/h'
ca_file = '/i'
cert_file = '/j'
key_file = '/k'
heartbeat = 60
prompts = 'omit'
outputs = 'omit'
arguments = 'omit'
commands = 'omit'
environment = 'omit'
secrets = 'redact'
[[paddock.telemetry.sinks]]
name = 'file'
type = 'ndjson'
file = '/var/log/x'
`, Subject{})
	listed := Values(Merge(all), all)
	check := func(key string) {
		if all.own(strings.Split(strings.TrimPrefix(key, "paddock."), ".")...) == nil {
			t.Errorf("%s is not written: write it above", key)
		}
		if !slices.ContainsFunc(listed, func(v Value) bool {
			return v.Line > 0 && (v.Key == key || strings.HasPrefix(v.Key, key+".") || strings.HasPrefix(v.Key, key+"["))
		}) {
			t.Errorf("%s is not listed, or not with its line", key)
		}
	}
	for _, f := range paddockShape.Fields {
		key := "paddock." + f.Name
		switch {
		case f.Name == "cohort": // shown as cohorts
		case f.Shape.Form == codex.Table:
			for _, inner := range f.Shape.Fields {
				check(key + "." + inner.Name)
			}
		default:
			check(key)
		}
	}
}
