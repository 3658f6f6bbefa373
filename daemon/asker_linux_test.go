// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/session"
)

func TestUnfamiliarHostIsAsked(t *testing.T) {
	q, err := approval.Open(approval.Options{File: filepath.Join(t.TempDir(), "approvals.json")})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	table := session.NewTable(time.Now, rand.Reader)
	s := table.Start(7, session.Match{Agent: "codex"}, session.Process{PID: 1, UID: 1000, User: "alice", Cwd: "/p"}, session.HowExec)
	host, err := policy.ParseHost("api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	ask := asker{q, table}
	u := egress.Unfamiliar{
		Flow: egress.Flow{Session: s.ID, Agent: "codex", UID: 0, Why: session.Why{ToolCallID: "call_1"}}, Host: host, Port: 443, Protocol: policy.HTTPS,
		Verdict: policy.HostVerdict{Reason: "nobody knows it", Rule: "**.example.com", Source: "f", Line: 3},
	}
	type result struct {
		egress.Answer
		err error
	}
	begin := func(ctx context.Context, u egress.Unfamiliar) <-chan result {
		done := make(chan result, 1)
		go func() { a, err := ask.Ask(ctx, u); done <- result{a, err} }()
		return done
	}
	next, stop := pull(t, q)
	defer stop()

	done := begin(t.Context(), u)
	a := next()
	if a.Kind != approval.Connection || a.Host != "api.example.com" || a.Port != 443 || a.Protocol != "https" || a.UID != 1000 ||
		a.User != "alice" || a.Project != "/p" || a.Source != "f:3" || a.ToolCall != "call_1" {
		t.Errorf("the question: %+v", a)
	}
	if _, err := q.Answer(a.ID, approval.Answerer{UID: 1000, User: "alice", By: approval.ByTerminal}, approval.Reply{Allow: true, Scope: approval.Session}); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.err != nil || !r.Allow || r.By != "alice (terminal)" {
		t.Errorf("the answer: %+v", r)
	}
	if r := <-begin(t.Context(), u); !r.Allow {
		t.Errorf("allowed for the session, and asked again: %+v", r)
	}
	next() // that the first one is over
	if err := q.Revoke(approval.Viewer{}, q.Grants(approval.Viewer{})[0].ID); err != nil {
		t.Fatal(err)
	}
	revoked, end := context.WithCancelCause(t.Context())
	done = begin(revoked, u)
	next() // that it is asked about again
	end(egress.ErrClientsGone)
	if r := <-done; r.Allow {
		t.Errorf("revoked, and allowed: %+v", r)
	}
	next()

	u.Port = 22
	ctx, cancel := context.WithCancelCause(t.Context())
	done = begin(ctx, u)
	next()
	cancel(egress.ErrClientsGone)
	if r := <-done; r.Allow || !errors.Is(r.err, egress.ErrClientsGone) {
		t.Errorf("nobody waits: %+v", r)
	}
	if a := next(); a.State != approval.Cancelled {
		t.Errorf("the question: %+v", a)
	}
	u.Flow.Session = "of nobody"
	if r := <-begin(t.Context(), u); r.Allow || r.err == nil {
		t.Errorf("of no session: %+v", r)
	}
}

// pull returns the changes of a queue one by one.
func pull(t *testing.T, q *approval.Queue) (next func() approval.Approval, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	changes, synced := make(chan approval.Approval, 16), make(chan struct{})
	go func() {
		for c, err := range q.Follow(ctx, approval.Viewer{}, true) {
			switch {
			case err != nil:
				return
			case c.Synced:
				close(synced)
			case c.Approval != nil:
				changes <- *c.Approval
			}
		}
	}()
	<-synced
	return func() approval.Approval {
		t.Helper()
		select {
		case a := <-changes:
			return a
		case <-time.After(10 * time.Second):
			t.Fatal("no change")
			return approval.Approval{}
		}
	}, cancel
}
