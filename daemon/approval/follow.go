// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"cmp"
	"context"
	"iter"
	"slices"
)

// follower is somebody who is told of changes. However slow, it holds one approval
// per question and nobody up.
type follower struct {
	viewer Viewer
	ready  chan struct{}
	dirty  []Approval // the latest of each, in the order of their first change
}

func (f *follower) wake() {
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

// changed tells followers, and has the file written.
func (q *Queue) changed(r *request) {
	q.saver.soon()
	if r.thinking != nil && r.approval.State == Pending {
		return // the person is not asked yet
	}
	for f := range q.followers {
		if !f.viewer.sees(r.approval.UID) {
			continue
		}
		i := slices.IndexFunc(f.dirty, func(a Approval) bool { return a.ID == r.approval.ID })
		if i < 0 {
			f.dirty = append(f.dirty, r.approval)
		} else {
			f.dirty[i] = r.approval
		}
		f.wake()
	}
}

// Follow returns what waits for the viewer and, with more, then what changes, until
// ctx ends or the queue closes.
func (q *Queue) Follow(ctx context.Context, of Viewer, more bool) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		f := &follower{viewer: of, ready: make(chan struct{}, 1)}
		q.mu.Lock()
		var now []Approval
		for _, r := range q.pending {
			// Nobody waits for what was restored until its holder asks again.
			if of.sees(r.approval.UID) && !r.restored && r.thinking == nil {
				now = append(now, r.approval)
			}
		}
		if more {
			q.followers[f] = true
		}
		q.mu.Unlock()
		defer func() {
			q.mu.Lock()
			delete(q.followers, f)
			q.mu.Unlock()
		}()
		slices.SortFunc(now, func(a, b Approval) int { return cmp.Compare(a.ID, b.ID) })
		for i := range now {
			if !yield(Change{Approval: &now[i]}, nil) {
				return
			}
		}
		if !yield(Change{Synced: true}, nil) || !more {
			return
		}
		for {
			select {
			case <-ctx.Done():
				yield(Change{}, ctx.Err())
				return
			case <-f.ready:
			}
			q.mu.Lock()
			dirty, closed := f.dirty, q.closed
			f.dirty = nil
			q.mu.Unlock()
			for i := range dirty {
				if !yield(Change{Approval: &dirty[i]}, nil) {
					return
				}
			}
			if closed {
				return
			}
		}
	}
}

// History returns what is over, the newest first, at most limit; 0: all.
func (q *Queue) History(of Viewer, limit int) []Approval {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := []Approval{} // none is a list too
	for i := len(q.over) - 1; i >= 0 && (limit == 0 || len(out) < limit); i-- {
		if of.sees(q.over[i].UID) {
			out = append(out, *q.over[i])
		}
	}
	return out
}
