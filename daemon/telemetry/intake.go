// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

// intake is what stands between those who record and the one who writes. It is
// bounded: who comes when it is full is told so.
type intake struct {
	mu      sync.Mutex
	maxRows int
	maxSize int

	rows   []row // waiting
	spare  []row // empty: for those that come next
	size   int
	jobs   []*job
	hurry  bool  // somebody waits for a commit
	broken error // why the last commit failed; nil when it did not
	closed bool

	received, committed, lost uint64 // as in Counters
	taken, stored             uint64 // rows put in, and of those committed: the store's own are not among them
	missing                   loss   // lost while the database could not be written, and no gap event says so yet
	slow                      loss   // the same, because it did not keep up
	ledger                    ledger // as of the last commit

	wake    chan struct{} // to the writer; holds one
	changed chan struct{} // closed, and made anew, at every commit, failure and close
}

// loss is what a gap event has to tell.
type loss struct {
	count    uint64
	from, to int64 // times, nanoseconds
}

// job is work for the writer that is not the storing of events.
type job struct {
	run  func(*sql.Tx, *ledger) error
	done chan error // holds one
}

func newIntake(maxRows, maxSize int) *intake {
	return &intake{maxRows: maxRows, maxSize: maxSize, wake: make(chan struct{}, 1), changed: make(chan struct{})}
}

func (q *intake) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// announce lets everybody who waits look again. q.mu is held.
func (q *intake) announce() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// put takes all rows or none.
func (q *intake) put(rows []row) error {
	size := 0
	for i := range rows {
		size += rows[i].size()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		q.refuse(rows)
		return ErrClosed
	// More than fits at once goes in when nothing else waits.
	case len(q.rows) == 0, len(q.rows)+len(rows) <= q.maxRows && q.size+size <= q.maxSize:
		q.rows = append(q.rows, rows...)
		q.size += size
		q.received += uint64(len(rows))
		q.taken += uint64(len(rows))
		q.signal()
		return nil
	case q.broken != nil:
		q.refuse(rows)
		return fmt.Errorf("recording %d events: %w, and the store cannot be written: %w", len(rows), ErrFull, q.broken)
	default:
		q.refuse(rows)
		return fmt.Errorf("recording %d events: %w", len(rows), ErrFull)
	}
}

// room waits until a quarter is free.
func (q *intake) room(ctx context.Context) error {
	q.mu.Lock()
	for len(q.rows) > q.maxRows/4*3 || q.size > q.maxSize/4*3 {
		if q.broken != nil || q.closed {
			break
		}
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the event store: %w", ctx.Err())
		}
		q.mu.Lock()
	}
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	return nil
}

// refuse counts rows that will not be stored. q.mu is held.
func (q *intake) refuse(rows []row) {
	q.received += uint64(len(rows))
	q.lose(rows)
}

func (q *intake) lose(rows []row) {
	q.lost += uint64(len(rows))
	to := &q.slow
	if q.broken != nil || q.closed {
		to = &q.missing
	}
	for i := range rows {
		to.add(loss{count: 1, from: rows[i].time, to: rows[i].time})
	}
}

// take waits for work. Unless somebody waits for the commit, it gathers for a
// moment: a commit costs the same for one row as for a hundred. ok is false
// when the intake is closed and empty.
func (q *intake) take(gather time.Duration, limit int) (rows []row, jobs []*job, ok bool) {
	for {
		q.mu.Lock()
		if len(q.rows) > 0 || len(q.jobs) > 0 || q.closed {
			break
		}
		q.mu.Unlock()
		<-q.wake
	}
	if gather > 0 && !q.hurry && !q.closed && len(q.jobs) == 0 {
		q.mu.Unlock()
		q.linger(gather, limit)
		q.mu.Lock()
	}
	defer q.mu.Unlock()
	n := min(len(q.rows), limit)
	if n == len(q.rows) {
		rows, q.rows, q.spare = q.rows, q.spare, nil // the writer owns the array now
	} else {
		rows, q.rows = q.rows[:n:n], q.rows[n:]
	}
	for i := range rows {
		q.size -= rows[i].size()
	}
	jobs, q.jobs = q.jobs, nil
	q.hurry = q.hurry && len(q.rows) > 0
	return rows, jobs, n > 0 || len(jobs) > 0 || !q.closed
}

// giveBack takes the array of rows that were dealt with, to be filled anew.
func (q *intake) giveBack(rows []row) {
	clear(rows)
	if cap(rows) > 2*maxBatch {
		return // after a flood
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if cap(rows) > cap(q.spare) {
		q.spare = rows[:0]
	}
}

// linger returns after a while, or when a batch is complete or wanted at once.
func (q *intake) linger(gather time.Duration, limit int) {
	timer := time.NewTimer(gather)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-q.wake:
		}
		q.mu.Lock()
		enough := q.hurry || q.closed || len(q.jobs) > 0 || len(q.rows) >= limit || q.size >= q.maxSize/2
		q.mu.Unlock()
		if enough {
			return
		}
	}
}

// flush waits until everything put in before is committed.
func (q *intake) flush(ctx context.Context) error {
	q.mu.Lock()
	goal := q.taken
	for q.stored < goal {
		q.hurry = true
		if q.broken != nil {
			defer q.mu.Unlock()
			return fmt.Errorf("%d events are not stored yet: %w", goal-q.stored, q.broken)
		}
		changed := q.changed
		q.mu.Unlock()
		q.signal()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for events to be stored: %w", ctx.Err())
		}
		q.mu.Lock()
	}
	q.mu.Unlock()
	return nil
}

// do has the writer run f, after everything put in before.
func (q *intake) do(ctx context.Context, f func(*sql.Tx, *ledger) error) error {
	j := &job{run: f, done: make(chan error, 1)}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return ErrClosed
	}
	q.jobs = append(q.jobs, j)
	q.mu.Unlock()
	q.signal()
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *intake) close() {
	q.mu.Lock()
	q.closed = true
	q.announce()
	q.mu.Unlock()
	q.signal()
}

func (q *intake) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// watch returns the oldest seq kept, the newest, a channel that closes when
// either may be another, and whether Close was called.
func (q *intake) watch() (oldest, last int64, changed <-chan struct{}, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ledger.oldest, q.ledger.last, q.changed, q.closed
}

func (q *intake) counters() Counters {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.ledger.counters()
	c.Received, c.Committed, c.Lost = q.received, q.committed, q.lost
	c.Queued = q.received - q.committed - q.lost
	return c
}
