// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

// nobody is a user who is neither root nor anybody else.
const nobody = 65534

const (
	sessionRoot   = "01JZ0000000000000000000ABC"
	sessionNobody = "01JZ0000000000000000000XYZ"
	sessionForgot = "01JZ000000000000000FRGTTN1" // of nobody, remembered by the store alone
)

// fake is a daemon that is not one.
type fake struct {
	status   Status
	sessions []session.Session
	events   []telemetry.Event
	err      error
	live     iter.Seq2[telemetry.Event, error] // after events, for those who follow

	queue    *approval.Queue // the real one
	mu       sync.Mutex
	governed map[int]bool
	adopted  []Peer
	tried    []string // questions answered by who may not
	requests []RunRequest
	hooks    []HookEvent
	left     chan struct{} // a value when somebody stopped following
}

func newFake() *fake {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &fake{
		status: Status{Version: "1.2.3", PID: 42, Mode: "enforce", Started: at, Gates: []Gate{{Gate: GateConnect, Tier: TierCgroup, Proven: true, Checked: at}}},
		sessions: []session.Session{
			{ID: sessionNobody, Key: 1 << 63, Agent: "codex", UID: nobody, Started: at},
			{ID: sessionRoot, Agent: "claude-code", UID: 0, Started: at, Ended: at.Add(time.Second)},
		},
		events: []telemetry.Event{
			{ID: "a", Seq: 1, Time: at, Severity: telemetry.Info, Name: "paddock.daemon.start"},
			{ID: "b", Seq: 2, Time: at, Severity: telemetry.Info, Name: "paddock.process.exec", Session: sessionRoot, Attrs: map[string]any{"paddock.decision": "allow"}},
			{ID: "c", Seq: 3, Time: at, Severity: telemetry.Info, Name: "paddock.process.exec", Session: sessionNobody},
			{ID: "d", Seq: 4, Time: at, Severity: telemetry.Info, Name: "paddock.process.exit", Session: sessionNobody},
			{ID: "e", Seq: 5, Time: at, Severity: telemetry.Info, Name: "paddock.process.exit", Session: "01JZ000000000000000FORGOT1"},
		},
		governed: map[int]bool{},
		left:     make(chan struct{}, 64),
	}
}

func (f *fake) Status(context.Context) (Status, error) { return f.status, f.err }

func (f *fake) Sessions(context.Context) ([]session.Session, error) { return f.sessions, f.err }

func (f *fake) Events(ctx context.Context, q telemetry.Query, follow bool) iter.Seq2[telemetry.Event, error] {
	return func(yield func(telemetry.Event, error) bool) {
		events := slices.DeleteFunc(slices.Clone(f.events), func(e telemetry.Event) bool {
			return e.Seq <= q.After || q.Session != "" && e.Session != q.Session || len(q.Names) > 0 && !slices.Contains(q.Names, e.Name)
		})
		if n := len(events) - q.Limit; q.Limit > 0 && n > 0 && q.Newest {
			events = events[n:]
		} else if q.Limit > 0 && n > 0 {
			events = events[:q.Limit]
		}
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
		if f.err != nil {
			yield(telemetry.Event{}, f.err)
			return
		}
		if !follow {
			return
		}
		defer func() { f.left <- struct{}{} }()
		if f.live != nil {
			for e, err := range f.live {
				if ctx.Err() != nil || !yield(e, err) {
					return
				}
			}
		}
		<-ctx.Done()
		yield(telemetry.Event{}, ctx.Err())
	}
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

func (f *fake) Owner(_ context.Context, id string) (uint32, bool, error) {
	if id == sessionForgot {
		return nobody, true, nil
	}
	return 0, false, f.err
}

func (f *fake) Explain(_ context.Context, subjects []join.Subject, sees func(string) bool) (*join.Story, error) {
	for _, id := range []string{sessionRoot, sessionForgot} {
		if sees(id) && subjects[0].Value != "404" {
			return &join.Story{Subject: subjects[0], Session: join.Session{ID: id}}, f.err
		}
	}
	return nil, join.ErrNothing
}

func (f *fake) Account(_ context.Context, id string, p join.Page) (*join.Account, error) {
	return &join.Account{Session: join.Session{ID: id}, Last: p.Before, Events: p.Limit}, f.err
}

func (f *fake) Adopt(_ context.Context, p Peer, r RunRequest) (RunResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !p.Alive() {
		return RunResponse{}, errors.New("the peer is not alive")
	}
	p.PIDFD = nil
	f.adopted, f.requests = append(f.adopted, p), append(f.requests, r)
	return RunResponse{SessionID: sessionRoot}, f.err
}

// taken returns who was adopted.
func (f *fake) taken() []Peer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.adopted)
}

func (f *fake) Governed(pid int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.governed[pid]
}

// The rest is what a governed process, or another user, must not reach.

func (f *fake) Approvals(ctx context.Context, of approval.Viewer, follow bool) iter.Seq2[approval.Change, error] {
	return f.queue.Follow(ctx, of, follow)
}

func (f *fake) AnswerApproval(_ context.Context, p Peer, id string, r approval.Reply) (Approval, error) {
	return f.queue.Answer(id, approval.Answerer{UID: p.UID, By: approval.ByTerminal}, r)
}

func (f *fake) AnswerRefused(_ Peer, id string, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tried = append(f.tried, id)
}

func (f *fake) ApprovalHistory(_ context.Context, of approval.Viewer, limit int) ([]Approval, error) {
	return f.queue.History(of, limit), f.err
}

func (f *fake) Grants(_ context.Context, of approval.Viewer) ([]approval.Grant, error) {
	return f.queue.Grants(of), f.err
}

func (f *fake) RevokeGrant(_ context.Context, of approval.Viewer, id string) error {
	return f.queue.Revoke(of, id)
}

func (f *fake) RequestTool(ctx context.Context, p Peer, r ToolRequest) (ToolAnswer, error) {
	if !f.Governed(p.PID) {
		return ToolAnswer{}, refused(403, "the process belongs to no session")
	}
	out := f.queue.Wait(ctx, approval.Question{Kind: approval.Tool, Session: sessionNobody, UID: p.UID, Subject: approval.Subject{Tool: r.Tool, Input: r.Command}})
	if !out.Allow {
		return ToolAnswer{Decision: ToolDeny, Reason: out.Approval.Answer.Reason}, nil
	}
	return ToolAnswer{Decision: ToolAllow, Approval: out.Approval.ID}, nil
}

func (f *fake) govern(pid int, yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.governed[pid] = yes
}

// openDir is a new directory every user can reach.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// serve starts a server for the backend; change, if any, is made to it before.
func serve(t *testing.T, f *fake, change func(*Server)) (path string, s *Server) {
	t.Helper()
	path = filepath.Join(openDir(t), "p.sock")
	queue, err := approval.Open(approval.Options{File: filepath.Join(t.TempDir(), "approvals.json")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { queue.Close() })
	f.queue = queue
	s = NewServer(path, f, slog.New(slog.DiscardHandler))
	if change != nil {
		change(s)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
	})
	return path, s
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func collect(seq iter.Seq2[telemetry.Event, error]) (ids string, err error) {
	for e, err := range seq {
		if err != nil {
			return ids, err
		}
		ids += e.ID
	}
	return ids, nil
}

// wantError checks the code and the words of a refusal.
func wantError(t *testing.T, err error, code int) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code || e.Message == "" {
		t.Errorf("got %v; want a refusal %d", err, code)
	}
}

// try sends a request whose answer does not matter, but whether there is one.
func try(t *testing.T, c *Client, method, path string, body any) error {
	t.Helper()
	res, err := c.send(t.Context(), method, path, body)
	if err == nil {
		res.Body.Close()
	}
	return err
}

func (f *fake) RecordHook(_ context.Context, p Peer, e HookEvent) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks = append(f.hooks, e)
	return f.err
}
