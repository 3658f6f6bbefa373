// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

const (
	codexExe  = npm + "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex"
	claudeExe = "/home/u/.local/share/claude/versions/2.1.330"
)

// found returns what is found about a start, as "kind: what"; what is quiet in
// brackets.
func found(t testing.TB, exe string, line []string, environ []string, files ...File) []string {
	t.Helper()
	p := embeddedProfiles(t)
	s, ok := p.Start(Process{Exe: exe, Args: line})
	if !ok {
		t.Fatalf("%s %q is no agent", exe, line)
	}
	var out []string
	for _, f := range p.Findings(s, environ, "/home/u", files) {
		text := f.Kind + ": " + f.What
		if f.Quiet {
			text = "(" + text + ")"
		}
		out = append(out, text)
	}
	return out
}

// Starts as people and agents write them, with what is found: "" for nothing.
func TestFindingsOfCommandLines(t *testing.T) {
	for _, c := range []struct{ exe, line, want string }{
		{codexExe, "codex", ""},
		{codexExe, "codex exec -s workspace-write -a on-request --model gpt-5 hello", ""},
		{codexExe, "codex --yolo", "flags: --yolo"},
		{codexExe, "codex exec --dangerously-bypass-approvals-and-sandbox x", "flags: --dangerously-bypass-approvals-and-sandbox"},
		{codexExe, "codex x --yolo", "flags: --yolo"},
		{codexExe, "codex -s danger-full-access", "flags: -s danger-full-access"},
		{codexExe, "codex -sdanger-full-access", "flags: -s danger-full-access"},
		{codexExe, "codex -s=danger-full-access", "flags: -s danger-full-access"},
		{codexExe, "codex --sandbox=danger-full-access", "flags: --sandbox danger-full-access"},
		{codexExe, "codex -s read-only -s danger-full-access", "flags: -s danger-full-access"},
		{codexExe, "codex -anever", "flags: -a never"},
		{codexExe, "codex -a never exec x", "flags: -a never"},
		{codexExe, "codex exec -- --yolo", ""},
		{codexExe, "codex -m -- --yolo", "flags: --yolo"}, // -- may be the model
		{codexExe, "codex-linux-sandbox --apply-seccomp-then-exec -- npm init --yolo", ""},
		{codexExe, "codex exec explain -sdanger-full-access to me", "flags: -s danger-full-access"},
		{codexExe, "codex -c sandbox_mode=danger-full-access", "overrides: -c sandbox_mode=danger-full-access"},
		{codexExe, `codex -csandbox_mode="danger-full-access"`, "overrides: -c sandbox_mode=danger-full-access"},
		{codexExe, `codex --config=sandbox_mode="danger\u002dfull\u002daccess"`, "overrides: --config sandbox_mode=danger-full-access"},
		{codexExe, `codex -c "approval_policy"='never'`, "overrides: -c approval_policy=never"},
		{codexExe, "codex -c sandbox_mode=read-only -c model=gpt-5 -c model_reasoning_effort=high", ""},
		{codexExe, "codex -c otel.exporter=none", "overrides: -c otel.exporter"},
		{codexExe, "codex -c otel={exporter='none'}", "overrides: -c otel"},
		{codexExe, "codex -c sandbox_workspace_write.network_access=true", "overrides: -c sandbox_workspace_write.network_access"},
		{codexExe, "codex --disable hooks", "overrides: --disable hooks"},
		{codexExe, "codex --enable=web_search_request", "(overrides: --enable web_search_request)"},
		{codexExe, "codex --profile=fast -p fast", "(flags: -p) (flags: --profile)"},
		{codexExe, "codex app-server --analytics-default-enabled", ""},
		{codexExe, "codex -" + strings.Repeat("d", 100_000) + "sdanger-full-access", "flags: -s danger-full-access"},
		{codexExe, "codex" + strings.Repeat(" x", maxArguments) + " --yolo", "flags: more than 4096 arguments"},
		{codexExe, "codex" + strings.Repeat(" x", maxArguments-1) + " --yolo", "flags: --yolo"},
		{claudeExe, "claude -p hello --model opus", ""},
		{claudeExe, "claude -p hello --allowedTools Bash", "(flags: --allowedTools) (flags: --allowed-tools)"},
		{claudeExe, "claude -dp --dangerously-skip-permissions", "flags: --dangerously-skip-permissions"},
		{claudeExe, "claude --model -- --dangerously-skip-permissions", "flags: --dangerously-skip-permissions"},
		{claudeExe, "claude --permission-mode=bypassPermissions", "flags: --permission-mode bypassPermissions"},
		{claudeExe, "claude --permission-mode plan --settings /tmp/x.json", "flags: --settings"},
		{"/usr/bin/node", "node " + npm + "@google/gemini-cli/bundle/gemini.js --yolo", "flags: --yolo"},
		{"/usr/bin/node", "node " + npm + "@google/gemini-cli/bundle/gemini.js -dy", "flags: -y"},
		{"/usr/bin/node", "node " + npm + "@google/gemini-cli/bundle/gemini.js -y=true", "flags: -y"},
		{"/usr/bin/node", "node " + npm + "@google/gemini-cli/bundle/gemini.js --y", "flags: -y"},
		{"/usr/bin/node", "node " + npm + "@google/gemini-cli/bundle/gemini.js -mgemini-fly", ""},
		{"/usr/bin/node", "node " + npm + "@google/gemini-cli/bundle/gemini.js --approvalMode yolo", "flags: --approval-mode yolo"},
		{"/usr/bin/node", "node " + npm + "@google/gemini-cli/bundle/gemini.js --yolo=false", ""},
		{"/usr/bin/node", "node --require ./x.js " + npm + "@openai/codex/bin/codex.js exec --require y", "flags: --require"},
		{"/usr/bin/node", "node --env-file=.env " + npm + "@openai/codex/bin/codex.js", "flags: --env-file"},
		{"/usr/bin/node", "node --inspect " + npm + "@openai/codex/bin/codex.js", "flags: --inspect"},
		{"/usr/bin/node", "node --max-old-space-size=8000 " + npm + "@openai/codex/bin/codex.js", ""},
		{"/lib64/ld-linux-x86-64.so.2", "ld.so --preload /tmp/x.so /home/u/bin/codex --yolo", "flags: --preload flags: --yolo"},
		{"/home/u/.local/bin/cursor-agent", "cursor-agent -f -p x", "flags: -f"},
		{npm + "@github/copilot-linux-x64/copilot", "copilot --allow-all-tools", "flags: --allow-all-tools"},
		{npm + "opencode-linux-x64/bin/opencode", "opencode run --dangerously-skip-permissions x", "flags: --dangerously-skip-permissions"},
		{"/home/u/bin/qwen", "qwen --approval-mode=yolo", "flags: --approval-mode yolo"},
	} {
		if got := strings.Join(found(t, c.exe, strings.Fields(c.line), nil), " "); got != c.want {
			t.Errorf("%s: found %q, want %q", c.line, got, c.want)
		}
	}
}

func TestFindingsOfEnvironments(t *testing.T) {
	for _, c := range []struct{ exe, entry, want string }{
		{codexExe, "PATH=/bin", ""},
		{codexExe, "CODEX_HOME=/tmp/x", "environment: CODEX_HOME"},
		{codexExe, "CODEX_HOME=/home/u/.codex/", ""},
		{codexExe, "CODEX_HOME=/home/u/.codex/../x", "environment: CODEX_HOME"},
		{codexExe, "CODEX_HOME=", ""},
		{codexExe, "OPENAI_BASE_URL=http://u:secret@h", "environment: OPENAI_BASE_URL"},
		{codexExe, "CODEX_REFRESH_TOKEN_URL_OVERRIDE=http://h", "environment: CODEX_REFRESH_TOKEN_URL_OVERRIDE"},
		{codexExe, "CODEX_APP_SERVER_LOGIN_ISSUER=http://h", "environment: CODEX_APP_SERVER_LOGIN_ISSUER"},
		{codexExe, "CODEX_NETWORK_PROXY_ACTIVE=1", ""},
		{codexExe, "LD_PRELOAD=/tmp/x.so", "environment: LD_PRELOAD"},
		{codexExe, "LD_LIBRARY_PATH=/opt/cuda/lib64", "(environment: LD_LIBRARY_PATH)"},
		{codexExe, "NODE_OPTIONS=--max-old-space-size=8192", ""},
		{codexExe, `NODE_OPTIONS=--max-old-space-size=8192 "--require=/tmp/x.js"`, "environment: NODE_OPTIONS"},
		{codexExe, "NODE_OPTIONS=-r /tmp/x.js", "environment: NODE_OPTIONS"},
		{codexExe, "HOME=/home/u", ""},
		{codexExe, "HOME=/tmp/other", "environment: HOME"},
		{codexExe, "CLAUDE_CONFIG_DIR=/tmp/x", ""}, // not its own
		{claudeExe, "CLAUDE_CONFIG_DIR=/tmp/x", "environment: CLAUDE_CONFIG_DIR"},
		{claudeExe, "ANTHROPIC_BASE_URL=http://h", "environment: ANTHROPIC_BASE_URL"},
		{claudeExe, "ANTHROPIC_API_KEY=sk-x", ""},
		{claudeExe, "BUN_BE_BUN=1", "environment: BUN_BE_BUN"},
		{"/home/u/bin/gemini", "GEMINI_CLI_SYSTEM_SETTINGS_PATH=/tmp/s.json", "environment: GEMINI_CLI_SYSTEM_SETTINGS_PATH"},
		{"/home/u/bin/gemini", "GEMINI_CLI_SYSTEM_SETTINGS_PATH=/etc/gemini-cli/settings.json", ""},
		{"/home/u/bin/opencode", "XDG_CONFIG_HOME=/tmp", "environment: XDG_CONFIG_HOME"},
	} {
		name := strings.TrimSuffix(c.exe[strings.LastIndex(c.exe, "/")+1:], ".330")
		got := found(t, c.exe, []string{name}, []string{"TERM=x", c.entry})
		if strings.Join(got, " ") != c.want || strings.Contains(strings.Join(got, " "), "secret") {
			t.Errorf("%s: found %q, want %q", c.entry, got, c.want)
		}
	}
	// getenv takes the first of two; who reads the list may take the last.
	for _, environ := range [][]string{{"CODEX_HOME=/home/u/.codex", "CODEX_HOME=/x"}, {"CODEX_HOME=/x", "CODEX_HOME=/home/u/.codex"}} {
		if got := found(t, codexExe, []string{"codex"}, environ); len(got) != 1 {
			t.Errorf("%q: found %q", environ, got)
		}
	}
	// Without a home directory nothing is taken for the user's own.
	p := embeddedProfiles(t)
	s, _ := p.Start(Process{Exe: codexExe, Args: []string{"codex"}})
	if got := p.Findings(s, []string{"HOME=/root", "CODEX_HOME=/root/.codex"}, "", nil); len(got) != 2 {
		t.Errorf("no home is known: found %+v", got)
	}
}

// A file of the project can say what an option says.
func TestFindingsOfSettings(t *testing.T) {
	for _, c := range []struct{ exe, name, text, want string }{
		{codexExe, "/w/.codex/config.toml", "model = 'x'\nsandbox_mode = 'read-only'\n", ""},
		{codexExe, "/w/.codex/config.toml", "'sandbox_mode' = \"danger\\u002dfull-access\"\n", "overrides: sandbox_mode=danger-full-access in /w/.codex/config.toml"},
		{codexExe, "/w/.codex/config.toml", "approval_policy = 'never'\nbroken", "overrides: approval_policy=never in /w/.codex/config.toml"},
		{codexExe, "/w/.codex/config.toml", "# never\nbroken", ""},
		{codexExe, "/home/u/.codex/.env", "export OPENAI_BASE_URL = \"http://h\"\n", "overrides: OPENAI_BASE_URL in /home/u/.codex/.env"},
		{claudeExe, "/w/.claude/settings.json", `{"permissions": {"defaultMode": "bypass\u0050ermissions"}}`, "overrides: permissions.defaultMode=bypassPermissions in /w/.claude/settings.json"},
		{claudeExe, "/w/.claude/settings.json", "{\"permissions\": {\"allow\": [\"x//y\"], // c\n\"defaultMode\": \"bypassPermissions\", /* , */ },}", "overrides: permissions.defaultMode=bypassPermissions in /w/.claude/settings.json"},
		{claudeExe, "/w/.claude/settings.json", `{"permissions": {"defaultMode": "plan"}, "env": {"A": "b"}}`, ""},
		{claudeExe, "/w/.claude/settings.json", `{"env": {"ANTHROPIC_BASE_URL": "http://h"}}`, "overrides: ANTHROPIC_BASE_URL in /w/.claude/settings.json"},
		{"/home/u/bin/gemini", "/w/.gemini/.env", "GEMINI_CLI_SYSTEM_SETTINGS_PATH=/tmp/x\n", "overrides: GEMINI_CLI_SYSTEM_SETTINGS_PATH in /w/.gemini/.env"},
	} {
		name := c.exe[strings.LastIndex(c.exe, "/")+1:]
		if got := strings.Join(found(t, c.exe, []string{name}, nil, File{Name: c.name, Data: []byte(c.text)}), " "); got != c.want {
			t.Errorf("%s: found %q, want %q", c.text, got, c.want)
		}
	}
}

// What to run instead is a command that a shell reads as it is meant.
func TestInstead(t *testing.T) {
	p := embeddedProfiles(t)
	for _, c := range []struct {
		line []string
		env  string
		want string
	}{
		{[]string{"codex", "exec", "-s", "danger-full-access", "--yolo", "it's me", "-c", "model=x"}, "CODEX_HOME=/x", `env -u CODEX_HOME codex exec 'it'\''s me' -c model=x`},
		{[]string{"codex", "-sdanger-full-access"}, "", "codex"},
		{[]string{"codex", "\x1b[2J", "--yolo"}, "", "codex '\x1b[2J'"}, // whoever prints it makes it plain
	} {
		s, _ := p.Start(Process{Exe: codexExe, Args: c.line})
		if got := p.Instead(s, "/usr/bin/codex", p.Findings(s, []string{c.env}, "/home/u", nil)); got != c.want {
			t.Errorf("%q: %s, want %s", c.line, got, c.want)
		}
	}
	s, _ := p.Start(Process{Exe: codexExe, Args: []string{"codex"}})
	in := p.Findings(s, nil, "/home/u", []File{{Name: "/w/.codex/config.toml", Data: []byte("approval_policy='never'")}})
	if got := p.Instead(s, "codex", in); len(in) != 1 || got != "" {
		t.Errorf("a file must be changed, and no other command helps: %q", got)
	}
}

// What is behind the end of what is read may say anything.
func TestFindingsOfLargeSettings(t *testing.T) {
	if got := found(t, codexExe, []string{"codex"}, nil, File{Name: "/w/.codex/config.toml", Data: []byte("model = 'x'\n"), Cut: true}); len(got) == 0 {
		t.Error("nothing was found in a file that was not read to its end")
	}
}

// So may what comes after the beginning of a file of variables.
func TestFindingsOfLargeEnvironmentFiles(t *testing.T) {
	exe := "/usr/lib/node_modules/@google/gemini-cli/dist/index.js"
	if got := found(t, exe, []string{exe}, nil, File{Name: "/w/.gemini/.env", Data: []byte("# nothing\n"), Cut: true}); len(got) == 0 {
		t.Error("nothing was found in a file that was not read to its end")
	}
}

// Where settings are read depends on the command line too.
func TestSettingsFiles(t *testing.T) {
	p := embeddedProfiles(t)
	s, _ := p.Start(Process{Exe: codexExe, Args: argv("codex -pfast --profile ../../x -C /other --cd=sub")})
	names, dirs := p.SettingsFiles(s)
	if !slices.Contains(names, "~/.codex/fast.config.toml") || !slices.Equal(dirs, []string{"/other", "sub"}) {
		t.Errorf("%q, %q", names, dirs)
	}
	if got := strings.Join(names, " "); strings.Contains(got, "..") || strings.Contains(got, profileMark) {
		t.Errorf("%q", got)
	}
}

// Whoever starts a program chooses its arguments: the most there can be cost little.
func TestFindingsOfHugeCommandLines(t *testing.T) {
	many := []string{"codex"}
	for i := range 300_000 {
		many = append(many, "-cotel.a"+strconv.Itoa(i)+"=1")
	}
	for name, args := range map[string][]string{"many": many, "long": {"codex", "-" + strings.Repeat("ab=", 700_000)}} {
		began := time.Now()
		got := found(t, codexExe, args, nil)
		if took := time.Since(began); len(got) > maxFindings || took > 5*time.Second {
			t.Errorf("%s: %d findings after %s", name, len(got), took)
		}
	}
}

func TestVersionFiles(t *testing.T) {
	p := embeddedProfiles(t)
	s, _ := p.Start(Process{Exe: codexExe, Args: []string{"codex"}})
	want := []string{npm + "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/codex-package.json", npm + "@openai/codex-linux-x64/package.json"}
	if got := p.VersionFiles(s); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestLaunchRulesAreChecked(t *testing.T) {
	const agent = "[[agents]]\nname='a'\n[[agents.match]]\nprogram=['a']\n"
	for text, want := range map[string]string{
		agent + "[[agents.launch]]\nflags=['-x']\n":                        "does not say why",
		agent + "[[agents.launch]]\nwhy='x'\n":                             "about nothing",
		agent + "[[agents.launch]]\nwhy='x'\nflags=['x']\n":                "must begin with -",
		agent + "[[agents.launch]]\nwhy='x'\nflags=['-x']\nwithin=['a']\n": "KEY=VALUE",
		agent + "[[agents.launch]]\nwhy='x'\nsettings=['a']\n":             "KEY=VALUE",
		"[[launch]]\nwhy='x'\nflags=['x']\n" + agent:                       "launch 1",
		agent + "[[agents.launch]]\nwhy='x'\nflag=['-x']\n":                `unknown key "agents.launch.flag"`,
	} {
		if _, err := ParseProfiles("f", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want ...%s...", text, err, want)
		}
	}
}

// A huge command line costs milliseconds, and none is too strange.
func FuzzFindings(f *testing.F) {
	f.Add("codex\x00-s=danger-full-access\x00-c\x00a={b", "CODEX_HOME=/x\x00=\x00HOME", "a = 'b", "{\"env\": {\"a\": [1]}}")
	f.Add("codex\x00--\x00-\x00--=\x00-=\x00-c\x00=", "\xff=\xff", "[a]\n[a.b]", "/* \" */ {,}")
	p := embeddedProfiles(f)
	f.Fuzz(func(t *testing.T, args, environ, toml, json string) {
		s, ok := p.Start(Process{Exe: codexExe, Args: append([]string{"codex"}, strings.Split(args, "\x00")...)})
		if !ok {
			t.Fatal("codex is no agent")
		}
		files := []File{{Name: "config.toml", Data: []byte(toml)}, {Name: "settings.json", Data: []byte(json)}, {Name: "x.env", Data: []byte(toml)}}
		all := p.Findings(s, strings.Split(environ, "\x00"), "/home/u", files)
		for _, one := range all {
			if one.Why == "" || !utf8.ValidString(one.What) {
				t.Fatalf("%+v", one)
			}
		}
		_ = p.Instead(s, "codex", all)
	})
}
