// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"iter"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

// Backend is the daemon behind the API. The server decides who may ask; the
// backend answers. All methods are called concurrently.
type Backend interface {
	Status(context.Context) (Status, error)
	// Sessions lists the live sessions and those that ended lately, newest first.
	Sessions(context.Context) ([]session.Session, error)
	// Events returns stored events in the order of Seq and, with follow, then
	// those to come, until ctx ends.
	Events(ctx context.Context, q telemetry.Query, follow bool) iter.Seq2[telemetry.Event, error]
	// Adopt makes the peer the root of a session. When it returns, the peer is
	// governed.
	Adopt(context.Context, Peer, RunRequest) (RunResponse, error)
	// Owner returns the user whose a session is, also of one that ended long ago;
	// false when nothing is stored of it.
	Owner(ctx context.Context, session string) (uid uint32, known bool, err error)
	// Explain tells why something ran, from the sessions that sees allows.
	Explain(ctx context.Context, subjects []join.Subject, sees func(session string) bool) (*join.Story, error)
	// Account puts together what is stored of a session.
	Account(ctx context.Context, session string, p join.Page) (*join.Account, error)
	// Stats adds up what happened between two times.
	Stats(ctx context.Context, from, to time.Time) (*join.Stats, error)
	// Select answers one SELECT over stored events: the columns, then each row.
	Select(ctx context.Context, statement string, columns func([]string) error, row func([]any) error) error
	// Governed reports whether the process belongs to a session.
	Governed(pid int) bool

	// Approvals returns those that wait and, with follow, then what changes, until
	// ctx ends.
	Approvals(ctx context.Context, of approval.Viewer, follow bool) iter.Seq2[approval.Change, error]
	// AnswerApproval answers for the peer, if it may: it is not governed, but that is
	// all that was made sure of.
	AnswerApproval(ctx context.Context, p Peer, id string, r approval.Reply) (Approval, error)
	// AnswerRefused is told of an answer of a peer that may not even ask.
	AnswerRefused(p Peer, id string, err error)
	// ApprovalHistory returns those that are over, the newest first; limit 0: all.
	ApprovalHistory(ctx context.Context, of approval.Viewer, limit int) ([]Approval, error)
	// Grants returns the answers that hold on, the newest first.
	Grants(ctx context.Context, of approval.Viewer) ([]approval.Grant, error)
	RevokeGrant(ctx context.Context, of approval.Viewer, id string) error
	// RequestTool answers a hook, for the session its process belongs to; it waits for
	// a person until ctx ends.
	RequestTool(ctx context.Context, p Peer, r ToolRequest) (ToolAnswer, error)
	// RecordHook records what an agent told its hook, for the session its process
	// belongs to.
	RecordHook(ctx context.Context, p Peer, e HookEvent) error
}
