// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// place is what one question is about.
type place struct {
	session  string
	host     policy.Host
	port     uint16
	protocol policy.HostProtocol
}

// holds are the questions that are open.
type holds struct {
	engine *Engine

	mu   sync.Mutex
	open map[place]*hold
}

// hold is one question, for all connections that wait for it.
type hold struct {
	place   place
	request policy.HostRequest // of the first
	cancel  context.CancelCauseFunc
	waiting int
	done    chan struct{} // closed when outcome is there
	outcome outcome
}

// outcome is the answer, or the verdict of the policy that came in between.
type outcome struct {
	answer  Answer
	verdict *policy.HostVerdict
}

// wait returns the answer for u, asking if nobody has yet. gone is closed when the
// client has closed its connection.
func (h *holds) wait(u Unfamiliar, request policy.HostRequest, gone <-chan struct{}) outcome {
	at := place{u.Flow.Session, u.Host, u.Port, u.Protocol}
	h.mu.Lock()
	q := h.open[at]
	if q == nil {
		q = h.ask(at, u, request)
	}
	q.waiting++
	h.mu.Unlock()
	select {
	case <-q.done:
		h.leave(q, nil)
		return q.outcome
	case <-gone:
		h.leave(q, ErrClientsGone)
		return outcome{answer: Answer{By: "client", Reason: "the client closed the connection while it was held"}}
	}
}

// leave counts one out; if it was the last, nobody needs the answer any more.
func (h *holds) leave(q *hold, why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if q.waiting--; q.waiting > 0 || why == nil {
		return
	}
	q.cancel(why)
	if h.open[q.place] == q {
		delete(h.open, q.place) // who comes now asks anew
	}
}

// ask opens a question. h.mu is held.
func (h *holds) ask(at place, u Unfamiliar, request policy.HostRequest) *hold {
	ctx, cancel := context.WithCancelCause(h.engine.ctx)
	q := &hold{place: at, request: request, cancel: cancel, done: make(chan struct{})}
	if h.open == nil {
		h.open = map[place]*hold{}
	}
	h.open[at] = q
	ctx, stop := context.WithTimeoutCause(ctx, h.engine.limits.Hold, ErrNoAnswer)
	// Whatever the asker does, the end of ctx is the end of the question.
	context.AfterFunc(ctx, func() {
		cause := context.Cause(ctx)
		h.close(q, outcome{answer: Answer{By: byWhom(cause), Reason: cause.Error()}})
	})
	h.engine.work.Go(func() {
		defer stop()
		answer, err := h.engine.asker.Ask(ctx, u)
		switch {
		case ctx.Err() != nil: // an answer that comes too late is none
			return
		case err != nil:
			answer = Answer{By: "policy", Reason: "nobody could be asked: " + err.Error()}
		}
		h.close(q, outcome{answer: answer})
	})
	return q
}

func byWhom(cause error) string {
	switch {
	case errors.Is(cause, ErrNoAnswer):
		return "deadline"
	case errors.Is(cause, ErrClientsGone):
		return "client"
	}
	return "paddock"
}

// close gives everybody who waits the same outcome. Only the first one counts.
func (h *holds) close(q *hold, o outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closeLocked(q, o)
}

func (h *holds) closeLocked(q *hold, o outcome) {
	select {
	case <-q.done:
		return
	default:
	}
	q.outcome = o
	if h.open[q.place] == q {
		delete(h.open, q.place)
	}
	close(q.done)
	q.cancel(context.Canceled)
}

// judgeAgain closes what the policy that is in force now decides by itself.
func (h *holds) judgeAgain() {
	p := h.engine.policy.Load()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, q := range h.open {
		if v := p.decide(q.request); v.Decision != policy.NetAsk || p.Mode == policy.Observe {
			h.closeLocked(q, outcome{verdict: &v})
		}
	}
}

func (h *holds) endSession(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, q := range h.open {
		if q.place.session == id {
			q.cancel(ErrSessionEnded)
			h.closeLocked(q, outcome{answer: Answer{By: "paddock", Reason: ErrSessionEnded.Error()}})
		}
	}
}

func (h *holds) waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, q := range h.open {
		n += q.waiting
	}
	return n
}

// watch returns a channel that is closed when the client is gone, and a function that
// ends the watching. A client that sends while it is held is not read from.
func (s *sock) watch(work *sync.WaitGroup) (gone <-chan struct{}, stop func()) {
	closed, done := make(chan struct{}), make(chan struct{})
	_ = s.SetReadDeadline(time.Time{})
	work.Go(func() {
		defer close(done)
		if err := s.gone(); !isDeadline(err) {
			close(closed)
		}
	})
	return closed, func() {
		_ = s.SetReadDeadline(time.Unix(1, 0))
		<-done
		_ = s.SetReadDeadline(time.Time{})
	}
}
