// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"slices"
	"strings"
	"testing"
)

// The file has 46 keys at the top level in codex-cli 0.169.0.
func TestKeysAreComplete(t *testing.T) {
	keys := Keys()
	if len(keys) != 46 {
		t.Errorf("%d keys", len(keys))
	}
	seen := map[string]bool{}
	for _, k := range keys {
		for _, name := range append([]string{k.Name}, k.Aliases...) {
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
		if !strings.HasSuffix(k.Meaning, ".") || k.JSON == "" {
			t.Errorf("%s is not described: %q, %q", k.Name, k.Meaning, k.JSON)
		}
		described(t, k.Name, k.Shape)
	}
}

// described fails unless every field below a shape says what it means.
func described(t *testing.T, key string, s *Shape) {
	t.Helper()
	for _, f := range s.Fields {
		if !strings.HasSuffix(f.Meaning, ".") {
			t.Errorf("%s.%s is not described: %q", key, f.Name, f.Meaning)
		}
		described(t, key+"."+f.Name, f.Shape)
	}
	for _, v := range s.Variants {
		if v.Shape != nil {
			described(t, key+"."+v.Name, v.Shape)
		}
	}
	if s.Item != nil {
		described(t, key, s.Item)
	}
}

// Each example is valid alone, sets its key and causes no warning.
func TestExamples(t *testing.T) {
	for _, k := range Keys() {
		p, err := read(Layer{Name: "f", Data: []byte(k.Example)}, Machine{Host: "devbox-1.example.com"})
		if err != nil {
			t.Errorf("%s: %v", k.Name, err)
			continue
		}
		if len(p.Warnings) > 0 {
			t.Errorf("%s: %v", k.Name, p.Warnings)
		}
		e, err := Compose(p)
		if err != nil {
			t.Errorf("%s: %v", k.Name, err)
			continue
		}
		if hints := e.Hints(); len(hints) > 0 {
			t.Errorf("%s: %v", k.Name, hints)
		}
		switch k.Name {
		case "rules":
			if len(e.Rules) == 0 {
				t.Error("no rules")
			}
		case "remote_sandbox_config":
			if got := Texts(e.Get("allowed_sandbox_modes")); !slices.Equal(got, []string{"read-only", "workspace-write"}) {
				t.Errorf("sandbox modes %q", got)
			}
		default:
			if e.Get(k.Name) == nil {
				t.Errorf("the example of %s does not set it:\n%s", k.Name, k.Example)
			}
		}
		if k.JSON != "-" && e.JSON()[k.JSON] == nil {
			t.Errorf("Codex would not show %s", k.JSON)
		}
	}
}

func TestFind(t *testing.T) {
	for dotted, want := range map[string]string{
		"allow_appshots":                           "allow_appshots",
		"network_proxy.domains":                    "domains",
		"experimental_network.domains.b":           "b",
		"mcp_servers.docs.identity.command":        "command",
		"mcp_servers.docs.identity.command.args":   "args",
		"hooks.PreToolUse.hooks.timeout":           "timeout",
		"otel.exporter.otlp-http.endpoint":         "endpoint",
		"permissions.acme.filesystem":              "filesystem",
		"permissions.filesystem.deny_read":         "deny_read",
		"rules.prefix_rules.pattern.any_of":        "any_of",
		"allowed_approval_policies.granular.rules": "rules",
		"nothing":                     "?nothing",
		"experimental_network.domain": "?domain",
		"allow_appshots.x":            "?x",
	} {
		_, way, bad, _ := Find(Keys(), strings.Split(dotted, "."))
		got := "?" + bad
		if bad == "" {
			got = way[len(way)-1].Name
		}
		if got != want {
			t.Errorf("%s: %s, want %s", dotted, got, want)
		}
	}
}
