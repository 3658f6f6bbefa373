// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// model stands for a reviewer that asks a model: it answers when the test says so.
type model struct {
	asked  chan Approval
	answer chan Review
	deaf   bool // does not look at ctx
	ended  chan error
}

func newModel() *model {
	return &model{asked: make(chan Approval, 10), answer: make(chan Review, 10), ended: make(chan error, 10)}
}

var errNoModel = errors.New("no model")

func (m *model) Review(ctx context.Context, a Approval, _ []string) (Review, error) {
	m.asked <- a
	done := ctx.Done()
	if m.deaf {
		done = nil
	}
	select {
	case r := <-m.answer:
		if r.Class == "" {
			return r, errNoModel
		}
		return r, nil
	case <-done:
		m.ended <- ctx.Err()
		return Review{}, ctx.Err()
	}
}

// thinkingQueue is a queue with a model, and what the person is shown.
func thinkingQueue(t *testing.T, m *model, classes ...string) (q *Queue, shown func() []string) {
	t.Helper()
	q, err := Open(Options{File: newFile(t), Reviewer: Deterministic{}, SlowReviewer: m, Events: &events{}})
	if err != nil {
		t.Fatal(err)
	}
	p := policy.DefaultApprovals()
	p.AutoReview = classes
	q.Apply(p)
	return q, func() []string {
		var ids []string
		for c := range q.Follow(t.Context(), Viewer{UID: user}, false) {
			if c.Approval != nil {
				ids = append(ids, c.Approval.ID)
			}
		}
		return ids
	}
}

// While a model thinks, nobody is bothered; its yes is for once, and marked.
func TestModelAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		q, shown := thinkingQueue(t, m, "read-only")
		defer q.Close()
		a, _, answer := asked(t, q, command("s", "git", "log"))
		if got := <-m.asked; got.ID != a.ID || got.Argv[1] != "log" {
			t.Errorf("it was asked %+v", got)
		}
		if ids := shown(); len(ids) > 0 {
			t.Errorf("the person sees %v", ids)
		}
		m.answer <- Review{Class: "read-only", Reason: "git log only reads"}
		out := <-answer
		if given := out.Approval.Answer; !out.Allow || given.By != ByReview || given.Scope != Once || given.Reason != "git log only reads" {
			t.Errorf("%+v", given)
		}
		if _, _, again := asked(t, q, command("s", "git", "log")); len(again) > 0 {
			t.Error("it was remembered")
		}
	})
}

// Whatever goes wrong with a model, the person is asked.
func TestModelThatDoesNotAllow(t *testing.T) {
	for name, test := range map[string]struct {
		answer *Review
		deaf   bool
		after  time.Duration
	}{
		"an error":                       {answer: &Review{}},
		"a class nobody permitted":       {answer: &Review{Class: "project", Reason: "I think so"}},
		"a class that does not exist":    {answer: &Review{Class: "all"}},
		"no answer":                      {after: ReviewTime},
		"no answer, whatever it is told": {after: ReviewTime, deaf: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel()
				m.deaf = test.deaf
				q, shown := thinkingQueue(t, m, "read-only")
				defer q.Close()
				a, _, answer := asked(t, q, command("s", "git", "log"))
				<-m.asked
				if test.answer != nil {
					m.answer <- *test.answer
				}
				time.Sleep(test.after) // of the bubble's clock
				synctest.Wait()
				if ids := shown(); !slices.Equal(ids, []string{a.ID}) {
					t.Errorf("the person sees %v", ids)
				}
				m.answer <- Review{Class: "read-only"} // too late
				synctest.Wait()
				if len(answer) > 0 {
					t.Errorf("%+v", <-answer)
				}
				if _, err := q.Answer(a.ID, person(), Reply{}); err != nil {
					t.Fatal(err)
				}
				if out := <-answer; out.Allow {
					t.Error("it was allowed")
				}
			})
		})
	}
}

// A model stops thinking when the question is over: the process has ended, somebody has
// answered, or its time is up. What it says then counts for nothing.
func TestModelIsToldToStop(t *testing.T) {
	for name, over := range map[string]func(t *testing.T, q *Queue, a Approval, ticket *Ticket){
		"the process ends": func(_ *testing.T, _ *Queue, _ Approval, ticket *Ticket) { ticket.Withdraw(ByProcess, "gone") },
		"somebody answers": func(t *testing.T, q *Queue, a Approval, _ *Ticket) {
			if _, err := q.Answer(a.ID, person(), Reply{}); err != nil {
				t.Error(err)
			}
		},
		"the session ends": func(_ *testing.T, q *Queue, _ Approval, _ *Ticket) { q.EndSession("s") },
		"the daemon stops": func(_ *testing.T, q *Queue, _ Approval, _ *Ticket) { q.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel()
				q, _ := thinkingQueue(t, m, "read-only")
				a, ticket, answer := asked(t, q, command("s", "git", "log"))
				<-m.asked
				over(t, q, a, ticket)
				if err := <-m.ended; !errors.Is(err, context.Canceled) {
					t.Errorf("it ended with %v", err)
				}
				synctest.Wait()
				if len(answer) > 0 {
					if out := <-answer; out.Allow {
						t.Error("it was allowed")
					}
				}
				if name != "the daemon stops" {
					q.Close()
				}
			})
		})
	}
}

// What is for people, of high risk, or not to be reviewed any more, no model allows.
func TestModelIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		q, shown := thinkingQueue(t, m, "read-only")
		defer q.Close()
		people := command("s", "git", "push")
		people.HumanOnly = true
		asked(t, q, people)
		asked(t, q, command("s", "sudo", "ls"))
		synctest.Wait()
		if len(m.asked) > 0 || len(shown()) != 2 {
			t.Errorf("it was asked %d times; the person sees %v", len(m.asked), shown())
		}
		// The requirements change while it thinks.
		_, _, answer := asked(t, q, command("s", "git", "log"))
		<-m.asked
		q.Apply(policy.DefaultApprovals())
		m.answer <- Review{Class: "read-only"}
		synctest.Wait()
		if len(answer) > 0 || len(shown()) != 3 {
			t.Errorf("%d answers; the person sees %v", len(answer), shown())
		}
	})
}
