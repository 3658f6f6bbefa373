// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// notTheLayer leaves out what tests of what Paddock enforces do not look at.
var notTheLayer = cmpopts.IgnoreFields(Requirements{}, "Layer", "Codex")

func TestParse(t *testing.T) {
	req, err := Parse("f", []byte(`# Codex's own keys are not ours to judge.
allowed_approval_policies = ["on-request"]
[rules]
prefix_rules = [
  { pattern = [{ token = "git" }, { any_of = ["push", "fetch"] }], decision = "forbidden", justification = "CI does that." },
  { pattern = [{ token = "rm" }], decision = "prompt" },
  {
    pattern = [{ token = "Sudo" }],
    decision = "prompt-user",
    canonical_matching = true,
  },
]
[features]
hooks = true
[paddock]
mode = "observe"
unmatched = "prompt"
agents = ["codex", "claude-code"]
[paddock.network]
access = "rules"
default = "deny"
[[paddock.network.rules]]
cidr = "10.0.0.0/8"
decision = "allow"
[[paddock.network.rules]]
cidr = "2001:db8::1"
ports = [443, "8000-8100", 0x50, "53"]
protocol = "udp"
decision = "deny"
justification = "no QUIC"
[paddock.telemetry]
endpoint = "https://otel.example.com:4318/base"
headers = { Authorization = "Bearer x", "x-Team" = "a b" }
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Requirements{
		Mode: Observe, ModeSet: true, Unmatched: Prompt, Agents: []string{"codex", "claude-code"},
		Rules: []PrefixRule{
			{Pattern: [][]string{{"git"}, {"push", "fetch"}}, Decision: Forbidden, Justification: "CI does that.", Source: "f", Line: 5},
			{Pattern: [][]string{{"rm"}}, Decision: Prompt, Source: "f", Line: 6},
			{Pattern: [][]string{{"Sudo"}}, Decision: Prompt, HumanOnly: true, Canonical: true, Source: "f", Line: 7},
		},
		Network: Network{Default: NetDeny, Rules: []NetRule{
			{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Protocols: AnyProtocol, Decision: NetAllow, Source: "f", Line: 22},
			{
				Prefix: netip.MustParsePrefix("2001:db8::1/128"), Ports: []PortRange{{443, 443}, {8000, 8100}, {80, 80}, {53, 53}},
				Protocols: UDP, Decision: NetDeny, Justification: "no QUIC", Source: "f", Line: 25,
			},
		}},
		Telemetry: TelemetrySink{
			Endpoint: "https://otel.example.com:4318/base",
			Headers:  map[string]string{"Authorization": "Bearer x", "x-Team": "a b"},
		},
	}
	if diff := cmp.Diff(want, req, cmpopts.EquateComparable(netip.Prefix{}), notTheLayer); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// However TOML lets it be written, it says the same.
func TestParseForms(t *testing.T) {
	forms := map[string]string{
		"inline":            `rules = {prefix_rules = [{pattern = [{token = "a"}], decision = "prompt"}]}` + "\n" + `paddock = {mode = "observe", network = {default = "deny", rules = [{cidr = "10.0.0.0/8", decision = "allow"}]}}`,
		"dotted":            `rules.prefix_rules = [{pattern = [{token = "a"}], decision = "prompt"}]` + "\n" + `paddock.mode = "observe"` + "\n" + `paddock.network.default = "deny"` + "\n" + `paddock.network.rules = [{cidr = "10.0.0.0/8", decision = "allow"}]`,
		"tables":            "[[rules.prefix_rules]]\npattern = [{token = 'a'}]\ndecision = 'prompt'\n[paddock.network]\ndefault = 'deny'\n[paddock]\nmode = 'observe'\n[[paddock.network.rules]]\ncidr = '10.0.0.0/8'\ndecision = 'allow'",
		"tables all down":   "[[rules.prefix_rules]]\ndecision = 'prompt'\n[[rules.prefix_rules.pattern]]\ntoken = 'a'\n[paddock]\nmode = 'observe'\n[paddock.network]\ndefault = 'deny'\n[[paddock.network.rules]]\ncidr = '10.0.0.0/8'\ndecision = 'allow'",
		"quoted keys":       "[\"rules\"]\n'prefix_rules' = [{\"pattern\" = [{'token' = \"\\u0061\"}], decision = '''prompt'''}]\n[ \"paddock\" ]\n\"\\u006dode\" = \"observe\"\nnetwork.\"default\" = \"deny\"\n[[ paddock . \"network\".rules ]]\ncidr = \"10.0.0.0/8\"\ndecision = \"allow\"",
		"multi-line":        "[rules]\nprefix_rules = [ # all\n\n  {pattern = [\n {token = \"\"\"a\"\"\"}, # one\n ], decision = \"\"\"\\\n   prompt\"\"\"},\n]\n[paddock]\nmode = \"observe\"\nnetwork = {default = \"deny\", rules = [{cidr = \"10.0.0.0/8\", decision = \"allow\"}]}",
		"Windows lines":     "[rules]\r\nprefix_rules = [\r\n{pattern = [{token = 'a'}], decision = 'prompt'}]\r\n[paddock]\r\nmode = 'observe'\r\n[paddock.network]\r\ndefault = 'deny'\r\n[[paddock.network.rules]]\r\ncidr = '10.0.0.0/8'\r\ndecision = 'allow'\r\n",
		"byte order mark":   "\xef\xbb\xbf[rules]\nprefix_rules = [{pattern = [{token = 'a'}], decision = 'prompt'}]\n[paddock]\nmode = 'observe'\n[paddock.network]\ndefault = 'deny'\nrules = [{cidr = '10.0.0.0/8', decision = 'allow'}]",
		"among Codex's":     "enforce_residency = 'us'\n[rules]\nprefix_rules = [{pattern = [{token = 'a'}], decision = 'prompt'}]\n[rulesx]\nmode = 1\n[mcp_servers.paddock]\nidentity = {url = 'x'}\n[paddock]\nmode = 'observe'\n[[x.paddock]]\nunmatched = 'y'\n[paddock.network]\ndefault = 'deny'\nrules = [{cidr = '10.0.0.0/8', decision = 'allow'}]",
		"address as prefix": "[rules]\nprefix_rules = [{pattern = [{any_of = ['a']}], decision = 'prompt'}]\n[paddock]\nmode = 'observe'\n[paddock.network]\naccess = 'rules'\ndefault = 'deny'\nrules = [{cidr = '::ffff:10.0.0.0/104', decision = 'allow', protocol = 'any'}]",
	}
	want := &Requirements{
		Mode: Observe, ModeSet: true,
		Rules: []PrefixRule{{Pattern: [][]string{{"a"}}, Decision: Prompt, Source: "f"}},
		Network: Network{Default: NetDeny, Rules: []NetRule{
			{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Protocols: AnyProtocol, Decision: NetAllow, Source: "f"},
		}},
	}
	for name, text := range forms {
		got, err := Parse("f", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}), notTheLayer,
			cmpopts.IgnoreFields(PrefixRule{}, "Line"), cmpopts.IgnoreFields(NetRule{}, "Line"), cmpopts.IgnoreFields(Requirements{}, "Warnings"))
		if diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseEmpty(t *testing.T) {
	want := &Requirements{Mode: Enforce, Unmatched: Allow, Network: Network{Default: NetAllow}}
	for _, text := range []string{"", "\n\n", "# nothing\n", "\xef\xbb\xbf", "[paddock]\n", "[features]\nhooks = true\n"} {
		got, err := Parse("f", []byte(text))
		if diff := cmp.Diff(want, got, notTheLayer); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, diff)
		}
	}
}

// withoutColumn leaves the column out of an error: another test is about columns.
func withoutColumn(err error) string {
	return regexp.MustCompile(`, column \d+`).ReplaceAllString(err.Error(), "")
}

// Each bad input, and the whole of what its author is told.
func TestParseErrors(t *testing.T) {
	rule := func(s string) string { return "[rules]\nprefix_rules = [\n " + s + "\n]\n" }
	net := func(s string) string { return "[paddock]\n[[paddock.network.rules]]\n" + s + "\n" }
	tests := []struct {
		name, text, want string
	}{
		// Not TOML.
		{"no value", "a = 1\n\n[paddock]\nmode =\n", "line 4: not valid TOML: unexpected character"},
		{"no end of string", "[paddock]\nmode = \"observe\n", "line 2: not valid TOML: "},
		{"no end of array", rule(`{pattern = [{token = "a"}, decision = "prompt"}`), "line 3: not valid TOML: "},
		{"no end of table", "[rules", "line 1: not valid TOML: "},
		{"no quotes", "[paddock]\nmode = observe\n", "line 2: not valid TOML: "},
		{"key twice", "[paddock]\nmode = \"observe\"\nunmatched = \"allow\"\nmode = \"enforce\"\n", "line 4: mode: not valid TOML: "},
		{"table twice", "[paddock]\nmode = \"observe\"\n[rules]\n[paddock]\n", "line 4: "},
		{"table twice by dots", "paddock.mode = \"observe\"\n[paddock]\nunmatched = \"allow\"\n", "line 2: "},
		{"table over value", "paddock = 1\n[paddock.network]\n", "line 2: "},
		{"key twice inline", rule(`{pattern = [{token = "a", token = "b"}], decision = "prompt"}`), "line 3: "},
		{"inline table extended", "paddock = {mode = \"observe\"}\n[paddock.network]\n", "line 2: "},
		{"array extended", rule(`{pattern = [{token = "a"}], decision = "prompt"}`) + "[[rules.prefix_rules]]\n", "line 5: "},
		{"deep", "a = " + strings.Repeat("[", 20000), "line 1: not valid TOML: "},
		{"control character", "[paddock]\nmode = \"a\x00\"\n", "line 2: not valid TOML: "},
		{"JSON", "{\"paddock\": {}}", "line 1: not valid TOML: "},

		// Not text.
		{"not UTF-8", "# fine\n[paddock]\nmode = \"\xff\"\n", "line 3: byte 0xff is not UTF-8; save the file as UTF-8"},
		{"not UTF-8 in a comment", "# \xc3(\n", "line 1: byte 0xc3 is not UTF-8"},
		{"half a character", "a = \"\xe2\x82", "line 1: byte 0xe2 is not UTF-8"},
		{"UTF-16", "\xff\xfe[\x00", "line 1: the file is UTF-16; save it as UTF-8"},
		{"UTF-16, big-endian", "\xfe\xff\x00[", "line 1: the file is UTF-16"},
		{"mark twice", "\xef\xbb\xbf\xef\xbb\xbfa = 1", "line 1: not valid TOML: "},

		// Unknown keys in [paddock].
		{"unknown key", "\n[paddock]\n\nmoed = \"observe\"\n", `line 4: unknown key "moed" in [paddock]; did you mean "mode"? (keys: agents, approvals, boundary, cohort, launch, mode, network, require_provenance, telemetry, unmatched)`},
		{"unknown key, none near", "[paddock]\ncolour = 1\n", `line 2: unknown key "colour" in [paddock] (keys: agents, approvals, boundary, cohort, launch, mode, network, require_provenance, telemetry, unmatched)`},
		{"upper case", "[paddock]\nMode = \"observe\"\n", `unknown key "Mode" in [paddock]; did you mean "mode"?`},
		{"unknown table", "[paddock.netwok]\ndefault = \"deny\"\n", `line 1: unknown key "netwok" in [paddock]; did you mean "network"?`},
		{"unknown dotted", "paddock.telemtry.endpoint = \"x\"\n", `line 1: unknown key "telemtry" in [paddock]; did you mean "telemetry"?`},
		{"unknown in network", "[paddock.network]\ndefalt = \"deny\"\n", `line 2: unknown key "defalt" in [paddock.network]; did you mean "default"? (keys: access, default, mode, rules, unfamiliar)`},
		{"unknown in a rule", net("cidr = \"10.0.0.0/8\"\nport = 1\ndecision = \"deny\""), `line 4: unknown key "port" in [paddock.network.rules[0]]; did you mean "ports"?`},
		{"unknown in telemetry", "[paddock.telemetry]\nendpiont = \"x\"", `unknown key "endpiont" in [paddock.telemetry]; did you mean "endpoint"?`},
		{"terminal codes in a key", "[paddock]\n\"\\u001b[2J\" = 1\n", `unknown key "\x1b[2J" in [paddock]`},
		{"long key", "[paddock]\n" + strings.Repeat("m", 5000) + " = 1\n", `unknown key "` + strings.Repeat("m", 80) + `"... in`},

		// [paddock].
		{"not a table", "paddock = \"observe\"\n", `line 1: paddock: expected a table, found the string "observe"`},
		{"array of tables", "[[paddock]]\nmode = \"observe\"\n", "line 1: paddock: expected a table, found an array"},
		{"bad mode", "[paddock]\nmode = \"enfroce\"\n", `line 2: paddock.mode: unknown mode "enfroce"; did you mean "enforce"? (one of: observe, enforce)`},
		{"mode of the wrong type", "[paddock]\nmode = true\n", "line 2: paddock.mode: expected a string, found a boolean (true)"},
		{"empty mode", "[paddock]\nmode = \"\"\n", `line 2: paddock.mode: unknown mode "" (one of: observe, enforce)`},
		{"bad unmatched", "[paddock]\nunmatched = \"deny\"\n", `line 2: paddock.unmatched: unknown decision "deny" (one of: allow, prompt, forbidden)`},
		{"no agents", "[paddock]\nagents = []\n", "line 2: paddock.agents: an empty list would govern nothing"},
		{"agents as text", "[paddock]\nagents = \"codex\"\n", `line 2: paddock.agents: expected an array, found the string "codex"`},
		{"agent of the wrong type", "[paddock]\nagents = [\"codex\",\n 7]\n", "line 3: paddock.agents[1]: expected a string, found an integer (7)"},
		{"bad agent", "[paddock]\nagents = [\"Codex CLI\"]\n", `line 2: paddock.agents[0]: bad agent name "Codex CLI"`},
		{"agent twice", "[paddock]\nagents = [\"codex\", \"codex\"]\n", `line 2: paddock.agents[1]: agent "codex" is there twice`},

		// [rules], in Codex's words where it has some.
		{"rules not a table", "rules = []\n", "line 1: rules: expected a table, found an array"},
		{"no prefix_rules", "[rules]\n", `line 1: rules: it has no "prefix_rules"`},
		{"prefix_rules misspelt", "[rules]\nprefix_rule = []\n", `line 1: rules: it has no "prefix_rules", but "prefix_rule": did you mean that?`},
		{"prefix_rules empty", "[rules]\nprefix_rules = []\n", "line 2: rules.prefix_rules: prefix_rules cannot be empty"},
		{"prefix_rules not an array", "[rules.prefix_rules]\n", "line 1: rules.prefix_rules: expected an array, found a table"},
		{"rule not a table", "[rules]\nprefix_rules = [\n\"rm\"]\n", `line 3: rules.prefix_rules[0]: expected a table with pattern and decision, found the string "rm"`},
		{"no pattern", rule(`{decision = "prompt"}`), `line 3: rules.prefix_rules[0]: "pattern" is missing`},
		{"no decision", rule(`{pattern = [{token = "a"}]}`), `line 3: rules.prefix_rules[0]: "decision" is missing`},
		{"allow", rule(`{pattern = [{token = "a"}], decision = "allow"}`), "line 3: rules.prefix_rules[0].decision: 'allow' is not permitted in requirements.toml"},
		{"bad decision", rule(`{pattern = [{token = "a"}], decision = "deny"}`), `line 3: rules.prefix_rules[0].decision: unknown decision "deny" (one of: prompt, prompt-user, forbidden)`},
		{"decision in upper case", rule(`{pattern = [{token = "a"}], decision = "Forbidden"}`), `unknown decision "Forbidden"; did you mean "forbidden"?`},
		{"decision of the wrong type", rule(`{pattern = [{token = "a"}], decision = 1.5}`), "expected a string, found a float (1.5)"},
		{"empty pattern", rule(`{pattern = [], decision = "prompt"}`), "line 3: rules.prefix_rules[0]: has an empty pattern"},
		{"pattern as text", rule(`{pattern = "git push", decision = "prompt"}`), `line 3: rules.prefix_rules[0].pattern: expected an array, found the string "git push"`},
		{"element as text", rule(`{pattern = ["git"], decision = "prompt"}`), `line 3: rules.prefix_rules[0].pattern[0]: expected {token = "..."} or {any_of = ["...", "..."]}, found the string "git"`},
		{"token and any_of", rule(`{pattern = [{token = "a", any_of = ["b"]}], decision = "prompt"}`), "rules.prefix_rules[0].pattern[0]: set either token or any_of, not both"},
		{"neither token nor any_of", rule(`{pattern = [{token = "a"}, {}], decision = "prompt"}`), "rules.prefix_rules[0].pattern[1]: set either token or any_of"},
		{"token misspelt", rule(`{pattern = [{tokn = "a"}], decision = "prompt"}`), "rules.prefix_rules[0].pattern[0]: set either token or any_of"},
		{"empty token", rule(`{pattern = [{token = ""}], decision = "prompt"}`), "rules.prefix_rules[0].pattern[0].token: token cannot be an empty string"},
		{"empty any_of", rule(`{pattern = [{any_of = []}], decision = "prompt"}`), "rules.prefix_rules[0].pattern[0]: any_of cannot be empty"},
		{"empty string in any_of", rule(`{pattern = [{any_of = ["a", ""]}], decision = "prompt"}`), "rules.prefix_rules[0].pattern[0].any_of[1]: any_of cannot be an empty string"},
		{"any_of as text", rule(`{pattern = [{any_of = "a"}], decision = "prompt"}`), "expected an array"},
		{"token of the wrong type", rule(`{pattern = [{token = ["a"]}], decision = "prompt"}`), "rules.prefix_rules[0].pattern[0].token: expected a string, found an array"},
		{"NUL", rule(`{pattern = [{token = "a\u0000"}], decision = "prompt"}`), `"a\x00" holds a NUL character`},
		{"blank justification", rule(`{pattern = [{token = "a"}], decision = "prompt", justification = " \t"}`), "rules.prefix_rules[0].justification: cannot be empty"},
		{"canonical_matching as text", rule(`{pattern = [{token = "a"}], decision = "prompt", canonical_matching = "yes"}`), `expected true or false, found the string "yes"`},
		{"the second rule", rule("{pattern = [{token = \"a\"}], decision = \"prompt\"},\n\n {pattern = [], decision = \"prompt\"}"), "line 5: rules.prefix_rules[1]: has an empty pattern"},
		{"far down in a rule", "[rules]\nprefix_rules = [{\n pattern = [\n  {token = \"a\"},\n  {any_of = [\n   \"b\",\n   7]}],\n decision = \"prompt\"}]\n", "line 7: rules.prefix_rules[0].pattern[1].any_of[1]: expected a string, found an integer (7)"},
		{"in a table of its own", "[[rules.prefix_rules]]\npattern = [{token = \"a\"}]\ndecision = \"prompt\"\n[[rules.prefix_rules]]\npattern = [{token = \"a\"}]\n", `line 4: rules.prefix_rules[1]: "decision" is missing`},

		// The network.
		{"network not a table", "[paddock]\nnetwork = \"none\"\n", `line 2: paddock.network: expected a table, found the string "none"`},
		{"bad access", "[paddock.network]\naccess = \"nnone\"\n", `line 2: paddock.network.access: unknown access "nnone"; did you mean "none"? (one of: rules, none)`},
		{"bad default", "[paddock.network]\ndefault = \"forbidden\"\n", `line 2: paddock.network.default: unknown default "forbidden" (one of: allow, deny)`},
		{"no cidr", net(`decision = "deny"`), `line 2: paddock.network.rules[0]: "cidr" is missing`},
		{"no decision", net(`cidr = "10.0.0.0/8"`), `line 2: paddock.network.rules[0]: "decision" is missing`},
		{"a name", net("cidr = \"example.com\"\ndecision = \"deny\""), `line 3: paddock.network.rules[0].cidr: bad address range "example.com"`},
		{"too long a prefix", net("cidr = \"10.0.0.0/33\"\ndecision = \"deny\""), `bad address range "10.0.0.0/33"`},
		{"a zone", net("cidr = \"fe80::1%eth0\"\ndecision = \"deny\""), `bad address range "fe80::1%eth0"`},
		{"leading zeros", net("cidr = \"010.0.0.1\"\ndecision = \"deny\""), `bad address range "010.0.0.1"`},
		{"bits beyond", net("cidr = \"10.1.2.3/8\"\ndecision = \"deny\""), `"10.1.2.3/8" has address bits beyond its /8: did you mean 10.0.0.0/8 or 10.1.2.3?`},
		{"bad net decision", net("cidr = \"10.0.0.0/8\"\ndecision = \"prompt\""), `unknown decision "prompt" (one of: allow, deny)`},
		{"bad protocol", net("cidr = \"10.0.0.0/8\"\nprotocol = \"icmp\"\ndecision = \"deny\""), `line 4: paddock.network.rules[0].protocol: unknown protocol "icmp" (one of: tcp, udp, any)`},
		{"port too large", net("cidr = \"10.0.0.0/8\"\nports = 65536\ndecision = \"deny\""), `line 4: paddock.network.rules[0].ports: bad port "65536"`},
		{"port negative", net("cidr = \"10.0.0.0/8\"\nports = [-1]\ndecision = \"deny\""), `paddock.network.rules[0].ports[0]: bad port "-1"`},
		{"port by name", net("cidr = \"10.0.0.0/8\"\nports = \"https\"\ndecision = \"deny\""), `bad port "https"`},
		{"ports backwards", net("cidr = \"10.0.0.0/8\"\nports = \"90-80\"\ndecision = \"deny\""), `bad port "90-80": the range ends before it begins`},
		{"port range open", net("cidr = \"10.0.0.0/8\"\nports = \"80-\"\ndecision = \"deny\""), `bad port "80-"`},
		{"ports in one string", net("cidr = \"10.0.0.0/8\"\nports = \"80,443\"\ndecision = \"deny\""), `bad port "80,443"`},
		{"port as float", net("cidr = \"10.0.0.0/8\"\nports = 443.0\ndecision = \"deny\""), "found a float (443.0)"},
		{"no ports", net("cidr = \"10.0.0.0/8\"\nports = []\ndecision = \"deny\""), "an empty list matches nothing"},
		{"many ports", net("cidr = \"10.0.0.0/8\"\nports = [" + strings.Repeat("1, ", 33) + "]\ndecision = \"deny\""), "33 ports and ranges in one rule, at most 32"},
		{
			"more ports than fit", net("cidr = \"10.0.0.0/8\"\nports = [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31]\ndecision = \"deny\""),
			"paddock.network.rules: network rules for 10.0.0.0/8 need 33 port ranges, at most 32 fit: use fewer or wider ranges (one of the rules is at f:2)",
		},
		{"blank net justification", net("cidr = \"10.0.0.0/8\"\njustification = \"\"\ndecision = \"deny\""), "justification: cannot be empty"},

		// Telemetry.
		{"no endpoint", "[paddock.telemetry]\nheaders = {a = \"b\"}\n", `line 1: paddock.telemetry: "endpoint" is missing`},
		{"half a certificate", "[paddock.telemetry]\nendpoint = \"http://h\"\ncert_file = \"/c\"\n", `line 1: paddock.telemetry: "cert_file" and "key_file" belong together: one is missing`},
		{"relative file", "[paddock.telemetry]\nendpoint = \"http://h\"\nca_file = \"c\"\n", `line 3: paddock.telemetry.ca_file: "c" is no whole path`},
		{"content", "[paddock.telemetry]\nprompts = \"no\"\n", `line 2: paddock.telemetry.prompts: unknown setting "no" (one of: record, omit)`},
		{"secrets", "[paddock.telemetry]\nsecrets = \"show\"\n", `line 2: paddock.telemetry.secrets: unknown setting "show" (one of: redact, keep)`},
		{"sink without a name", "[[paddock.telemetry.sinks]]\ntype = \"otlp\"\n", `paddock.telemetry.sinks[0]: "name" is missing`},
		{"sink called otlp", "[[paddock.telemetry.sinks]]\nname = \"otlp\"\n", `paddock.telemetry.sinks[0].name: "otlp" cannot be the name of a sink`},
		{"sink called badly", "[[paddock.telemetry.sinks]]\nname = \"a b\"\n", `"a b" cannot be the name of a sink`},
		{"sink type", "[[paddock.telemetry.sinks]]\nname = \"a\"\ntype = \"kafka\"\n", `line 3: paddock.telemetry.sinks[0].type: unknown type of sink "kafka"`},
		{"sink to nowhere", "[[paddock.telemetry.sinks]]\nname = \"a\"\ntype = \"ocsf\"\n", `paddock.telemetry.sinks[0]: write either "endpoint" or "file"`},
		{"sink to both", "[[paddock.telemetry.sinks]]\nname = \"a\"\ntype = \"ocsf\"\nfile = \"/f\"\nendpoint = \"http://h\"\n", `write either "endpoint" or "file"`},
		{"otlp to a file", "[[paddock.telemetry.sinks]]\nname = \"a\"\ntype = \"otlp\"\nfile = \"/f\"\n", `a sink of type "otlp" has an endpoint and no file`},
		{"sinks of one name", "paddock.telemetry.sinks = [{name = \"a\", type = \"ocsf\", file = \"stdout\"}, {name = \"a\", type = \"ndjson\", file = \"/f\"}]\n", `paddock.telemetry.sinks[1]: there is another sink called "a"`},
		{"no scheme", "[paddock.telemetry]\nendpoint = \"otel:4318\"\n", `bad endpoint: the scheme is "otel", not http or https`},
		{"empty endpoint", "[paddock.telemetry]\nendpoint = \"\"\n", `line 2: paddock.telemetry.endpoint: bad endpoint: the scheme is ""`},
		{"no host", "[paddock.telemetry]\nendpoint = \"http://\"\n", "it names no host"},
		{"no host but a port", "[paddock.telemetry]\nendpoint = \"http://:4318\"\n", "it names no host"},
		{"query", "[paddock.telemetry]\nendpoint = \"http://h/?a\"\n", "it has a query or fragment"},
		{"not a URL", "[paddock.telemetry]\nendpoint = \"http://h:port\"\n", "not a URL"},
		{"headers not a table", "[paddock.telemetry]\nendpoint = \"http://h\"\nheaders = \"a: b\"\n", "line 3: paddock.telemetry.headers: expected a table of strings, found a string"},
		{"header name", "[paddock.telemetry]\nendpoint = \"http://h\"\nheaders.\"a b\" = \"c\"\n", `paddock.telemetry.headers."a b": not a possible HTTP header name`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := Parse("f", []byte(tt.text))
			if err == nil {
				t.Fatalf("no error, but %+v; want %s", req, tt.want)
			}
			if !strings.HasPrefix(err.Error(), "reading requirements layer f: ") || !strings.Contains(withoutColumn(err), tt.want) {
				t.Errorf("error: %s\n want: ...%s...", err, tt.want)
			}
			var parse *ParseError
			if !errors.As(err, &parse) || parse.Source != "f" {
				t.Errorf("%T is not a ParseError of f", err)
			}
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("not one line of text: %q", err)
			}
			if req != nil {
				t.Error("requirements as well as an error")
			}
		})
	}
}

// A secret in a file with a mistake does not get into the error, and so the log.
func TestParseErrorsKeepSecrets(t *testing.T) {
	for _, text := range []string{
		"endpoint = \"https://user:hunter2@h/\"",
		"endpoint = \"https://h:hunter2\"",
		"endpoint = \"http://h\"\nheaders = \"hunter2\"",
		"endpoint = \"http://h\"\nheaders = {a = \"hunter2\\n\"}",
		"endpoint = \"http://h\"\nheaders = {a = [\"hunter2\"]}",
		"endpoint = \"http://h\"\nheaders = {\"a:\" = \"hunter2\"}",
	} {
		_, err := Parse("f", []byte("[paddock.telemetry]\n"+text+"\n"))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestParseWarnings(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"[padock]\nmode = 'enforce'\n", []string{`f:1: unknown key "padock" in requirements.toml is ignored, by Codex too; did you mean "paddock"?`}},
		{"a = 1\n\n[Rules]\nprefix_rules = []\n", []string{`f:1: unknown key "a" in requirements.toml is ignored, by Codex too`, `f:3: unknown key "Rules" in requirements.toml is ignored, by Codex too; did you mean "rules"?`}},
		{"rule.prefix_rules = []\n", []string{`f:1: unknown key "rule" in requirements.toml is ignored, by Codex too; did you mean "rules"?`}},
		{"[hooks]\n[models]\n[otel]\n[apps]\n[windows]\n[features]\n[feedback]\n", nil},
		{
			"[rules]\nprefix_rules = [{pattern = [{token = 'a', tokne = 'b'}], decision = 'prompt',\njustificaton = 'c'}]\nother = 1\n",
			[]string{
				`f:4: unknown key "other" in [rules] is ignored, by Codex too (keys: prefix_rules)`,
				`f:3: unknown key "justificaton" in a prefix rule is ignored, by Codex too; did you mean "justification"? (keys: pattern, decision, justification, canonical_matching)`,
				`f:2: unknown key "tokne" in an element of a pattern is ignored, by Codex too; did you mean "token"? (keys: token, any_of)`,
			},
		},
		{
			"\n[paddock.network]\naccess = 'none'\ndefault = 'allow'\n",
			[]string{`f:2: access = "none" refuses every connection: default, rules and unfamiliar of [paddock.network] have no effect`},
		},
		{"[paddock.network]\naccess = 'none'\n", nil},
		{
			"[paddock.network]\nrules = [{cidr = '64:ff9b::/32', decision = 'deny'}, {cidr = '::/8', decision = 'deny'}, {cidr = '::/0', decision = 'deny'}, {cidr = '64:ff9b:1::/48', decision = 'deny'}]\n",
			[]string{
				"f:2: 64:ff9b::/32 also covers IPv4 addresses written as IPv6; those are judged by rules for IPv4 addresses only",
				"f:2: ::/8 also covers IPv4 addresses written as IPv6; those are judged by rules for IPv4 addresses only",
			},
		},
	}
	for _, tt := range tests {
		req, err := Parse("f", []byte(tt.text))
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if diff := cmp.Diff(tt.want, req.Warnings); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.text, diff)
		}
	}
}
