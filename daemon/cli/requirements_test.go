// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// machine makes a root directory with files in /etc, as only root could.
func machine(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, "etc", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

// requirementsOf runs a command about a machine.
func requirementsOf(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	out, errs, code, _ = paddock(t, "/nonexistent", append([]string{"requirements"}, args...)...)
	return out, errs, code
}

var twoLayers = map[string]string{
	"codex/requirements.toml": `allowed_approval_policies = ["on-request"]
allowed_sandbox_modes = ["read-only"]
[rules]
prefix_rules = [{ pattern = [{ token = "git" }, { token = "push" }], decision = "forbidden" }]
[paddock]
mode = "observe"
[[paddock.cohort]]
name = "pilot"
hosts = ["ci-*"]
requirements.paddock.mode = "enforce"
`,
	"codex/managed_config.toml": "sandbox_mode = \"workspace-write\"\n",
	"hostname":                  "laptop-1\n",
}

func TestRequirementsShow(t *testing.T) {
	root := machine(t, twoLayers)
	out, _, code := requirementsOf(t, "show", "--root", root)
	want := `Layers, from low to high
  /etc/codex/requirements.toml    system
  /etc/codex/managed_config.toml  legacy

Cohorts
  pilot  no  host laptop-1 is none of hosts  /etc/codex/requirements.toml:7

Values
  allowed_approval_policies    ["on-request"]                   /etc/codex/requirements.toml:1
  allowed_sandbox_modes        ["read-only","workspace-write"]  /etc/codex/managed_config.toml:1
  rules.prefix_rules[0]        forbidden: git push              /etc/codex/requirements.toml:4
  paddock.mode                 observe                          /etc/codex/requirements.toml:6
  paddock.unmatched            allow                            default
  paddock.network.default      allow                            default
  paddock.approvals.timeout    120                              default
  paddock.approvals.scopes     ["once","session"]               default
  paddock.approvals.high_risk  ["credentials","privilege"]      default
  paddock.boundary.mode        read-only                        /etc/codex/requirements.toml:2
  paddock.boundary.project     repository                       default

`
	if diff := cmp.Diff(want, out); diff != "" || code != 0 {
		t.Errorf("code %d (-want +got):\n%s", code, diff)
	}
	out, _, _ = requirementsOf(t, "show", "--root", root, "--as", "host=ci-7,user=bob")
	if !strings.Contains(out, "pilot  YES  host ci-7 matches \"ci-*\"") || !strings.Contains(out, "enforce                          /etc/codex/requirements.toml:10") {
		t.Errorf("as ci-7:\n%s", out)
	}
}

func TestRequirementsShowJSON(t *testing.T) {
	root := machine(t, twoLayers)
	out, _, code := requirementsOf(t, "show", "--json", "--root", root)
	var got struct {
		Layers []struct{ Source, Kind string }
		Values []struct {
			Key, Source string
			Value       any
			Line        int
		}
		Problems []string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 {
		t.Fatal(code, err)
	}
	if len(got.Layers) != 2 || got.Layers[1].Kind != "legacy" || len(got.Problems) != 0 {
		t.Errorf("%+v", got)
	}
	if v := got.Values[1]; v.Key != "allowed_sandbox_modes" || v.Line != 1 || v.Source != "/etc/codex/managed_config.toml" || !cmp.Equal(v.Value, []any{"read-only", "workspace-write"}) {
		t.Errorf("%+v", v)
	}
}

func TestRequirementsShowLikeCodex(t *testing.T) {
	type answer struct {
		AppServerVersion   string
		ConfigRequirements struct{ Requirements map[string]any }
		Error              struct {
			Code    int
			Message string
			Data    struct{ Reason, Detail string }
		}
	}
	show := func(files map[string]string) (a answer, code int) {
		out, _, code := requirementsOf(t, "show", "--json", "--codex", "--root", machine(t, files))
		if err := json.Unmarshal([]byte(out), &a); err != nil {
			t.Fatal(err, out)
		}
		return a, code
	}
	a, code := show(twoLayers)
	r := a.ConfigRequirements.Requirements
	if code != 0 || a.AppServerVersion != "0.169.0" || !cmp.Equal(r["allowedSandboxModes"], []any{"read-only", "workspace-write"}) || len(r) != 34 {
		t.Errorf("code %d, %d keys, %+v", code, len(r), a)
	}
	if a, code := show(nil); code != 0 || a.ConfigRequirements.Requirements != nil || a.AppServerVersion == "" {
		t.Errorf("of nothing: code %d, %+v", code, a)
	}
	for text, detail := range map[string]string{
		"enforce_residency = \"eu\"\n":       "failed to parse requirements layer /etc/codex/requirements.toml: unknown variant `eu`, expected `us`\nin `enforce_residency`\n",
		"allowed_approvals_reviewers = []\n": "field `allowed_approvals_reviewers` cannot be empty",
	} {
		a, code := show(map[string]string{"codex/requirements.toml": text})
		if code != 1 || a.Error.Code != -32600 || a.Error.Data.Reason != "configLoad" || a.Error.Data.Detail != detail || a.Error.Message != "failed to load configuration: "+detail {
			t.Errorf("%s: code %d, %+v", text, code, a.Error)
		}
	}
}

// A root that is mistyped is not one without requirements.
func TestRequirementsOfNoRoot(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for _, args := range [][]string{{"show"}, {"show", "--json"}, {"explain", "rules"}} {
		out, errs, code := requirementsOf(t, append(args, "--root", none)...)
		if code != ExitUsage || out != "" || !strings.Contains(errs, "--root") || !strings.Contains(errs, none) {
			t.Errorf("%q: code %d, %s%s", args, code, out, errs)
		}
	}
}

// What cannot be used is said, and the exit code says it too.
func TestRequirementsShowProblems(t *testing.T) {
	for text, want := range map[string]string{
		"[paddock]\nmode = \"enfroce\"\n":                  "line 2, column 8: paddock.mode: unknown mode \"enfroce\"; did you mean \"enforce\"?",
		"allowed_sandbox_modes = [\"external-sandbox\"]\n": "with these layers Codex does not start: reading requirements layer /etc/codex/requirements.toml: line 1, column 1: allowed_sandbox_modes: \"read-only\" must be among them",
	} {
		out, _, code := requirementsOf(t, "show", "--root", machine(t, map[string]string{"codex/requirements.toml": text}))
		if code != ExitError || !strings.Contains(out, want) {
			t.Errorf("%q: code %d\n%s", text, code, out)
		}
	}
	unlocked := machine(t, twoLayers)
	if err := os.Chmod(filepath.Join(unlocked, "etc/codex/requirements.toml"), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, _, code := requirementsOf(t, "show", "--root", unlocked); code != ExitError || !strings.Contains(out, "not a locked requirements file") {
		t.Errorf("code %d\n%s", code, out)
	}
}

func TestRequirementsExplain(t *testing.T) {
	root := machine(t, twoLayers)
	for key, want := range map[string][]string{
		"allowed_sandbox_modes": {"\"read-only\" must be among them", `a list of: "read-only", "workspace-write", "danger-full-access", "external-sandbox"`, "enforced by     Codex\n", "/etc/codex/managed_config.toml:1"},
		"rules":                 {"Codex, and Paddock for every agent", "the strictest that matches decides", "rules.prefix_rules[0]  forbidden: git push", "Example"},
		"paddock.mode":          {`"observe", "enforce"`, "Paddock, for every agent", "observe  /etc/codex/requirements.toml:6"},
		"network_proxy.domains": {"experimental_network.domains", "not set"},
		"feature_requirements":  {"also called", "feature_requirements"},
		"chatgpt_base_url":      {"cloud layers cannot set it"},
		`mcp_servers."a b".identity.command.args`: {"One matcher for each argument", "required"},
	} {
		out, errs, code := requirementsOf(t, "explain", key, "--root", root)
		for _, w := range want {
			if code != 0 || !strings.Contains(out, w) {
				t.Errorf("%s: code %d, no %q in\n%s%s", key, code, w, out, errs)
			}
		}
	}
	for key, want := range map[string]string{
		"allowed_sandbox_mode":        `there is no key "allowed_sandbox_mode"; did you mean "allowed_sandbox_modes"?`,
		"experimental_network.domain": `there is no key "domain"; did you mean "domains"?`,
		"a b":                         "not a dotted key",
	} {
		if _, errs, code := requirementsOf(t, "explain", key, "--root", root); code != ExitUsage || !strings.Contains(errs, want) {
			t.Errorf("%s: code %d, %s", key, code, errs)
		}
	}
}

func TestRequirementsLint(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	clean, warns := file("clean.toml", "allow_appshots = false\n"), file("warns.toml", "allow_appshot = false\n")
	wrong, legacy := file("wrong.toml", "\nallow_appshots = 0\n"), file("managed_config.toml", "sandbox_mode = \"external-sandbox\"\n")
	for _, tt := range []struct {
		args []string
		code int
		out  string
	}{
		{[]string{clean}, 0, ""},
		{[]string{"--strict", clean}, 0, ""},
		{[]string{warns}, 0, warns + ":1:1: warning: unknown key \"allow_appshot\" in requirements.toml is ignored, by Codex too; did you mean \"allow_appshots\"?\n"},
		{[]string{"--strict", warns}, 1, "warning"},
		{[]string{wrong}, 2, wrong + ":2:18: error: allow_appshots: expected true or false, found an integer (0)\n"},
		{[]string{"--strict", warns, wrong}, 2, "error"},
		{[]string{legacy}, 2, legacy + ":1:16: error: sandbox_mode: unknown value \"external-sandbox\""},
		{[]string{filepath.Join(dir, "none")}, 2, ""},
		{nil, 2, ""},
		{[]string{"--wrong"}, 2, ""},
		{[]string{"--json", clean}, 0, "[]\n"},
	} {
		out, _, code := requirementsOf(t, append([]string{"lint"}, tt.args...)...)
		if code != tt.code || !strings.Contains(out, tt.out) || tt.out == "" && out != "" {
			t.Errorf("%v: code %d, want %d\n%s", tt.args, code, tt.code, out)
		}
	}
}

func TestRequirementsSchema(t *testing.T) {
	out, _, code := requirementsOf(t, "schema")
	var schema struct {
		Schema     string `json:"$schema"`
		Properties map[string]struct{ Description string }
	}
	if err := json.Unmarshal([]byte(out), &schema); err != nil || code != 0 {
		t.Fatal(code, err)
	}
	if schema.Schema != "https://json-schema.org/draft/2020-12/schema" || schema.Properties["paddock"].Description == "" || len(schema.Properties) != 49 {
		t.Errorf("%s with %d keys", schema.Schema, len(schema.Properties))
	}
}

// What a shell offers: keys level by level, what --as takes, files that fit.
func TestCompletion(t *testing.T) {
	for line, want := range map[string][]string{
		"requirements explain allowed_san":                     {"allowed_sandbox_modes"},
		"requirements explain experimental_network.un":         {"experimental_network.unix_sockets"},
		"requirements explain paddock.network.rules.p":         {"paddock.network.rules.ports", "paddock.network.rules.protocol"},
		"requirements explain nothing.":                        nil,
		"requirements explain allowed_sandbox_modes paddock.m": nil,
		"requirements show --as us":                            {"user="},
		"requirements show --as user=alice,gr":                 {"user=alice,group="},
		"rules check --rules ":                                 {"rules"},
		"requirements lint ":                                   {"toml"},
	} {
		out, _, _, _ := paddock(t, "", append([]string{"__complete"}, strings.Split(line, " ")...)...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if got := lines[:len(lines)-1]; !slices.Equal(got, want) {
			t.Errorf("%s: offered %q, want %q", line, got, want)
		}
	}
}
