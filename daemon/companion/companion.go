// SPDX-License-Identifier: Apache-2.0

package companion

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/companion/notify"
)

// Queue is where questions come from and answers go: the daemon, by its API.
type Queue interface {
	Approvals(ctx context.Context, follow bool) iter.Seq2[approval.Change, error]
	AnswerApproval(ctx context.Context, id string, r approval.Reply) (approval.Approval, error)
}

// Screen shows questions. *notify.Client is one, and so are the dialogs of macOS.
type Screen interface {
	Show(notify.Notification)
	Close(key string)
	Events() <-chan notify.Event
}

// Options of a companion.
type Options struct {
	Queue  Queue
	Screen Screen
	UID    uint32 // whose questions are shown: root's stream has everybody's
	Log    *slog.Logger
	// Terminal gets a line for each question that cannot be shown.
	Terminal io.Writer
	// ReadTime is how long a question has to be on the screen before it can be allowed.
	// 0: DefaultReadTime.
	ReadTime time.Duration
}

// DefaultReadTime is less than anybody needs to read a command, and more than lies
// between a question that jumps under the mouse and the click that was for something
// else.
const DefaultReadTime = 500 * time.Millisecond

// maxShown is how many questions are on the screen at a time, the oldest first.
const maxShown = 4

// Companion shows questions. Make one with New, then Run it once.
type Companion struct {
	options Options

	// Belongs to the goroutine of Run.
	asked map[string]*question
	told  chan told
}

// question is one that waits for an answer.
type question struct {
	approval.Approval
	shown     notify.Notification // as it was asked to be on the screen; Key is empty: it is not
	changed   bool                // since then: writing a question of megabytes anew takes a while
	closed    bool                // the person closed it: it is not shown again
	details   bool                // the person wants to see more
	answering bool
	problem   string // why the last answer was not taken
}

// told is what the daemon made of an answer.
type told struct {
	id  string
	err error
}

// New makes a companion.
func New(o Options) *Companion {
	if o.ReadTime == 0 {
		o.ReadTime = DefaultReadTime
	}
	return &Companion{options: o, asked: map[string]*question{}, told: make(chan told)}
}

// Run asks until ctx ends.
func (c *Companion) Run(ctx context.Context) {
	feed := make(chan step)
	go follow(ctx, c.options.Queue, c.options.Log, feed)
	deadline := time.NewTimer(time.Hour)
	defer deadline.Stop()
	for {
		c.show()
		deadline.Reset(c.untilDeadline())
		select {
		case <-ctx.Done():
			return
		case s := <-feed:
			c.step(s)
		case e := <-c.options.Screen.Events():
			c.event(ctx, e)
		case t := <-c.told:
			c.answered(t)
		case <-deadline.C:
			c.expire(time.Now())
		}
	}
}

// step takes what the daemon says.
func (c *Companion) step(s step) {
	if s.current != nil { // all that is pending, after the stream began anew
		for id := range c.asked {
			if !s.current[id] {
				c.forget(id)
			}
		}
		return
	}
	a := s.approval
	if a.UID != c.options.UID {
		return
	}
	if a.State != approval.Pending {
		c.forget(a.ID)
		return
	}
	q := c.asked[a.ID]
	if q == nil {
		q = &question{}
		c.asked[a.ID] = q
	}
	before := q.Approval
	before.Merged = a.Merged // not shown, and it may change a thousand times
	q.changed = q.changed || !reflect.DeepEqual(before, *a)
	q.Approval = *a
}

func (c *Companion) forget(id string) {
	q := c.asked[id]
	delete(c.asked, id)
	if q != nil && q.shown.Key != "" {
		c.options.Screen.Close(id)
	}
}

// show puts on the screen what belongs there and is not there yet.
func (c *Companion) show() {
	room := maxShown
	open := make([]*question, 0, len(c.asked))
	for _, q := range c.asked {
		if !q.closed && !q.answering {
			open = append(open, q)
		}
		if q.shown.Key != "" {
			room--
		}
	}
	slices.SortFunc(open, func(a, b *question) int {
		if n := a.Asked.Compare(b.Asked); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
	for _, q := range open {
		switch {
		case q.shown.Key != "" && !q.changed, q.shown.Key == "" && room == 0:
			continue
		case q.shown.Key == "":
			room--
		}
		q.changed = false
		if n := notice(q); !same(n, q.shown) {
			q.shown = n
			c.options.Screen.Show(n)
		}
	}
}

func same(a, b notify.Notification) bool {
	return a.Key == b.Key && a.Summary == b.Summary && a.Body == b.Body && slices.Equal(a.Actions, b.Actions)
}

// event takes what happened on the screen.
func (c *Companion) event(ctx context.Context, e notify.Event) {
	q := c.asked[e.Key]
	if q == nil {
		return
	}
	switch e.Kind {
	case notify.Shown:
		c.options.Log.Debug("a question is on the screen", "id", q.ID, "buttons", e.Buttons)
	case notify.Gone:
		q.closed, q.shown = true, notify.Notification{}
		c.options.Log.Info("a question was closed without an answer", "id", q.ID, "answer", "paddock approve|deny "+q.ID)
	case notify.Unshown:
		c.options.Log.Warn("a question cannot be shown", "id", q.ID, "error", e.Err)
		fmt.Fprintf(c.options.Terminal, "\n%s\nAnswer with: paddock approve %s, or paddock deny %s\n", text(q), q.ID, q.ID)
	case notify.Invoked:
		q.shown = notify.Notification{} // it is off the screen now
		c.pressed(ctx, q, e)
	}
}

// pressed takes an answer.
func (c *Companion) pressed(ctx context.Context, q *question, e notify.Event) {
	reply := approval.Reply{Scope: approval.Once}
	switch e.Action {
	case actionDeny:
	case actionOnce, actionSession:
		if e.Since < c.options.ReadTime {
			q.problem = "That was too fast to have been read. Please look again."
			return
		}
		reply.Allow = true
		if e.Action == actionSession {
			reply.Scope = approval.Session
		}
	default:
		q.details = true
		return
	}
	q.answering = true
	id, deadline := q.ID, q.Deadline
	go func() {
		// The daemon may ask for proof that somebody is there; it ends with the question.
		ctx, cancel := context.WithDeadline(ctx, deadline.Add(graceTime))
		defer cancel()
		_, err := c.options.Queue.AnswerApproval(ctx, id, reply)
		select {
		case c.told <- told{id, err}:
		case <-ctx.Done():
		}
	}()
}

// answered takes what became of an answer. That it was taken comes by the stream.
func (c *Companion) answered(t told) {
	q := c.asked[t.id]
	if q == nil {
		return
	}
	if t.err == nil {
		c.forget(t.id)
		return
	}
	c.options.Log.Warn("an answer was not taken", "id", t.id, "error", t.err)
	q.answering, q.changed = false, true
	q.problem = "The answer was not taken: " + t.err.Error()
}

// graceTime is how long after its deadline a question may stay: the daemon is the one
// who says that it is over.
const graceTime = 5 * time.Second

func (c *Companion) untilDeadline() time.Duration {
	wait := time.Hour
	for _, q := range c.asked {
		wait = min(wait, time.Until(q.Deadline.Add(graceTime)))
	}
	return max(wait, 10*time.Millisecond)
}

func (c *Companion) expire(now time.Time) {
	for id, q := range c.asked {
		if !now.Before(q.Deadline.Add(graceTime)) {
			c.forget(id)
		}
	}
}
