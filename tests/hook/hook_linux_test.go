// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/cli"
	"github.com/seed-649e9bbc/paddock/tests/codex"
)

// program is where a copy of the test program is paddock.
const program = "/usr/local/bin/paddock"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "paddock" {
		os.Exit(cli.Main(cli.New("test"), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// requirements are what docs/approvals.md tells to write.
const requirements = `
[features]
hooks = true

[hooks]
managed_dir = "/usr/local/bin"

[[hooks.PreToolUse]]
[[hooks.PreToolUse.hooks]]
type = "command"
command = "/usr/local/bin/paddock hook codex --limit 20s"
timeout = 30

[[hooks.PermissionRequest]]
[[hooks.PermissionRequest.hooks]]
type = "command"
command = "/usr/local/bin/paddock hook codex --limit 20s"
timeout = 30

[[hooks.PostToolUse]]
[[hooks.PostToolUse.hooks]]
type = "command"
command = "/usr/local/bin/paddock hook codex"
timeout = 30

[[hooks.UserPromptSubmit]]
[[hooks.UserPromptSubmit.hooks]]
type = "command"
command = "/usr/local/bin/paddock hook codex"
timeout = 30

[[hooks.SessionStart]]
[[hooks.SessionStart.hooks]]
type = "command"
command = "/usr/local/bin/paddock hook codex"
timeout = 30

[[hooks.Stop]]
[[hooks.Stop.hooks]]
type = "command"
command = "/usr/local/bin/paddock hook codex"
timeout = 30
`

// backend answers hooks by the name of what a command touches, as if all came from
// agents; what the real daemon answers is tried by tests/codex.
type backend struct {
	api.Backend

	mu     sync.Mutex
	asked  []api.ToolRequest
	events []api.HookEvent
}

func (b *backend) Governed(int) bool { return false }

func (b *backend) RequestTool(_ context.Context, _ api.Peer, r api.ToolRequest) (api.ToolAnswer, error) {
	b.mu.Lock()
	b.asked = append(b.asked, r)
	b.mu.Unlock()
	switch {
	case strings.Contains(r.Command, "forbidden"):
		return api.ToolAnswer{Decision: api.ToolDeny, Reason: "touch is forbidden by rule touch (team.rules:3): Files are made by people"}, nil
	case strings.Contains(r.Command, "approved"):
		return api.ToolAnswer{Decision: api.ToolAllow, Reason: "approved by dev", Approval: "01JZ0000000000000000000ABC"}, nil
	case strings.Contains(r.Command, "broken"):
		return api.ToolAnswer{}, errors.New("the queue is on fire")
	case r.Ask && strings.Contains(r.Command, "refused"):
		return api.ToolAnswer{Decision: api.ToolDeny, Reason: "refused by dev: not today", Approval: "01JZ0000000000000000000DEF"}, nil
	}
	return api.ToolAnswer{Decision: api.ToolNone}, nil
}

func (b *backend) RecordHook(_ context.Context, _ api.Peer, e api.HookEvent) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
	return nil
}

// serve installs the hook's program, and answers it where the daemon does.
func serve(t *testing.T) (*backend, *api.Server) {
	t.Helper()
	install(t)
	b := &backend{}
	server := api.NewServer(api.DefaultSocket, b, slog.New(slog.DiscardHandler))
	if err := os.MkdirAll(filepath.Dir(api.DefaultSocket), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b, server
}

func install(t *testing.T) {
	t.Helper()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(program, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close()); err != nil {
		t.Fatal(err)
	}
}

// run has the real Codex run commands that touch these files, and returns which it did
// touch.
func run(t *testing.T, names ...string) (codex.Result, map[string]bool) {
	t.Helper()
	o := codex.Options{Dir: t.TempDir(), Sandbox: "danger-full-access", Requirements: requirements}
	for _, name := range names {
		o.Commands = append(o.Commands, "touch "+name)
	}
	result, err := codex.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode != 0 {
		t.Errorf("Codex ended with %d:\n%s", result.ExitCode, result.Output)
	}
	touched := map[string]bool{}
	for _, name := range names {
		_, err := os.Stat(filepath.Join(o.Dir, name))
		touched[name] = err == nil
	}
	return result, touched
}

func TestRealCodexAsksTheRealHook(t *testing.T) {
	codex.Isolated(t, func(t *testing.T) {
		b, server := serve(t)
		result, touched := run(t, "free", "forbidden", "approved", "broken")
		for name, want := range map[string]bool{"free": true, "forbidden": false, "approved": true, "broken": false} {
			if touched[name] != want {
				t.Errorf("touch %s: it ran: %v, want %v", name, touched[name], want)
			}
		}
		// The refusal reaches the model in words.
		for i, want := range map[int]string{
			1: "Files are made by people",
			3: "the queue is on fire",
		} {
			if got := result.Calls[i].Blocked; !strings.Contains(got, want) || !strings.Contains(got, "PreToolUse") {
				t.Errorf("call %d was told %q, want %q", i, got, want)
			}
		}
		b.mu.Lock()
		for i, r := range b.asked {
			if r.ToolCall != codex.CallID(i) || r.Tool != "Bash" || r.Command == "" || r.Cwd == "" {
				t.Errorf("asked about %+v", r)
			}
		}
		var names []string
		for _, e := range b.events {
			names = append(names, e.Event)
		}
		// A call that was denied has no result.
		want := "SessionStart UserPromptSubmit PostToolUse PostToolUse Stop"
		if got := strings.Join(names, " "); got != want {
			t.Errorf("recorded %s, want %s", got, want)
		}
		if len(b.events) > 1 && b.events[1].Prompt != "follow the script" {
			t.Errorf("the prompt is %q", b.events[1].Prompt)
		}
		b.mu.Unlock()

		// And when there is no daemon.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		result, touched = run(t, "free")
		if touched["free"] {
			t.Error("a command ran although the daemon could not be asked")
		}
		if got := result.Calls[0].Blocked; !strings.Contains(got, "cannot be reached") {
			t.Errorf("it was told %q", got)
		}
	})
}
