// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
)

// A governed process may ask for itself, and nothing else.
func TestGovernedProcessAsksAndNeverAnswers(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f, nil)
	c := NewClient(path)
	var id string
	_, ticket := f.queue.Ask(approval.Question{Kind: approval.Command, Session: "s", UID: 0, Subject: approval.Subject{Argv: []string{"x"}}}, func(approval.Outcome) {
		t.Error("answered")
	})
	for change := range f.queue.Follow(t.Context(), approval.Viewer{}, false) {
		if change.Approval != nil {
			id = change.Approval.ID
		}
	}
	f.govern(os.Getpid(), true)
	for name, try := range map[string]func() error{
		"list":    func() error { _, err := first(c, false); return err },
		"follow":  func() error { _, err := first(c, true); return err },
		"allow":   func() error { _, err := c.AnswerApproval(t.Context(), id, approval.Reply{Allow: true}); return err },
		"deny":    func() error { _, err := c.AnswerApproval(t.Context(), id, approval.Reply{}); return err },
		"history": func() error { _, err := c.ApprovalHistory(t.Context(), 0); return err },
		"grants":  func() error { _, err := c.Grants(t.Context()); return err },
		"revoke":  func() error { return c.RevokeGrant(t.Context(), "x") },
	} {
		err := try()
		var no *Error
		if !errors.As(err, &no) || no.Code != http.StatusForbidden || !strings.Contains(no.Message, "is governed") {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.mu.Lock()
	if len(f.tried) != 2 || f.tried[0] != id || f.tried[1] != id {
		t.Errorf("the backend was told of %v", f.tried)
	}
	f.mu.Unlock()
	// Asking waits for the answer, and ends with whoever waits.
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := c.RequestTool(ctx, ToolRequest{Tool: "Bash", Command: "true"}); done <- err }()
	waits := func() *Approval {
		for change := range f.queue.Follow(t.Context(), approval.Viewer{}, true) {
			if change.Approval != nil && change.Approval.Kind == approval.Tool {
				return change.Approval
			}
		}
		return nil
	}
	a := waits()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("withdrawn: %v", err)
	}
	for change := range f.queue.Follow(t.Context(), approval.Viewer{}, true) {
		if len(f.queue.History(approval.Viewer{}, 0)) == 1 || change.Approval != nil && change.Approval.State == approval.Cancelled {
			break
		}
	}
	if over := f.queue.History(approval.Viewer{}, 0); len(over) != 1 || over[0].ID != a.ID || over[0].State != approval.Cancelled {
		t.Errorf("after its client has gone: %+v", over)
	}
	ticket.Withdraw(approval.ByProcess, "")

	f.govern(os.Getpid(), false)
	if _, err := c.RequestTool(t.Context(), ToolRequest{Tool: "Bash"}); err == nil || !strings.Contains(err.Error(), "no session") {
		t.Errorf("asked by nobody's process: %v", err)
	}
	for name, r := range map[string]ToolRequest{
		"no tool": {Command: "true"}, "two commands": {Tool: "Bash", Command: "true", Argv: []string{"rm", "x"}}, "too much": {Tool: "x", Input: strings.Repeat("x", 65<<10)},
	} {
		_, err := c.RequestTool(t.Context(), r)
		var no *Error
		if !errors.As(err, &no) || no.Code != http.StatusBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func first(c *Client, follow bool) (approval.Change, error) {
	for change, err := range c.Approvals(context.Background(), follow) {
		return change, err
	}
	return approval.Change{}, nil
}

func TestAnswersAndTheirErrors(t *testing.T) {
	f := newFake()
	path, _ := serve(t, f, nil)
	c := NewClient(path)
	got := make(chan approval.Outcome, 1)
	out, _ := f.queue.Ask(approval.Question{Kind: approval.Command, Session: "s", UID: 0, Subject: approval.Subject{Argv: []string{"x"}}}, func(o approval.Outcome) { got <- o })
	id := out.Approval.ID
	code := func(id string, r approval.Reply) int {
		t.Helper()
		_, err := c.AnswerApproval(t.Context(), id, r)
		var no *Error
		if !errors.As(err, &no) {
			t.Fatalf("%v", err)
		}
		return no.Code
	}
	if got := code("unknown", approval.Reply{Allow: true}); got != http.StatusNotFound {
		t.Errorf("an unknown ID: %d", got)
	}
	if got := code(id, approval.Reply{Allow: true, Scope: approval.Always}); got != http.StatusForbidden {
		t.Errorf("a scope that is not offered: %d", got)
	}
	a, err := c.AnswerApproval(t.Context(), id, approval.Reply{Allow: true})
	if err != nil || a.State != approval.Allowed || !(<-got).Allow {
		t.Errorf("%+v, %v", a, err)
	}
	if got := code(id, approval.Reply{}); got != http.StatusConflict {
		t.Errorf("answered twice: %d", got)
	}
	all, err := c.ApprovalHistory(t.Context(), 1)
	if err != nil || len(all) != 1 || all[0].ID != id {
		t.Errorf("history: %+v, %v", all, err)
	}
	if err := c.RevokeGrant(t.Context(), "x"); err == nil {
		t.Error("revoked what is not there")
	}
}
