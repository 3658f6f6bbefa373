// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Answerer is who answers, as the daemon found out.
type Answerer struct {
	UID   uint32
	User  string
	By    string // ByTerminal or ByCompanion
	Proof string // how somebody proved to be there; empty: not at all
}

// maxReason bounds the words of an answer, in bytes.
const maxReason = 1024

// Check returns the question if somebody with this uid may answer it in this way.
func (q *Queue) Check(id string, uid uint32, reply Reply) (Approval, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r, err := q.check(id, uid, &reply)
	if err != nil {
		return Approval{}, err
	}
	return r.approval, nil
}

func (q *Queue) check(id string, uid uint32, reply *Reply) (*request, error) {
	r := q.pending[id]
	if r == nil {
		for _, a := range q.over {
			if a.ID == id && (Viewer{uid}).sees(a.UID) {
				return nil, fmt.Errorf("%w: it was %s", ErrOver, a.State)
			}
		}
		return nil, ErrUnknown
	}
	a := &r.approval
	switch {
	case a.UID != uid && uid != 0:
		return nil, ErrUnknown // not even that there is such a question
	case a.UID != uid && !q.policy.RootMayAnswer:
		return nil, refuse("user %d is asked, and the requirements do not let root answer for others (paddock.approvals.root_may_answer)", a.UID)
	case len(reply.Reason) > maxReason || !utf8.ValidString(reply.Reason):
		return nil, refuse("its reason must be text of at most %d bytes", maxReason)
	}
	if !reply.Allow {
		return r, nil
	}
	if reply.Scope == "" {
		reply.Scope = Once
	}
	if !slices.Contains(a.Scopes, reply.Scope) {
		why := fmt.Sprintf("scope %q is not offered (one of %v)", reply.Scope, a.Scopes)
		if reply.Scope == Always {
			why += ": " + a.NotAlways
		}
		return nil, refuse("%s", why)
	}
	return r, nil
}

// Answer answers a question. Everything is checked again: the requirements may have
// changed since Check.
func (q *Queue) Answer(id string, who Answerer, reply Reply) (Approval, error) {
	q.mu.Lock()
	r, err := q.check(id, who.UID, &reply)
	if err == nil && reply.Allow && r.approval.Risk != "" && who.Proof == "" {
		err = refuse("an action of the class %s needs proof of who allows it", r.approval.Risk)
	}
	if err != nil {
		q.mu.Unlock()
		return Approval{}, err
	}
	answer := Answer{
		Allow: reply.Allow, Scope: Once, By: who.By, UID: who.UID, User: who.User, Root: who.UID == 0 && r.approval.UID != 0,
		Proof: who.Proof, Reason: reply.Reason, At: time.Now(),
	}
	state := Denied
	if reply.Allow {
		state, answer.Scope = Allowed, reply.Scope
		if err := q.grant(r, answer); err != nil {
			q.mu.Unlock()
			return Approval{}, err
		}
	} else {
		q.refused[r.intent] = answer.At.Add(pause)
	}
	events := q.finish(r, state, answer)
	a := r.approval
	q.mu.Unlock()
	q.record(events...)
	return a, nil
}

// maxRefusals bounds the events of refused answers, for each user in rateTime: who
// answers in a loop must not fill the store.
const maxRefusals = 30

// refusals are the tries of one user to answer that did not count.
type refusals struct {
	since time.Time
	told  int // since then
	more  int // that were not told
}

// Refused records that somebody tried to answer who may not: a process of a session
// (its ID), or of none.
func (q *Queue) Refused(id string, pid int, uid uint32, session string, err error) {
	q.mu.Lock()
	r := q.refusals[uid]
	now := time.Now()
	if r == nil || now.Sub(r.since) > rateTime {
		more := 0
		if r != nil {
			more = r.more
		}
		r = &refusals{since: now, more: more}
		q.refusals[uid] = r
	}
	tries := 1 + r.more
	tell := r.told < maxRefusals
	if tell {
		r.told, r.more = r.told+1, 0
	} else {
		r.more++
	}
	q.mu.Unlock()
	if !tell {
		return
	}
	const longest = 64 // the ID is whatever was given for one
	q.record(telemetry.Event{Name: telemetry.NameApprovalRefused, Severity: telemetry.Error, Session: session, Attrs: map[string]any{
		telemetry.AttrApprovalID: id[:min(len(id), longest)], telemetry.AttrProcessPID: int64(pid), telemetry.AttrProcessUserID: int64(uid),
		telemetry.AttrDecisionReason: err.Error(), telemetry.AttrApprovalMerged: int64(tries),
	}})
}
