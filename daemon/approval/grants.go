// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// grant is an answer that holds on.
type grant struct {
	Grant
	key    string // Question.intent or Question.lasting
	answer Answer
}

// maxGrants bounds what is remembered for one user.
const maxGrants = 1000

// grant remembers an answer that is not for once. One of scope Always is on the disk
// before it counts.
func (q *Queue) grant(r *request, answer Answer) error {
	if answer.Scope == Once {
		return nil
	}
	mine := 0
	for _, g := range q.grants {
		if g.UID == r.approval.UID {
			mine++
		}
	}
	if mine >= maxGrants {
		return refuse("%d answers are remembered already: revoke some (paddock approvals revoke)", mine)
	}
	a := &r.approval
	g := &grant{
		Grant: Grant{
			ID: ulid.MustNew(ulid.Timestamp(answer.At), rand.Reader).String(), Scope: answer.Scope, UID: a.UID, Agent: a.Agent,
			Project: a.Project, Kind: a.Kind, Rule: a.Always, Given: answer.At, By: answer.By, Subject: a.Subject,
		},
		key: r.question.lasting(), answer: answer,
	}
	if answer.Scope == Session {
		g.Session, g.key, g.Rule = a.Session, r.intent, describe(&r.question)+", in this session"
	}
	q.grants = append(q.grants, g)
	if answer.Scope == Always {
		if err := q.save(q.snapshot(), true); err != nil {
			q.grants = q.grants[:len(q.grants)-1]
			return fmt.Errorf("saving the rule: %w", err)
		}
	}
	return nil
}

// granted returns the grant that answers a question, if the requirements in force
// would still give it.
func (q *Queue) granted(question *Question) *grant {
	if question.EachTime {
		return nil
	}
	intent, lasting := question.intent(), question.lasting()
	for _, g := range q.grants {
		if g.UID != question.UID || !slices.Contains(q.policy.Scopes, string(g.Scope)) {
			continue
		}
		risk := riskOf(question, q.policy.HighRisk)
		if risk != "" && g.answer.Proof == "" {
			continue
		}
		switch g.Scope {
		case Session:
			if g.key == intent {
				return g
			}
		case Always:
			rule, _ := alwaysRule(question, risk)
			if g.key == lasting && rule != "" {
				return g
			}
		case Once:
		}
	}
	return nil
}

// Covers says whether an answer to another question, of which this one turns out to be a part, is good enough for it.
func (q *Queue) Covers(out *Outcome, question *Question) bool {
	answer := out.Approval.Answer
	if answer == nil || question.HumanOnly && answer.By == ByReview {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return answer.Proof != "" || riskOf(question, q.policy.HighRisk) == ""
}

func (q *Queue) endGrants(session string) {
	q.grants = slices.DeleteFunc(q.grants, func(g *grant) bool { return g.Scope == Session && g.Session == session })
	q.saver.soon()
}

// Grants returns what is remembered for the viewer, the newest first.
func (q *Queue) Grants(of Viewer) []Grant {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := []Grant{}
	for _, g := range slices.Backward(q.grants) {
		if of.sees(g.UID) {
			out = append(out, g.Grant)
		}
	}
	return out
}

// Revoke forgets an answer. What it allowed already, it has.
func (q *Queue) Revoke(of Viewer, id string) error {
	q.mu.Lock()
	i := slices.IndexFunc(q.grants, func(g *grant) bool { return g.ID == id && of.sees(g.UID) })
	if i < 0 {
		q.mu.Unlock()
		return fmt.Errorf("%w: no answer %q is remembered", ErrUnknown, id)
	}
	g := q.grants[i]
	q.grants = slices.Delete(q.grants, i, i+1)
	err := q.save(q.snapshot(), true)
	q.mu.Unlock()
	q.record(telemetry.Event{Name: telemetry.NameApprovalRevoked, Time: time.Now(), Severity: telemetry.Info, Session: g.Session, Attrs: map[string]any{
		telemetry.AttrApprovalID: g.ID, telemetry.AttrApprovalScope: string(g.Scope), telemetry.AttrApprovalRule: g.Rule,
		telemetry.AttrProcessUserID: int64(of.UID), telemetry.AttrAgent: g.Agent,
	}})
	return err
}
