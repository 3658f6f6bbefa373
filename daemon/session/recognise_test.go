// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func embeddedProfiles(t testing.TB) *Profiles {
	t.Helper()
	p, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func argv(line string) []string { return strings.Fields(line) }

const npm = "/usr/lib/node_modules/"

func TestRecogniseAgents(t *testing.T) {
	for _, c := range []struct {
		name string
		proc Process
		want Match
	}{
		{
			"codex from npm, by its link and env: the first exec is of env",
			Process{
				Exe: "/usr/bin/env", Called: "/usr/bin/codex", Script: npm + "@openai/codex/bin/codex.js",
				Args: argv("/usr/bin/env node /usr/bin/codex exec hello"),
			},
			Match{Agent: "codex", Surface: SurfaceExec, Install: "npm"},
		},
		{
			"the same when the link was not resolved",
			Process{Exe: "/usr/bin/env", Called: "/usr/bin/codex", Args: argv("/usr/bin/env node /usr/bin/codex exec hello")},
			Match{Agent: "codex", Surface: SurfaceExec, Install: "standalone"},
		},
		{
			"codex.js given to node",
			Process{Exe: "/usr/bin/node", Called: "/usr/bin/node", Args: argv("node " + npm + "@openai/codex/bin/codex.js")},
			Match{Agent: "codex", Surface: SurfaceCLI, Install: "npm"},
		},
		{
			"with options of node before it, known and unknown",
			Process{Exe: "/usr/bin/node", Args: argv("node --no-warnings --max-old-space-size=4096 --unheard-of value -r ./x.js -C dev " + npm + "@openai/codex/bin/codex.js mcp-server")},
			Match{Agent: "codex", Surface: SurfaceMCP, Install: "npm"},
		},
		{
			"a relative script",
			Process{Exe: "/usr/bin/node", Cwd: npm + "@openai/codex/bin", Args: argv("node -- ./codex.js")},
			Match{Agent: "codex", Surface: SurfaceCLI, Install: "npm"},
		},
		{
			"the directory of the package",
			Process{Exe: "/usr/bin/node", Cwd: "/usr/lib", Args: argv("node node_modules/@openai/codex")},
			Match{Agent: "codex", Surface: SurfaceCLI, Install: "npm"},
		},
		{
			"pnpm",
			Process{Exe: "/usr/bin/node", Args: argv("node /h/.local/share/pnpm/global/5/.pnpm/@openai+codex@0.169.0/node_modules/@openai/codex/bin/codex.js")},
			Match{Agent: "codex", Surface: SurfaceCLI, Install: "npm"},
		},
		{
			"imported by an option",
			Process{Exe: "/usr/bin/node", Args: argv("node --import file://" + npm + "@openai/codex/bin/codex.js /dev/null")},
			Match{Agent: "codex", Surface: SurfaceCLI, Install: "npm"},
		},
		{
			"imported by program text",
			Process{Exe: "/usr/bin/node", Args: []string{"node", "-e", "import('" + npm + "@google/gemini-cli/bundle/gemini.js')"}},
			Match{Agent: "gemini-cli", Surface: SurfaceCLI, Install: "npm"},
		},
		{
			"node found by the name it was called",
			Process{Exe: "/opt/node/bin/node-v24", Called: "/usr/bin/node", Args: argv("node " + npm + "@openai/codex/bin/codex.js")},
			Match{Agent: "codex", Surface: SurfaceCLI, Install: "npm"},
		},
		{
			"the native program of the npm package",
			Process{Exe: npm + "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex", Args: argv("codex exec x")},
			Match{Agent: "codex", Surface: SurfaceExec, Install: "npm"},
		},
		{
			"standalone, global options before the subcommand",
			Process{Exe: "/home/u/.local/bin/codex", Called: "codex", Args: argv("codex -c model=exec -m o3 e task")},
			Match{Agent: "codex", Surface: SurfaceExec, Install: "standalone"},
		},
		{
			"a prompt that begins with a subcommand's name",
			Process{Exe: "/home/u/.local/bin/codex", Args: []string{"codex", "exec this for me"}},
			Match{Agent: "codex", Surface: SurfaceCLI, Install: "standalone"},
		},
		{
			"replaced while it runs, found by the walk",
			Process{Exe: "/home/u/.local/bin/codex (deleted)", Args: argv("codex")},
			Match{Agent: "codex", Surface: SurfaceCLI, Install: "standalone"},
		},
		{
			"argv[0] is whatever the caller says",
			Process{Exe: "/home/u/.local/bin/codex", Called: "/home/u/.local/bin/codex", Args: argv("bash app-server")},
			Match{Agent: "codex", Surface: SurfaceIDE, Install: "standalone"},
		},
		{
			"no argv at all",
			Process{Exe: "/home/u/.local/bin/codex", Called: "/home/u/.local/bin/codex"},
			Match{Agent: "codex", Surface: SurfaceCLI, Install: "standalone"},
		},
		{
			"through the loader",
			Process{Exe: "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", Args: argv("ld.so --library-path /x --argv0 cat /home/u/bin/codex exec x")},
			Match{Agent: "codex", Surface: SurfaceExec, Install: "standalone"},
		},
		{
			"Homebrew cask",
			Process{Exe: "/opt/homebrew/Caskroom/codex/0.169.0/codex-aarch64-apple-darwin", Called: "/opt/homebrew/bin/codex", Args: argv("codex")},
			Match{Agent: "codex", Surface: SurfaceCLI, Install: "brew", Version: "0.169.0"},
		},
		{
			"VS Code extension",
			Process{Exe: "/home/u/.vscode/extensions/openai.chatgpt-26.5.10-linux-x64/bin/linux-x86_64/codex", Args: argv("codex app-server --analytics-default-enabled")},
			Match{Agent: "codex", Surface: SurfaceIDE, Install: "extension", Version: "26.5.10"},
		},
		{
			"Cursor extension on a server",
			Process{Exe: "/home/u/.cursor-server/extensions/openai.chatgpt-26.5.10/bin/linux-x86_64/codex", Args: argv("codex app-server")},
			Match{Agent: "codex", Surface: SurfaceIDE, Install: "extension", Version: "26.5.10"},
		},
		{
			"desktop app",
			Process{Exe: "/Applications/Codex.app/Contents/Resources/codex", Args: argv("codex app-server")},
			Match{Agent: "codex", Surface: SurfaceDesktop, Install: "desktop"},
		},
		{
			"an app-server of its own that the desktop app started",
			Process{Exe: "/usr/local/bin/codex", Args: argv("codex app-server"), ParentExe: "/Applications/Codex.app/Contents/MacOS/Codex"},
			Match{Agent: "codex", Surface: SurfaceDesktop, Install: "standalone"},
		},
		{
			"claude, a link to a file named after its version",
			Process{Exe: "/home/u/.local/share/claude/versions/2.1.330", Called: "/home/u/.local/bin/claude", Args: argv("claude -p hi")},
			Match{Agent: "claude-code", Surface: SurfaceExec, Install: "standalone", Version: "2.1.330"},
		},
		{
			"claude of the old npm package",
			Process{Exe: "/usr/bin/node", Args: argv("node --no-warnings --enable-source-maps " + npm + "@anthropic-ai/claude-code/cli.js mcp serve")},
			Match{Agent: "claude-code", Surface: SurfaceMCP, Install: "npm"},
		},
		{
			"claude of the new npm package",
			Process{Exe: npm + "@anthropic-ai/claude-code/bin/claude.exe", Called: "/usr/bin/claude", Args: argv("claude")},
			Match{Agent: "claude-code", Surface: SurfaceCLI, Install: "npm"},
		},
		{
			"claude in an editor",
			Process{Exe: "/home/u/.vscode/extensions/anthropic.claude-code-2.1.330-linux-x64/resources/native-binary/claude", Args: argv("claude --print")},
			Match{Agent: "claude-code", Surface: SurfaceIDE, Install: "extension", Version: "2.1.330"},
		},
		{
			"gemini, headless",
			Process{Exe: "/usr/bin/node", Args: argv("node " + npm + "@google/gemini-cli/bundle/gemini.js --prompt=hello")},
			Match{Agent: "gemini-cli", Surface: SurfaceExec, Install: "npm"},
		},
		{
			"gemini by bun's link",
			Process{Exe: "/usr/bin/node", Called: "/home/u/.bun/bin/gemini", Args: argv("/usr/bin/node /home/u/.bun/bin/gemini")},
			Match{Agent: "gemini-cli", Surface: SurfaceCLI},
		},
		{
			"bun run",
			Process{Exe: "/home/u/.bun/bin/bun", Args: argv("bun run --smol /x/node_modules/@qwen-code/qwen-code/cli-entry.js --acp")},
			Match{Agent: "qwen", Surface: SurfaceIDE, Install: "npm"},
		},
		{
			"cursor-agent: the shell script",
			Process{Exe: "/usr/bin/bash", Called: "/home/u/.local/bin/cursor-agent", Args: argv("bash /home/u/.local/bin/cursor-agent -p x")},
			Match{Agent: "cursor", Surface: SurfaceExec},
		},
		{
			"cursor-agent by its newer name",
			Process{
				Exe: "/usr/bin/bash", Called: "/home/u/.local/bin/agent", Script: "/home/u/.local/share/cursor-agent/versions/2026.01.02-abc/cursor-agent",
				Args: argv("bash /home/u/.local/bin/agent"),
			},
			Match{Agent: "cursor", Surface: SurfaceCLI, Install: "standalone", Version: "2026.01.02-abc"},
		},
		{
			"cursor-agent: its own node",
			Process{Exe: "/home/u/.local/share/cursor-agent/versions/2026.01.02-abc/node", Args: argv("/home/u/.local/bin/cursor-agent --use-system-ca /home/u/.local/share/cursor-agent/versions/2026.01.02-abc/index.js")},
			Match{Agent: "cursor", Surface: SurfaceCLI, Install: "standalone", Version: "2026.01.02-abc"},
		},
		{
			"Cursor's extension host",
			Process{Exe: "/usr/share/cursor/cursor", Called: "/proc/self/exe", Args: argv("/proc/self/exe --type=utility --utility-sub-type=node.mojom.NodeService --inspect-port=0")},
			Match{Agent: "cursor", Surface: SurfaceIDE, Install: "editor"},
		},
		{
			"copilot",
			Process{Exe: npm + "@github/copilot-linux-x64/copilot", Args: argv("copilot --model x -p hi")},
			Match{Agent: "copilot", Surface: SurfaceExec, Install: "npm"},
		},
		{
			"opencode",
			Process{Exe: npm + "opencode-linux-x64/bin/opencode", Args: argv("opencode run --model m hi")},
			Match{Agent: "opencode", Surface: SurfaceExec, Install: "npm"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := c.proc.Exe[strings.LastIndexByte(c.proc.Exe, '/')+1:]
			if !embeddedProfiles(t).MayBe(name, c.proc.Called, c.proc.Exe) {
				t.Errorf("told from an agent too quickly")
			}
			got, ok := embeddedProfiles(t).Recognise(c.proc)
			if !ok || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, ok, c.want)
			}
		})
	}
}

func TestRecogniseOthers(t *testing.T) {
	for name, proc := range map[string]Process{
		"nothing known":                    {},
		"an empty argv[0]":                 {Exe: "/usr/bin/true", Called: "/usr/bin/true", Args: []string{""}},
		"a shell":                          {Exe: "/usr/bin/bash", Called: "/bin/sh", Args: argv("sh -c codex")},
		"argv[0] only":                     {Exe: "/usr/bin/sleep", Called: "/usr/bin/sleep", Args: argv("codex exec")},
		"environment only":                 {Exe: "/usr/bin/sleep", Args: argv("sleep 1"), Env: map[string]string{"CODEX_THREAD_ID": "x", "CLAUDECODE": "1"}},
		"a name that begins so":            {Exe: "/usr/bin/codex-helper", Args: argv("codex-helper")},
		"a directory of the name":          {Exe: "/opt/codex/bin/tool", Args: argv("tool")},
		"node alone":                       {Exe: "/usr/bin/node", Args: argv("node")},
		"node, a file named by an option":  {Exe: "/usr/bin/node", Args: argv("node --title codex build.js")},
		"node, an argument of the script":  {Exe: "/usr/bin/node", Args: argv("node build.js " + npm + "@openai/codex/bin/codex.js")},
		"node, text":                       {Exe: "/usr/bin/node", Args: argv("node -e 1 " + npm + "@openai/codex/bin/codex.js")},
		"node, text on standard input":     {Exe: "/usr/bin/node", Args: argv("node - " + npm + "@openai/codex/bin/codex.js")},
		"what a package depends on":        {Exe: "/usr/bin/node", Args: argv("node " + npm + "@openai/codex/node_modules/other/cli.js")},
		"a package of a similar name":      {Exe: "/usr/bin/node", Args: argv("node " + npm + "@openai/codex-sdk/dist/index.js")},
		"the editor's window":              {Exe: "/usr/share/cursor/cursor", Args: argv("cursor --type=renderer")},
		"the editor's terminals":           {Exe: "/usr/share/cursor/cursor", Args: argv("cursor --type=utility --utility-sub-type=node.mojom.NodeService")},
		"somebody else's agent":            {Exe: "/opt/monitoring/bin/agent", Args: argv("agent")},
		"a version file of something else": {Exe: "/opt/share/foo/versions/2.1.330", Args: argv("foo")},
		"a parent that is an agent":        {Exe: "/usr/bin/ls", Args: argv("ls"), ParentExe: "/home/u/.local/bin/codex", ParentArgs: argv("codex")},
		"a script without interpreter":     {Exe: "/usr/bin/cat", Called: "/usr/bin/cat", Args: argv("cat /usr/bin/codex")},
	} {
		t.Run(name, func(t *testing.T) {
			if m, ok := embeddedProfiles(t).Recognise(proc); ok {
				t.Errorf("recognised as %+v", m)
			}
		})
	}
}

// The longest argv Linux allows must cost milliseconds: whoever starts a
// program chooses it.
func TestRecogniseHuge(t *testing.T) {
	p := embeddedProfiles(t)
	args := []string{"node"}
	for range 400_000 {
		args = append(args, "--x")
	}
	args = append(args, "\xff\xfe/"+strings.Repeat("a/", 1<<20), npm+"@openai/codex/bin/codex.js")
	if m, ok := p.Recognise(Process{Exe: "/usr/bin/node", Args: args}); !ok || m.Agent != "codex" {
		t.Errorf("got %+v, %v; want codex, behind 400,000 options", m, ok)
	}
}

// A directory may lie deeper than any path can say; then procfs does not tell
// the executable's either.
func TestRecogniseBelowADeepDirectory(t *testing.T) {
	p := embeddedProfiles(t)
	deep := strings.Repeat("/directory", 1000)
	if m, ok := p.Recognise(Process{Called: "./codex", Cwd: deep, Args: argv("codex")}); !ok || m.Agent != "codex" {
		t.Errorf("by name: %+v, %v", m, ok)
	}
	if m, ok := p.Recognise(Process{Called: "node", Cwd: deep + "/node_modules/@openai/codex", Args: argv("node bin/codex.js")}); !ok || m.Install != "npm" {
		t.Errorf("by package: %+v, %v", m, ok)
	}
	if got := absolute(deep, "x"); len(got) > maxPath || !strings.HasPrefix(got, "/directory/") || !strings.HasSuffix(got, "/x") {
		t.Errorf("%d bytes: %.20s", len(got), got)
	}
	if got := absolute("/", strings.Repeat("x", 2*maxPath)); len(got) != maxPath+1 {
		t.Errorf("a name of %d bytes became %d", 2*maxPath, len(got))
	}
}

func TestScriptArgument(t *testing.T) {
	p := embeddedProfiles(t)
	got, ok := p.ScriptArgument(Process{Exe: "/usr/bin/node", Args: argv("node -r x y z")})
	if !ok || got != "y" {
		t.Errorf("got %q, %v; want the script, not what is loaded before", got, ok)
	}
	if got, ok = p.ScriptArgument(Process{Exe: "/usr/bin/node", Args: argv("node -r x")}); !ok || got != "x" {
		t.Errorf("got %q, %v; want what is loaded", got, ok)
	}
	if got, ok := p.ScriptArgument(Process{Exe: "/usr/bin/ls", Args: argv("ls y")}); ok {
		t.Errorf("ls runs no script, got %q", got)
	}
}

func FuzzRecognise(f *testing.F) {
	f.Add("/usr/bin/node", "/usr/bin/codex", "/", "node\x00--x\x00-r\x00codex.js", "")
	f.Add("/proc/self/exe (deleted)", "", "", "\x00\x00-\x00--", "/node_modules/@openai")
	f.Add("/home/u/.local/share/claude/versions/2", "\xff", "..", "", "/../")
	p := embeddedProfiles(f)
	names := map[string]bool{}
	for _, n := range p.Names() {
		names[n] = true
	}
	f.Fuzz(func(t *testing.T, exe, called, cwd, args, script string) {
		proc := Process{Exe: exe, Called: called, Cwd: cwd, Args: strings.Split(args, "\x00"), Script: script}
		m, ok := p.Recognise(proc)
		if ok && !p.MayBe(base(exe), called, exe) && script == "" {
			t.Fatalf("%+v was told from an agent too quickly", m)
		}
		if ok != names[m.Agent] {
			t.Fatalf("%+v, %v", m, ok)
		}
		if ok && (checkSurface(m.Surface) != nil || !utf8.ValidString(m.Version)) {
			t.Fatalf("%+v", m)
		}
		// What nobody but the caller decides changes nothing.
		proc.Args = append([]string{"codex"}, proc.Args[1:]...)
		proc.Env = map[string]string{"CODEX_THREAD_ID": "x"}
		if again, ok2 := p.Recognise(proc); again != m || ok2 != ok {
			t.Fatalf("%+v became %+v", m, again)
		}
	})
}
