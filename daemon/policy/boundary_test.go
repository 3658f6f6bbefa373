// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func texts(list []Pattern) string {
	var out []string
	for _, p := range list {
		out = append(out, p.Text)
	}
	return strings.Join(out, " ")
}

// What puts a boundary into force, and which.
func TestBoundaryMode(t *testing.T) {
	for text, want := range map[string]SandboxMode{
		"":                   NoBoundary,
		"[paddock]":          NoBoundary,
		"[paddock.boundary]": WorkspaceWrite,
		"[rules]\nprefix_rules = [{ pattern = [{ token = 'x' }], decision = 'forbidden' }]":                                NoBoundary,
		"allowed_sandbox_modes = ['read-only']":                                                                            ReadOnly,
		"allowed_sandbox_modes = ['read-only', 'workspace-write']":                                                         WorkspaceWrite,
		"allowed_sandbox_modes = ['read-only', 'workspace-write', 'danger-full-access']":                                   NoBoundary,
		"allowed_sandbox_modes = ['read-only', 'danger-full-access']\n[paddock.boundary]":                                  WorkspaceWrite,
		"allowed_sandbox_modes = ['read-only', 'workspace-write']\n[paddock.boundary]\nmode = 'danger-full-access'":        WorkspaceWrite,
		"allowed_sandbox_modes = ['read-only']\n[paddock.boundary]":                                                        ReadOnly,
		"permissions.filesystem.deny_read = ['~/.ssh']":                                                                    FullAccess,
		"default_permissions = ':read-only'\n[allowed_permission_profiles]\n':read-only' = true":                           ReadOnly,
		"default_permissions = ':workspace'\n[allowed_permission_profiles]\n':read-only' = true\n':workspace' = true":      WorkspaceWrite,
		"[allowed_permission_profiles]\n':read-only' = true\n':workspace' = true\n':danger-full-access' = true":            NoBoundary,
		"allowed_sandbox_modes = ['read-only', 'workspace-write']\npermissions.filesystem.deny_read = ['/srv/**/*.pem']\n": WorkspaceWrite,
	} {
		r, err := Parse("/etc/codex/requirements.toml", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if r.Boundary.Mode != want {
			t.Errorf("%q: %v, want %v", text, r.Boundary.Mode, want)
		}
		if merged := Merge(r); merged.Boundary.Mode != want {
			t.Errorf("%q, merged: %v, want %v", text, merged.Boundary.Mode, want)
		}
		if got := len(r.Boundary.Rules()) > 0; got != (want != NoBoundary) {
			t.Errorf("%q: rules: %v", text, got)
		}
	}
}

func TestBoundaryErrors(t *testing.T) {
	for text, want := range map[string]string{
		"mode = 'workspace'":          `line 2, column 8: paddock.boundary.mode: unknown mode "workspace"`,
		"writeable = []":              `unknown key "writeable" in [paddock.boundary]; did you mean "writable"?`,
		"writable = ['src']":          `paddock.boundary.writable[0]: bad path "src" (it must begin with / or ~/)`,
		"writable = ['/']":            `paddock.boundary.writable[0]: "/" is the whole machine; that is mode = "danger-full-access"`,
		"unreadable = ['~/../x']":     `paddock.boundary.unreadable[0]: bad path "~/../x"`,
		"protected = ['../x']":        `paddock.boundary.protected[0]: bad path "../x"`,
		"protected = ['']":            `paddock.boundary.protected[0]: bad path ""`,
		"protected = ['/a//b']":       `bad path "/a//b"`,
		"unreadable = ['/a/[b']":      `bad pattern "/a/[b": a [ without its ]`,
		"unreadable = ['~bob/x']":     `bad path "~bob/x"`,
		"readable = ['~/.sshh']":      `paddock.boundary.readable[0]: "~/.sshh" is no path of the built-in list; did you mean "~/.ssh"?`,
		"unprotected = ['.git']":      `paddock.boundary.unprotected[0]: ".git" is no path of the built-in list`,
		"reachable = ['/run/x.sock']": `paddock.boundary.reachable[0]: "/run/x.sock" is no path of the built-in list`,
		"caches = 'no'":               `paddock.boundary.caches: expected true or false`,
		"project = 'git'":             `paddock.boundary.project: unknown project "git"`,
		"sockets = 'x'":               `paddock.boundary.sockets: expected an array`,
	} {
		_, err := Parse("f", []byte("[paddock.boundary]\n"+text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n  error: %v\n   want: %s", text, err, want)
		}
	}
}

// What Codex's network policy says of unix sockets: a denied one nobody reaches, and an
// allowed one is let through by reachable alone.
func TestDeniedUnixSockets(t *testing.T) {
	for _, name := range []string{"experimental_network", "network_proxy", "permissions.network"} {
		low, err := Parse("low", []byte("[paddock.boundary]\n["+name+"]\ndangerously_allow_all_unix_sockets = true\n["+name+".unix_sockets]\n'/run/docker.sock' = 'allow'\n'/run/vpn.sock' = 'allow'\n"))
		if err != nil {
			t.Fatal(err)
		}
		high, err := Parse("high", []byte("["+name+".unix_sockets]\n'/run/vpn.sock' = 'deny'\n'relative' = 'deny'\n"))
		if err != nil {
			t.Fatal(err)
		}
		if high.Boundary.Mode != FullAccess {
			t.Errorf("%s: a denied socket alone: mode %v", name, high.Boundary.Mode)
		}
		rules := Merge(low, high).Boundary.Rules()
		for text, want := range map[string]bool{"/run/docker.sock": true, "/run/vpn.sock": true, "relative": false, "/run/nscd": true} {
			if got := slices.ContainsFunc(rules, func(r PathRule) bool { return r.Kind == Broker && r.Text == text }); got != want {
				t.Errorf("%s: %s is refused: %v, want %v", name, text, got, want)
			}
		}
	}
}

// Layers narrow each other.
func TestMergeBoundaries(t *testing.T) {
	layer := func(name, text string) *Requirements {
		r, err := Parse(name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	low := layer("low", `[paddock.boundary]
mode = "danger-full-access"
writable = ["/srv/a", "/srv/b/deep", "/srv/c"]
readable = ["~/.aws", "~/.kube"]
unprotected = [".git/config", ".git/hooks"]
reachable = ["/run/docker.sock"]
unreadable = ["/x"]
projects = ["/srv"]`)
	high := layer("high", `[paddock.boundary]
project = "directory"
writable = ["/srv/b", "/srv/c"]
readable = ["~/.kube"]
unprotected = [".git/config"]
unreadable = ["/y"]
caches = false
projects = ["/srv/a", "/home"]`)
	codexOnly := layer("codex", "allowed_sandbox_modes = ['read-only', 'workspace-write']")
	if b := Merge(low, codexOnly).Boundary; b.Mode != WorkspaceWrite || texts(b.Writable) != texts(low.Boundary.Writable) {
		t.Errorf("a layer without the table takes away what it does not speak of: %+v", b)
	}
	silent := layer("silent", "[paddock]\nmode = \"observe\"")
	b := Merge(low, silent, high).Boundary
	if b.Mode != WorkspaceWrite || b.Project != WorkingDirectory || !b.NoCaches || b.NoTemporary {
		t.Errorf("%+v", b)
	}
	for what, got := range map[string][2]string{
		"writable":    {texts(b.Writable), "/srv/c /srv/b/deep"},
		"readable":    {texts(b.Readable), "~/.kube"},
		"unprotected": {texts(b.Unprotected), ".git/config"},
		"reachable":   {texts(b.Reachable), ""},
		"unreadable":  {texts(b.Unreadable), "/y /x"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %q, want %q", what, got[0], got[1])
		}
	}
	has := func(kind PathKind, text string) bool {
		return slices.ContainsFunc(b.Rules(), func(r PathRule) bool { return r.Kind == kind && r.Text == text })
	}
	if has(Protected, ".git/config") || !has(Protected, ".git/hooks") || has(Unreadable, "~/.kube") || !has(Unreadable, "~/.aws") || !has(Broker, "/run/docker.sock") || has(Writable, "~/.cache") || !has(Writable, "/tmp") {
		t.Error("the built-in rules are not as the layers say")
	}
	for dir, want := range map[string]bool{"/srv/a/x": true, "/srv/b": false, "/home/u/src": false, "/srv/ab": false, "/srv": false} {
		if got := b.MayBeProject(dir, "/home/u"); got != want {
			t.Errorf("project %s: %v, want %v", dir, got, want)
		}
	}
}

func TestMayBeProject(t *testing.T) {
	b := Boundary{Mode: WorkspaceWrite}
	for dir, want := range map[string]bool{
		"/": false, "/home": false, "/etc": false, "/etc/nginx": false, "/usr/src/linux": false, "/var/lib/x": false, "/tmp": false,
		"/tmp/x": true, "/home/u": true, "/home/u/src": true, "/data/x": true, "/srv/x": true, "relative": false, "/home/u/../v": false,
		"/home/u/.ssh": false, "/home/u/.ssh/x": false, "/home/u/.config/systemd/user": false, "/home/u/.codex": false, "/opt/x": false,
		"/proc/1": false, "/root": true,
	} {
		home := "/home/u"
		if dir == "/root" {
			home = "/root"
		}
		if got := b.MayBeProject(dir, home); got != want {
			t.Errorf("%s: %v, want %v", dir, got, want)
		}
	}
	if (Boundary{Mode: WorkspaceWrite, Project: NoProject}).MayBeProject("/home/u/src", "/home/u") {
		t.Error(`project = "none" has one`)
	}
}

// Adding a layer never lets a session do more.
func TestMoreLayersNarrow(t *testing.T) {
	paths := []string{"/a", "/a/b", "/a/b/c", "/d", "~/e"}
	one := rapid.Custom(func(t *rapid.T) *Requirements {
		list := func(name string) []Pattern {
			var out []Pattern
			for _, p := range rapid.SliceOfDistinct(rapid.SampledFrom(paths), rapid.ID).Draw(t, name) {
				out = append(out, Pattern{Text: p})
			}
			return out
		}
		b := Boundary{
			Table: rapid.Bool().Draw(t, "table"), Mode: SandboxMode(rapid.IntRange(0, 3).Draw(t, "mode")),
			Unreadable: list("unreadable"), Protected: list("protected"), NoCaches: rapid.Bool().Draw(t, "caches"),
		}
		if b.Table {
			b.Writable = list("writable")
		}
		return &Requirements{Boundary: b}
	})
	rapid.Check(t, func(t *rapid.T) {
		layers := rapid.SliceOfN(one, 1, 4).Draw(t, "layers")
		all := mergeBoundaries(layers)
		for _, l := range layers {
			b := l.Boundary
			if b.Mode == NoBoundary {
				continue
			}
			if !b.Table {
				b.Writable = []Pattern{{Text: "/"}, {Text: "~"}} // about which it says nothing
			}
			if all.Mode == NoBoundary || all.Mode > b.Mode {
				t.Fatalf("mode %v of %v", all.Mode, b.Mode)
			}
			for _, w := range all.Writable {
				if !slices.ContainsFunc(b.Writable, func(p Pattern) bool { return within(w.Text, p.Text) }) {
					t.Fatalf("%s is writable, and a layer has only %s", w.Text, texts(b.Writable))
				}
			}
			for _, p := range b.Unreadable {
				if !slices.Contains(all.Unreadable, p) {
					t.Fatalf("%s is readable", p.Text)
				}
			}
			for _, p := range b.Protected {
				if !slices.Contains(all.Protected, p) {
					t.Fatalf("%s is not protected", p.Text)
				}
			}
		}
	})
}

// What an agent's own program may do and what it starts may not is its own state
// and its own credentials: nothing of another agent's, nothing of the system's, and
// no service that would start programs.
func TestAgentsOwnProgram(t *testing.T) {
	for _, r := range (Boundary{Mode: WorkspaceWrite}).Rules() {
		if r.Agent == "" {
			continue
		}
		if r.Agent == AnyAgent || r.Kind == Broker || r.Kind == Writable {
			t.Errorf("%+v", r)
		}
		if !slices.Contains(agentPaths[r.Agent], r.Text) && !slices.Contains(agentSecrets[r.Agent], r.Text) {
			t.Errorf("%s is not %s's", r.Text, r.Agent)
		}
	}
}
