// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
)

// Approval is one question to a person. See package approval.
type Approval = approval.Approval

// ToolRequest is what a hook of an agent asks: may this tool call happen?
type ToolRequest struct {
	// Tool is the agent's own name of the tool ("Bash", "apply_patch", "mcp__x__y").
	Tool string `json:"tool"`
	// Command is the text of shell a shell tool is to run; Argv the command of a tool
	// that runs one without a shell. Both empty: the tool runs no command.
	Command string   `json:"command,omitempty"`
	Argv    []string `json:"argv,omitempty"`
	// Input is what else the tool is given, as text for people. At most 64 KiB.
	Input string `json:"input,omitempty"`
	Cwd   string `json:"cwd,omitempty"`
	// ToolCall is the agent's id of the call; empty when it gives none.
	ToolCall string `json:"tool_call,omitempty"`
	// Prompt is what the user had asked of the agent, as the agent tells it.
	Prompt string `json:"prompt,omitempty"`
	// Ask makes a question of what the requirements have nothing against: the agent
	// itself wants a person's permission (Codex's PermissionRequest).
	Ask bool `json:"ask,omitempty"`
}

// Decisions of a ToolAnswer.
const (
	ToolAllow = "allow" // the requirements, or whoever was asked, allow it
	ToolDeny  = "deny"
	ToolNone  = "none" // the requirements have nothing to say, and nobody was asked
)

// ToolAnswer is the answer to a ToolRequest.
type ToolAnswer struct {
	Decision string `json:"decision"`
	Reason   string `json:"reason"` // one sentence, for the agent and its user
	// Approval is the ID of the question that was asked; empty: none was.
	Approval string `json:"approval,omitempty"`
}

// Approvals returns the approvals that wait for an answer of the caller and, with
// follow, then whatever changes, until ctx ends: see approval.Change. Root gets
// everybody's. An error is the last thing returned.
func (c *Client) Approvals(ctx context.Context, follow bool) iter.Seq2[approval.Change, error] {
	return func(yield func(approval.Change, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		path := "/v1/approvals"
		if follow {
			path += "?follow=1"
		}
		res, err := c.send(ctx, http.MethodGet, path, nil)
		if err != nil {
			yield(approval.Change{}, err)
			return
		}
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, maxLine)
		for lines.Scan() {
			var line struct {
				approval.Change
				errorLine
			}
			err := json.Unmarshal(lines.Bytes(), &line)
			switch {
			case err != nil:
				err = fmt.Errorf("reading an approval of the daemon: %w", err)
			case line.Error != "":
				err = &Error{http.StatusInternalServerError, line.Error}
			}
			if !yield(line.Change, err) || err != nil {
				return
			}
		}
		switch err := lines.Err(); {
		case err == nil && !follow:
		case ctx.Err() != nil:
			yield(approval.Change{}, ctx.Err())
		case err == nil || errors.Is(err, io.ErrUnexpectedEOF):
			yield(approval.Change{}, ErrStreamEnded)
		default:
			yield(approval.Change{}, fmt.Errorf("reading approvals: %w", err))
		}
	}
}

// AnswerApproval answers the approval with this ID, whole. What it returns is as it
// is now. The daemon refuses who may not answer; see docs/approvals.md.
func (c *Client) AnswerApproval(ctx context.Context, id string, reply approval.Reply) (Approval, error) {
	var out Approval
	// The daemon may have to ask the person for proof: no time limit but ctx.
	return out, c.wait(ctx, "/v1/approvals/"+url.PathEscape(id)+"/answer", reply, &out)
}

// ApprovalHistory returns the approvals that are over, the newest first, at most
// limit of them; 0: all that are kept.
func (c *Client) ApprovalHistory(ctx context.Context, limit int) ([]Approval, error) {
	var out []Approval
	return out, c.ask(ctx, http.MethodGet, "/v1/approvals/history?limit="+strconv.Itoa(limit), nil, &out)
}

// Grants returns the answers of the caller that hold on, the newest first. Root gets
// everybody's.
func (c *Client) Grants(ctx context.Context) ([]approval.Grant, error) {
	var out []approval.Grant
	return out, c.ask(ctx, http.MethodGet, "/v1/grants", nil, &out)
}

// RevokeGrant ends a grant, by its whole ID.
func (c *Client) RevokeGrant(ctx context.Context, id string) error {
	var out struct{}
	return c.ask(ctx, http.MethodDelete, "/v1/grants/"+url.PathEscape(id), nil, &out)
}

// RequestTool asks whether a tool call may happen, on behalf of the session the
// calling process belongs to, and waits for a person where one has to be asked, until
// ctx ends: the question is then withdrawn.
func (c *Client) RequestTool(ctx context.Context, r ToolRequest) (ToolAnswer, error) {
	var out ToolAnswer
	if err := c.wait(ctx, "/v1/approvals/request", r, &out); err != nil {
		return out, err
	}
	switch out.Decision {
	case ToolAllow, ToolDeny, ToolNone:
		return out, nil
	}
	return ToolAnswer{}, fmt.Errorf("the daemon answers %q to whether a tool call may happen", out.Decision)
}

// wait posts a request whose answer may take as long as a person does: the daemon
// begins its answer at once and ends it when there is one.
func (c *Client) wait(ctx context.Context, path string, body, out any) error {
	res, err := c.send(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("waiting for the daemon's answer to %s: %w", path, err)
	case len(data) > maxAnswer:
		return fmt.Errorf("reading the daemon's answer to %s: larger than %d bytes", path, maxAnswer)
	}
	var line waitLine
	if err := json.Unmarshal(data, &line); err != nil {
		return fmt.Errorf("reading the daemon's answer to %s: %w", path, err)
	}
	if line.Error != "" {
		return &Error{line.Code, line.Error}
	}
	if err := json.Unmarshal(line.Answer, out); err != nil {
		return fmt.Errorf("reading the daemon's answer to %s: %w", path, err)
	}
	return nil
}

// waitLine is the answer to a request that may take long: its status was sent before
// it was known.
type waitLine struct {
	Answer json.RawMessage `json:"answer,omitempty"`
	Error  string          `json:"error,omitempty"`
	Code   int             `json:"code,omitempty"`
}
