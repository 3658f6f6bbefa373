// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"iter"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/enforce"
)

func (d *Daemon) openApprovals() (*approval.Queue, error) {
	own, err := os.Executable()
	if err != nil {
		own = "" // then only the very program that runs now may answer
	}
	d.answerers = &approval.People{
		Companion: d.config.Companion, Terminal: own,
		Governed: func() ([]int, error) {
			procs, err := d.kernel.Procs()
			pids := make([]int, 0, len(procs))
			for pid := range procs {
				pids = append(pids, pid)
			}
			return pids, err
		},
	}
	return approval.Open(approval.Options{
		File: filepath.Join(d.config.StateDir, "approvals.json"), Reviewer: approval.Deterministic{}, Events: d.store, Log: d.config.Log,
	})
}

// Approvals returns what waits for people and, with follow, what changes.
func (d *Daemon) Approvals(ctx context.Context, of approval.Viewer, follow bool) iter.Seq2[approval.Change, error] {
	return d.approvals.Follow(ctx, of, follow)
}

// AnswerApproval answers for the peer, if it speaks for a person who may.
func (d *Daemon) AnswerApproval(ctx context.Context, p api.Peer, id string, r approval.Reply) (api.Approval, error) {
	a, err := d.answer(ctx, p, id, r)
	if err != nil && !errors.Is(err, approval.ErrOver) {
		d.AnswerRefused(p, id, err)
	}
	return a, err
}

// AnswerRefused records that somebody answered who may not.
func (d *Daemon) AnswerRefused(p api.Peer, id string, err error) {
	session := ""
	if s, _, known := d.enforcer.Whose(p.PID); known {
		session = s.ID
	}
	d.approvals.Refused(id, p.PID, p.UID, session, err)
}

func (d *Daemon) answer(ctx context.Context, p api.Peer, id string, r approval.Reply) (api.Approval, error) {
	asked, err := d.approvals.Check(id, p.UID, r)
	if err != nil {
		return api.Approval{}, err
	}
	who := approval.Process{PID: p.PID, UID: p.UID, GID: p.GID}
	by, proof, err := d.answerers.Identify(who)
	if err == nil && r.Allow && asked.Risk != "" {
		proof, err = d.answerers.Prove(ctx, who, &asked, proof)
	}
	if err != nil {
		return api.Approval{}, err
	}
	// Whatever was found out under its number was about the process that asked.
	if !p.Alive() {
		return api.Approval{}, &approval.RefusedError{Why: "the process that answered has ended"}
	}
	return d.approvals.Answer(id, approval.Answerer{UID: p.UID, User: userName(p.UID), By: by, Proof: proof}, r)
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "user " + id
}

// ApprovalHistory returns the questions that are over, the newest first.
func (d *Daemon) ApprovalHistory(_ context.Context, of approval.Viewer, limit int) ([]api.Approval, error) {
	return d.approvals.History(of, limit), nil
}

// Grants returns the answers that hold on.
func (d *Daemon) Grants(_ context.Context, of approval.Viewer) ([]approval.Grant, error) {
	return d.approvals.Grants(of), nil
}

// RevokeGrant ends one of them. It takes no proof: it only narrows what may run.
func (d *Daemon) RevokeGrant(_ context.Context, of approval.Viewer, id string) error {
	return d.approvals.Revoke(of, id)
}

// RequestTool answers an agent's hook, for the session its process belongs to.
func (d *Daemon) RequestTool(ctx context.Context, p api.Peer, r api.ToolRequest) (api.ToolAnswer, error) {
	if s, _, known := d.enforcer.Whose(p.PID); known && r.Prompt == "" {
		r.Prompt = d.prompts.of(s.ID)
	}
	answer, err := d.enforcer.JudgeTool(ctx, p.PID, enforce.ToolCall(r))
	// Whatever was found out under its number was about the process that asked.
	if err == nil && !p.Alive() {
		err = &approval.RefusedError{Why: "the process that asked has ended"}
	}
	if err == nil {
		d.recordTool(p, r, api.ToolAnswer(answer))
	}
	return api.ToolAnswer(answer), err
}
