// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/session"
)

// asker asks people about unfamiliar hosts, for the managed network.
type asker struct {
	queue    *approval.Queue
	sessions *session.Table
}

var _ egress.Asker = asker{}

// Ask waits for a person's answer. For the network each answer is for once: the queue
// remembers those of a wider scope and gives them again at once, until somebody
// revokes them.
func (a asker) Ask(ctx context.Context, u egress.Unfamiliar) (egress.Answer, error) {
	q := approval.Question{
		Kind: approval.Connection, Session: u.Flow.Session, Agent: u.Flow.Agent, UID: u.Flow.UID,
		Subject:  approval.Subject{Host: u.Host.String(), Port: u.Port, Protocol: u.Protocol.String()},
		EachTime: u.Verdict.Cause == policy.CauseReview,
		Why:      approval.Why{Reason: u.Verdict.Reason, Rule: u.Verdict.Rule, Source: u.Verdict.Origin(), ToolCall: u.Flow.Why.ToolCallID},
	}
	s, ok := a.sessions.ByID(u.Flow.Session)
	if !ok {
		return egress.Answer{}, egress.ErrUnknown
	}
	// Who is asked is whose session it is, whoever a process runs as.
	q.UID, q.User, q.Project, q.Surface = s.UID, s.User, s.Root.Cwd, s.Surface
	out := a.queue.Wait(ctx, q)
	if err := ctx.Err(); err != nil && !out.Allow {
		return egress.Answer{}, context.Cause(ctx)
	}
	answer := egress.Answer{Allow: out.Allow, By: out.Decider()}
	if given := out.Approval.Answer; given != nil {
		answer.Reason = given.Reason
	}
	return answer, nil
}
