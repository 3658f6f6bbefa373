// SPDX-License-Identifier: Apache-2.0

package session

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEmbeddedAgents(t *testing.T) {
	want := []string{"codex", "claude-code", "gemini-cli", "cursor", "copilot", "opencode", "qwen"}
	if diff := cmp.Diff(want, embeddedProfiles(t).Names()); diff != "" {
		t.Error(diff)
	}
}

func TestCandidates(t *testing.T) {
	all := map[string]Candidate{}
	last := ""
	for _, c := range embeddedProfiles(t).Candidates() {
		if c.Name <= last || len(c.Name) > MaxName {
			t.Errorf("%q after %q: not sorted, twice, or too long", c.Name, last)
		}
		all[c.Name], last = c, c.Name
	}
	for _, want := range []Candidate{
		{Name: "codex", Sure: true},
		{Name: "claude", Sure: true},
		{Name: "cursor-agent", Sure: true},
		{Name: "copilot"}, // AWS has one
		{Name: "agent"},   // anybody has one
		{Name: "cursor"},  // the editor's windows too
		{Name: "node", Interpreter: true},
		{Name: "bun", Interpreter: true},
		{Name: "ld-linux-x86-64.so.2", Interpreter: true},
	} {
		if got := all[want.Name]; got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	for _, name := range []string{"env", "sh", "bash", "codex.js"} {
		if _, ok := all[name]; ok {
			t.Errorf("%s is run by others all the time, or says nothing", name)
		}
	}
}

// An agent that is never looked at would be found only by the walk at start.
func TestWhatIsRecognisedByNameIsACandidate(t *testing.T) {
	p := embeddedProfiles(t)
	candidates := p.Candidates()
	for i := range p.agents {
		for _, rule := range p.agents[i].Match {
			for _, name := range rule.Program {
				if !slices.ContainsFunc(candidates, func(c Candidate) bool { return c.Name == name }) {
					t.Errorf("%s: %s is no candidate", p.agents[i].Name, name)
				}
			}
		}
	}
}

func TestOnly(t *testing.T) {
	p, err := embeddedProfiles(t).Only([]string{"qwen", "codex"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"qwen", "codex"}, p.Names()); diff != "" {
		t.Error(diff)
	}
	if m, ok := p.Recognise(Process{Exe: "/home/u/.local/bin/claude"}); ok {
		t.Errorf("claude was not asked for: %+v", m)
	}
	if m, ok := p.Recognise(Process{Exe: "/usr/bin/node", Args: argv("node " + npm + "@openai/codex/bin/codex.js")}); !ok || m.Agent != "codex" {
		t.Errorf("codex was: %+v", m)
	}
	if _, err := p.Only([]string{"claude-code"}); err == nil || !strings.Contains(err.Error(), "qwen, codex") {
		t.Errorf("%v; want the names there are", err)
	}
	if all, err := p.Only(nil); err != nil || all != p {
		t.Errorf("no names mean all: %v", err)
	}
}

func TestWhy(t *testing.T) {
	p := embeddedProfiles(t)
	got := p.Why(map[string]string{
		"CODEX_TOOL_CALL_ID": "call_1", "CODEX_THREAD_ID": "thread\xff", "CLAUDECODE": strings.Repeat("x", 1000), "OPENAI_API_KEY": "secret", "GEMINI_CLI": "",
	})
	want := Why{
		ToolCallID: "call_1", ThreadID: "thread\uFFFD",
		Attrs: map[string]string{"paddock.env.claudecode": strings.Repeat("x", maxLabel), "paddock.env.gemini_cli": ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Why{}, p.Why(nil)); diff != "" {
		t.Error(diff)
	}
	keys := p.EnvKeys()
	for _, key := range []string{"CODEX_TOOL_CALL_ID", "CODEX_THREAD_ID", "CLAUDECODE"} {
		if !slices.Contains(keys, key) {
			t.Errorf("%s is not read", key)
		}
	}
	if !slices.IsSorted(keys) {
		t.Errorf("%q is not sorted", keys)
	}
	for _, key := range keys {
		if strings.Contains(key, "KEY") || strings.Contains(key, "TOKEN") || strings.Contains(key, "SECRET") {
			t.Errorf("%s may be a secret", key)
		}
	}
}

func TestLoadProfilesReplacesTheEmbedded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agents.toml")
	const text = `
[[agents]]
name = "mine"
[[agents.match]]
path = ["/opt/test/agent"]
surface = "exec"
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := LoadProfiles(path)
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := p.Recognise(Process{Exe: "/opt/test/agent"}); !ok || m != (Match{Agent: "mine", Surface: SurfaceExec}) {
		t.Errorf("%+v, %v", m, ok)
	}
	// On a machine where agents are at work, only the test's own may be seen.
	if m, ok := p.Recognise(Process{Exe: "/home/u/.local/bin/codex", Called: "codex"}); ok {
		t.Errorf("recognised as %+v", m)
	}
	if c := p.Candidates(); len(c) != 0 {
		t.Errorf("candidates %+v", c)
	}
	if _, err := LoadProfiles(path + ".none"); err == nil {
		t.Error("no file, no error")
	}
	if err := os.Truncate(path, maxProfilesFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadProfiles(path); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("%v; want that it is too large", err)
	}
}

func TestBadProfiles(t *testing.T) {
	const agent = "[[agents]]\nname = \"a\"\n"
	const match = agent + "[[agents.match]]\n"
	for text, want := range map[string]string{
		"":                            "nothing would be governed",
		"[[agents]":                   "line 1",
		"[[agents]]\nlabel = \"x\"":   `line 2: unknown key "agents.label"`,
		"[[agents]]\nname = 3":        "line 2",
		agent:                         "never be recognised",
		"[[agents]]\nname = \"A b\"":  "lower-case",
		match:                         "needs program, path or package",
		match + "arguments = [\"x\"]": "needs program, path or package",
		match + "program = [\"\"]":    "1 to 63 bytes",
		match + "program = [\"a/b\"]": "no slash",
		match + "program = [\"..\"]":  "no slash",
		match + "program = [\"" + strings.Repeat("x", 64) + "\"]":                        "1 to 63 bytes",
		match + "path = [\"bin/x\"]":                                                     "must begin with",
		match + "path = [\"/{version}/{version}\"]":                                      "more than once",
		match + "package = [\"\"]":                                                       "as npm knows it",
		match + "program = [\"x\"]\narguments = [\"\"]":                                  "empty argument",
		match + "program = [\"x\"]\nsurface = \"web\"":                                   "one of cli, exec, ide, desktop, mcp",
		match + "program = [\"x\"]\n" + agent + "[[agents.match]]\nprogram = [\"x\"]":    "twice",
		match + "program = [\"x\"]\n[[agents.surfaces]]\nsurface = \"ide\"":              "needs program, subcommand, flag or parent",
		match + "program = [\"x\"]\n[[agents.surfaces]]\nsurface = \"\"\nflag = [\"x\"]": "unknown surface",
		match + "program = [\"x\"]\n[agents.environment]\nthread = \"a-b\"":              "upper-case",
		"[[interpreters]]\n" + match + "program = [\"x\"]":                               "no names",
	} {
		if _, err := ParseProfiles("f.toml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "f.toml") {
			t.Errorf("%s\ngives %v; want %q", text, err, want)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, path, version string
		ok                     bool
	}{
		{"**/bin/x", "/bin/x", "", true},
		{"**/bin/x", "/a/b/bin/x", "", true},
		{"**/bin/x", "/a/sbin/x", "", false},
		{"/a/*/x", "/a/b/x", "", true},
		{"/a/*/x", "/a/b/c/x", "", false},
		{"/a/**", "/a/b/c", "", true},
		{"/a/**", "/ab", "", false},
		{"/a.b", "/axb", "", false},
		{"/v-{version}-*/x", "/v-1.2.3-linux-x64/x", "1.2.3", true},
		{"/v/{version}", "/v/1.2.3-rc.1", "1.2.3-rc.1", true},
		{"/v/{version}", "/v/latest", "", false},
		{"/v/{version}", "/v/1/2", "", false},
		{"/{x}/*", "/{x}/\xff\n", "", true},
	} {
		g, err := compileGlob(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if version, ok := g.match(c.path); ok != c.ok || version != c.version {
			t.Errorf("%s on %q: %q, %v", c.pattern, c.path, version, ok)
		}
	}
}

func FuzzParseProfiles(f *testing.F) {
	f.Add(embedded)
	f.Add([]byte("[[agents]]\nname = \"a\"\n[[agents.match]]\npath = [\"/**/{version}*{\"]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseProfiles("fuzz", data)
		if err != nil {
			if !strings.Contains(err.Error(), "fuzz") {
				t.Fatalf("%v does not name its source", err)
			}
			return
		}
		if len(p.Names()) == 0 {
			t.Fatal("profiles without agents were accepted")
		}
		for _, c := range p.Candidates() {
			if c.Name == "" || len(c.Name) > MaxName {
				t.Fatalf("candidate %q", c.Name)
			}
			// What is called so must not break it; what is sure must be recognised.
			_, ok := p.Recognise(Process{Exe: "/x/" + c.Name, Called: c.Name, Args: []string{"", "-", "--", "x"}})
			if c.Sure && !ok {
				t.Fatalf("sure candidate %q is not recognised", c.Name)
			}
		}
	})
}
