// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/sandbox"
	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

// mainEnv makes the test program be paddock itself.
const mainEnv = "PADDOCK_CLI_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainEnv) != "" {
		if err := os.Unsetenv(mainEnv); err != nil {
			panic(err)
		}
		os.Exit(Main(New("test"), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// fake is a daemon that is not one.
type fake struct {
	queue    *approval.Queue // nil where no approvals are asked for
	status   api.Status
	sessions []session.Session
	events   []telemetry.Event
	eventErr error
	adopt    func(api.Peer, api.RunRequest) error
	sandbox  *sandbox.Ruleset
	governed bool
	tool     func(api.ToolRequest) (api.ToolAnswer, error)
	hooks    []api.HookEvent
	hookErr  error
	story    *join.Story
	account  *join.Account
	asked    []join.Subject
}

func (f *fake) Status(context.Context) (api.Status, error) { return f.status, nil }

func (f *fake) Sessions(context.Context) ([]session.Session, error) { return f.sessions, nil }

func (f *fake) Events(_ context.Context, q telemetry.Query, _ bool) iter.Seq2[telemetry.Event, error] {
	return func(yield func(telemetry.Event, error) bool) {
		events := slices.DeleteFunc(slices.Clone(f.events), func(e telemetry.Event) bool {
			return e.Seq <= q.After || q.Session != "" && q.Session != e.Session || len(q.Names) > 0 && !slices.Contains(q.Names, e.Name)
		})
		if n := len(events) - q.Limit; q.Newest && n > 0 {
			events = events[n:]
		}
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
		if f.eventErr != nil {
			yield(telemetry.Event{}, f.eventErr)
		}
	}
}

func (f *fake) Adopt(_ context.Context, p api.Peer, r api.RunRequest) (api.RunResponse, error) {
	if f.adopt == nil {
		return api.RunResponse{}, errors.New("nobody is adopted here")
	}
	return api.RunResponse{SessionID: oneSession, Sandbox: f.sandbox}, f.adopt(p, r)
}

func (f *fake) Governed(int) bool { return f.governed }

func (f *fake) Approvals(ctx context.Context, of approval.Viewer, follow bool) iter.Seq2[approval.Change, error] {
	return f.queue.Follow(ctx, of, follow)
}

func (f *fake) AnswerApproval(_ context.Context, p api.Peer, id string, r approval.Reply) (api.Approval, error) {
	return f.queue.Answer(id, approval.Answerer{UID: p.UID, User: "somebody", By: approval.ByTerminal}, r)
}

func (f *fake) AnswerRefused(api.Peer, string, error) {}

func (f *fake) ApprovalHistory(_ context.Context, of approval.Viewer, limit int) ([]api.Approval, error) {
	return f.queue.History(of, limit), nil
}

func (f *fake) Grants(_ context.Context, of approval.Viewer) ([]approval.Grant, error) {
	return f.queue.Grants(of), nil
}

func (f *fake) RevokeGrant(_ context.Context, of approval.Viewer, id string) error {
	return f.queue.Revoke(of, id)
}

func (f *fake) RequestTool(_ context.Context, _ api.Peer, r api.ToolRequest) (api.ToolAnswer, error) {
	return f.tool(r)
}

func (f *fake) Stats(_ context.Context, from, to time.Time) (*join.Stats, error) {
	return &join.Stats{
		From: from, To: to, Events: 7, Sessions: []join.Row{{Of: map[string]string{"agent": "codex", "surface": "exec"}, Count: 2}},
		Blocks: []join.Row{{Of: map[string]string{"what": "command", "rule": "git push"}, Count: 3}},
		Answer: &join.Duration{Count: 3, Median: 2, P95: 30, Max: 30},
	}, nil
}

func (f *fake) Select(_ context.Context, statement string, columns func([]string) error, row func([]any) error) error {
	if statement != "SELECT 1" {
		return errors.New("near \"" + statement + "\": syntax error")
	}
	return errors.Join(columns([]string{"n", "text"}), row([]any{int64(1), "a<b"}), row([]any{nil, 2.5}))
}

func (f *fake) Owner(context.Context, string) (uint32, bool, error) { return 0, false, nil }

func (f *fake) Explain(_ context.Context, subjects []join.Subject, _ func(string) bool) (*join.Story, error) {
	f.asked = subjects
	if f.story == nil {
		return nil, join.ErrNothing
	}
	return f.story, nil
}

func (f *fake) Account(context.Context, string, join.Page) (*join.Account, error) {
	if f.account == nil {
		return nil, join.ErrNothing
	}
	return f.account, nil
}

func serve(t *testing.T, f *fake) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "p.sock")
	s := api.NewServer(socket, f, slog.New(slog.DiscardHandler))
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return socket
}

// executed is what paddock run handed over to.
type executed struct {
	path string
	argv []string
}

// paddock runs a command line in this process.
func paddock(t *testing.T, socket string, args ...string) (stdout, stderr string, code int, run *executed) {
	t.Helper()
	a := &app{zone: time.UTC, execute: func(path string, argv, _ []string) error {
		run = &executed{path, argv}
		return nil
	}}
	root := newRoot(a, "test")
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	code = Main(root, append([]string{"--socket", socket}, args...))
	return out.String(), errs.String(), code, run
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; go test -update if it is to be so):\n%s", path, diff)
	}
}

func (f *fake) RecordHook(_ context.Context, _ api.Peer, e api.HookEvent) error {
	f.hooks = append(f.hooks, e)
	return f.hookErr
}

// What stands behind -- on a command line is the other command's.
func TestUsageLines(t *testing.T) {
	for _, command := range [][]string{{"run"}, {"bridge"}, {"rules", "check"}, {"rules", "explain"}} {
		stdout, _, code, _ := paddock(t, "/nonexistent", append(command, "--help")...)
		_, line, _ := strings.Cut(stdout, "Usage:\n")
		line, _, _ = strings.Cut(line, "\n")
		if code != 0 || !strings.Contains(line, " -- ") || strings.Contains(line, "[flags]") {
			t.Errorf("%v: code %d, %q", command, code, line)
		}
	}
}

// A name that no socket can have is told as such, and not as the kernel puts it.
func TestSocketNames(t *testing.T) {
	long := "/" + strings.Repeat("x", 200)
	for name, want := range map[string]string{
		"":   "the Paddock daemon cannot be reached: the name of its socket is empty: leave --socket out, or name it there",
		long: "the Paddock daemon cannot be reached: " + long + " is too long for the name of a socket: name a shorter one with --socket",
	} {
		if _, stderr, code, _ := paddock(t, name, "status"); code != ExitError || stderr != "paddock: "+want+"\n" {
			t.Errorf("%q: code %d, %s", name, code, stderr)
		}
	}
}
