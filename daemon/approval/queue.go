// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Limits on what agents may ask. Whatever is beyond is denied, and told once.
const (
	maxSession = 16   // questions of one session that wait
	maxUser    = 64   // questions to one user that wait
	maxWaiting = 2048 // actions of one session that wait; the kernel side holds 16,384 of all
	maxRate    = 30   // new questions of one session in rateTime
	rateTime   = time.Minute
	// pause is how long the same is denied again without asking, after a person
	// refused it: an agent that tries again must not wear its user out.
	pause = time.Minute
)

// Recorder takes events; it blocks rather than lose one.
type Recorder interface {
	Record(context.Context, ...telemetry.Event) error
}

// Options are what a Queue stands on.
type Options struct {
	// File keeps what must outlive the daemon. Its directory is root's alone.
	File string
	// Reviewer, if set, may answer in the person's place where requirements allow it.
	Reviewer Reviewer
	// SlowReviewer, if set, is asked what Reviewer has no answer to.
	SlowReviewer SlowReviewer
	Events       Recorder
	Log          *slog.Logger
}

// Queue is what waits for a person, and what was answered. Its methods are safe for
// concurrent use.
type Queue struct {
	options Options
	log     *slog.Logger
	work    sync.WaitGroup
	saver   saver

	mu        sync.Mutex
	policy    policy.Approvals
	pending   map[string]*request // by ID
	intents   map[string]*request // by intent
	grants    []*grant
	over      []*Approval          // the oldest first
	refused   map[string]time.Time // intents a person refused, until when
	rates     map[string]*rate     // by session
	refusals  map[uint32]*refusals // by user
	followers map[*follower]bool
	closed    bool
}

// request is a question and who waits for its answer.
type request struct {
	approval Approval
	question Question
	intent   string
	waiters  map[*Ticket]bool
	timer    *time.Timer
	// restored: asked by the daemon before, and nobody waits yet.
	restored bool
	// thinking, while the slow reviewer does, ends that; the person is not asked yet.
	thinking context.CancelFunc
}

// Ticket is one action that waits.
type Ticket struct {
	queue   *Queue
	request *request
	done    func(Outcome)
}

// Open makes a queue with what the daemon before left in its file. What cannot be
// read is told, set aside and not believed.
func Open(o Options) (*Queue, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	q := &Queue{
		options: o, log: o.Log, policy: policy.DefaultApprovals(),
		pending: map[string]*request{}, intents: map[string]*request{}, refused: map[string]time.Time{},
		rates: map[string]*rate{}, refusals: map[uint32]*refusals{}, followers: map[*follower]bool{},
	}
	if err := q.restore(); err != nil {
		return nil, err
	}
	q.startSaver()
	return q, nil
}

// Apply puts the requirements for approvals in force. Questions that wait are for
// whoever asked to judge again; what they offer changes at once.
func (q *Queue) Apply(p policy.Approvals) {
	p = p.Complete()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.policy = p
	for _, r := range q.pending {
		q.offer(r)
		if by := r.approval.Asked.Add(timeout(p)); by.Before(r.approval.Deadline) {
			r.approval.Deadline = by
			r.timer.Reset(time.Until(by))
		}
		q.changed(r)
	}
}

func timeout(p policy.Approvals) time.Duration { return time.Duration(p.Timeout) * time.Second }

// Ask asks. When the answer is known at once, Ask returns it and no ticket;
// otherwise done is called with it, once, from another goroutine, unless the ticket
// is withdrawn before.
func (q *Queue) Ask(question Question, done func(Outcome)) (Outcome, *Ticket) {
	q.mu.Lock()
	out, ticket, events := q.ask(&question, done)
	q.mu.Unlock()
	q.record(events...)
	return out, ticket
}

func (q *Queue) ask(question *Question, done func(Outcome)) (Outcome, *Ticket, []telemetry.Event) {
	if q.closed {
		return q.unasked(question, ByLimit, "Paddock stops"), nil, nil
	}
	if g := q.granted(question); g != nil {
		g.Used++
		q.saver.soon()
		a := answered(question, Answer{
			Allow: true, Scope: g.Scope, By: ByMemory, UID: g.answer.UID, User: g.answer.User, At: time.Now(),
			Reason: "allowed before: " + g.Rule,
		})
		return Outcome{Allow: true, Approval: a}, nil, nil
	}
	intent := question.intent()
	if until, ok := q.refused[intent]; ok && time.Now().Before(until) {
		return q.unasked(question, ByMemory, "refused a moment ago"), nil, nil
	}
	if n := q.waitingOf(question.Session); n >= maxWaiting {
		return q.unasked(question, ByLimit, fmt.Sprintf("%d actions of this session wait already", n)), nil, nil
	}
	r := q.intents[intent]
	if r == nil {
		if why := q.tooMany(question); why != "" {
			out := q.unasked(question, ByLimit, why)
			out.First = q.rateOf(question.Session).tell()
			if !out.First {
				return out, nil, nil
			}
			return out, nil, []telemetry.Event{event(telemetry.NameApprovalOverflow, telemetry.Warn, &out.Approval)}
		}
		r = q.newRequest(question, intent)
		if review, ok := q.review(r); ok {
			r.approval.Merged = 1
			ticket := &Ticket{queue: q, request: r}
			r.waiters[ticket] = true
			events := append([]telemetry.Event{event(telemetry.NameApprovalRequested, telemetry.Info, &r.approval)},
				q.finish(r, Allowed, review)...)
			return Outcome{Allow: true, Approval: r.approval}, nil, events
		}
		q.think(r)
	}
	var events []telemetry.Event
	if len(r.waiters) == 0 && !r.restored {
		events = append(events, event(telemetry.NameApprovalRequested, telemetry.Info, &r.approval))
	}
	if r.restored { // what came from the file may have lost bytes that are not UTF-8
		r.restored, r.question, r.approval.Subject = false, *question, question.Subject
		q.offer(r)
	}
	ticket := &Ticket{queue: q, request: r, done: done}
	r.waiters[ticket] = true
	r.approval.Merged = max(r.approval.Merged, len(r.waiters))
	q.changed(r)
	return Outcome{Approval: r.approval}, ticket, events
}

// newRequest makes a question that can be answered.
func (q *Queue) newRequest(question *Question, intent string) *request {
	now := time.Now()
	a := Approval{
		ID: ulid.MustNew(ulid.Timestamp(now), rand.Reader).String(), Kind: question.Kind, State: Pending,
		Session: question.Session, Agent: question.Agent, Surface: question.Surface,
		UID: question.UID, User: question.User, Project: question.Project,
		Subject: question.Subject, Why: question.Why, HumanOnly: question.HumanOnly, EachTime: question.EachTime,
		Asked: now, Deadline: now.Add(timeout(q.policy)),
	}
	r := &request{approval: a, question: *question, intent: intent, waiters: map[*Ticket]bool{}}
	q.add(r)
	q.rateOf(question.Session).ask(now)
	return r
}

func (q *Queue) add(r *request) {
	q.offer(r)
	id := r.approval.ID
	r.timer = time.AfterFunc(time.Until(r.approval.Deadline), func() { q.expire(id) })
	q.pending[id], q.intents[r.intent] = r, r
}

// offer says what may be answered under the requirements in force.
func (q *Queue) offer(r *request) {
	a := &r.approval
	a.Risk = riskOf(&r.question, q.policy.HighRisk)
	a.Scopes, a.Always, a.NotAlways = nil, "", ""
	for _, s := range q.policy.Scopes {
		switch scope := Scope(s); scope {
		case Always:
			if a.Always, a.NotAlways = alwaysRule(&r.question, a.Risk); a.Always != "" {
				a.Scopes = append(a.Scopes, scope)
			}
		case Once, Session:
			a.Scopes = append(a.Scopes, scope)
		}
	}
	if a.EachTime {
		a.Scopes = []Scope{Once}
	}
	if a.Always == "" && a.NotAlways == "" {
		a.NotAlways = "the requirements do not offer it"
	}
}

// unasked is a refusal without a question.
func (q *Queue) unasked(question *Question, by, why string) Outcome {
	return Outcome{Approval: answered(question, Answer{By: by, Scope: Once, Reason: why, At: time.Now()})}
}

// answered is a question that was answered without being one.
func answered(question *Question, answer Answer) Approval {
	a := Approval{
		Kind: question.Kind, State: Denied, Session: question.Session, Agent: question.Agent, Surface: question.Surface,
		UID: question.UID, User: question.User, Project: question.Project, Subject: question.Subject, Why: question.Why,
		HumanOnly: question.HumanOnly, EachTime: question.EachTime, Asked: answer.At, Deadline: answer.At, Merged: 1, Answer: &answer,
	}
	if answer.Allow {
		a.State = Allowed
	}
	return a
}

// finish ends a question, tells everybody who waits, and returns the event of it.
func (q *Queue) finish(r *request, state State, answer Answer) []telemetry.Event {
	r.timer.Stop()
	if r.thinking != nil {
		r.thinking()
	}
	delete(q.pending, r.approval.ID)
	delete(q.intents, r.intent)
	r.approval.State, r.approval.Answer = state, &answer
	q.changed(r)
	q.remember(&r.approval)
	out := Outcome{Allow: state == Allowed, Approval: r.approval}
	waiting := make([]func(Outcome), 0, len(r.waiters))
	for t := range r.waiters {
		if t.done != nil {
			waiting = append(waiting, t.done)
		}
	}
	r.waiters = nil
	if len(waiting) > 0 {
		q.work.Go(func() {
			for _, done := range waiting {
				done(out)
			}
		})
	}
	return []telemetry.Event{finished(&r.approval)}
}

// keepOver is how many questions that are over are kept for the history.
const keepOver = 500

func (q *Queue) remember(a *Approval) {
	copied := *a
	q.over = append(q.over, &copied)
	if n := len(q.over) - keepOver; n > 0 {
		clear(q.over[:n])
		q.over = q.over[n:]
	}
}

func (q *Queue) expire(id string) {
	q.mu.Lock()
	r := q.pending[id]
	var events []telemetry.Event
	if r != nil {
		if left := time.Until(r.approval.Deadline); left > 0 { // it was set back meanwhile
			r.timer.Reset(left)
		} else {
			events = q.finish(r, Expired, Answer{
				By: ByDeadline, Scope: Once, At: time.Now(),
				Reason: fmt.Sprintf("nobody answered within %v", r.approval.Deadline.Sub(r.approval.Asked).Round(time.Second)),
			})
		}
	}
	q.mu.Unlock()
	q.record(events...)
}

// Withdraw takes back what waits, by one of the By constants: its process has ended,
// or the requirements answer by now. It reports whether the answer had not come yet;
// then done will not be called.
func (t *Ticket) Withdraw(by, reason string) bool {
	q := t.queue
	q.mu.Lock()
	r := t.request
	waited := r.waiters[t]
	delete(r.waiters, t)
	var events []telemetry.Event
	if waited && len(r.waiters) == 0 {
		events = q.finish(r, Cancelled, Answer{By: by, Reason: reason, At: time.Now()})
	} else if waited {
		q.changed(r)
	}
	q.mu.Unlock()
	q.record(events...)
	return waited
}

// Wait asks and waits for the answer. When ctx ends before, the question is
// withdrawn, and the answer is no.
func (q *Queue) Wait(ctx context.Context, question Question) Outcome {
	answer := make(chan Outcome, 1)
	out, ticket := q.Ask(question, func(o Outcome) { answer <- o })
	if ticket == nil {
		return out
	}
	select {
	case o := <-answer:
		return o
	case <-ctx.Done():
		if !ticket.Withdraw(ByProcess, "nobody waits for the answer any more") {
			return <-answer
		}
		return Outcome{Approval: out.Approval}
	}
}

// EndSession forgets what was allowed for a session, and cancels what it asks.
func (q *Queue) EndSession(id string) {
	q.mu.Lock()
	var events []telemetry.Event
	for _, r := range q.pending {
		if r.question.Session == id {
			events = append(events, q.finish(r, Cancelled, Answer{By: ByProcess, Reason: "the session has ended", At: time.Now()})...)
		}
	}
	q.endGrants(id)
	delete(q.rates, id)
	now := time.Now()
	for intent, until := range q.refused {
		if now.After(until) {
			delete(q.refused, intent)
		}
	}
	q.mu.Unlock()
	q.record(events...)
}

// Settle ends what an earlier daemon asked and nobody waits for any more.
func (q *Queue) Settle() {
	q.mu.Lock()
	var events []telemetry.Event
	for _, r := range q.pending {
		if r.restored {
			events = append(events, q.finish(r, Cancelled, Answer{By: ByProcess, At: time.Now(), Reason: "what waited did not outlive the restart of Paddock"})...)
		}
	}
	q.mu.Unlock()
	q.record(events...)
}

// Close stops asking and saves. What waits stays in the file for the next daemon;
// those who wait are told nothing.
func (q *Queue) Close() error {
	q.mu.Lock()
	q.closed = true
	for _, r := range q.pending {
		r.timer.Stop()
		if r.thinking != nil {
			r.thinking()
		}
	}
	for f := range q.followers {
		f.wake()
	}
	q.mu.Unlock()
	err := q.stopSaver()
	q.work.Wait()
	return err
}

func (q *Queue) record(events ...telemetry.Event) {
	if len(events) == 0 || q.options.Events == nil {
		return
	}
	if err := q.options.Events.Record(context.Background(), events...); err != nil {
		q.log.Error("recording an approval", "error", err)
	}
}
