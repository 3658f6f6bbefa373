// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"database/sql"
	"fmt"
	"time"
)

// maxBatch is how many events one commit takes: some 100 ms of work.
const maxBatch = 8192

// Waiting times between attempts to write a database that cannot be written.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// write is the one goroutine that changes the database.
func (s *Store) write() {
	defer close(s.done)
	for {
		rows, jobs, ok := s.in.take(s.options.Gather, maxBatch)
		if !ok {
			return
		}
		if len(rows) > 0 {
			s.store(rows)
			s.in.giveBack(rows)
		}
		for _, j := range jobs {
			j.done <- s.transact(0, j.run)
		}
		s.age()
		s.bound()
	}
}

// store commits rows. It tries until it succeeds; or, after Close, once more.
func (s *Store) store(rows []row) {
	wait := firstRetry
	for {
		err := s.commit(rows)
		if err == nil {
			return
		}
		s.in.mu.Lock()
		first := s.in.broken == nil
		s.in.broken = err
		s.in.announce()
		changed, closed := s.in.changed, s.in.closed
		if closed {
			s.in.lose(rows)
			s.failed = fmt.Errorf("storing events in %s: %d are lost: %w", s.path, s.in.missing.count, err)
		}
		s.in.mu.Unlock()
		if first || closed {
			s.options.Log.Error("events cannot be stored", "file", s.path, "error", err, "waiting", len(rows))
		}
		if closed {
			return
		}
		s.pause(wait, changed)
		wait = min(2*wait, lastRetry)
		s.disconnect() // what failed may have been the connection
	}
}

// pause waits for a while, or until Close.
func (s *Store) pause(d time.Duration, changed <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-changed:
			var closed bool
			if _, _, changed, closed = s.in.watch(); closed {
				return
			}
		}
	}
}

// commit stores rows, with gap events before them if others were lost.
func (s *Store) commit(rows []row) error {
	s.in.mu.Lock()
	missing, slow := s.in.missing, s.in.slow
	s.in.missing, s.in.slow = loss{}, loss{}
	s.in.mu.Unlock()
	all, err := s.gaps(missing, slow)
	if err == nil {
		if len(all) == 0 {
			all = rows
		} else {
			all = append(all, rows...)
		}
		err = s.transact(uint64(len(rows)), func(tx *sql.Tx, l *ledger) error {
			if err := s.insert(tx, l, all); err != nil {
				return err
			}
			s.account.storing(uint64(len(rows))+missing.count+slow.count, l.last)
			return nil
		})
		s.account.committed(err == nil)
	}
	if err != nil {
		s.in.mu.Lock()
		s.in.missing.add(missing)
		s.in.slow.add(slow)
		s.in.mu.Unlock()
	}
	return err
}

func (s *Store) gaps(missing, slow loss) ([]row, error) {
	var out []row
	for _, g := range []struct {
		loss
		cause string
	}{{missing, GapStore}, {slow, GapSlow}} {
		if g.count == 0 {
			continue
		}
		gap, err := s.row(&Event{Name: NameTelemetryGap, Severity: Error, Attrs: map[string]any{
			AttrGapCause: g.cause, AttrGapCount: g.count, AttrGapFrom: stamp(g.from), AttrGapTo: stamp(g.to),
		}})
		if err != nil {
			return nil, err
		}
		out = append(out, gap)
	}
	return out, nil
}

func stamp(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

// transact runs f on a copy of the ledger and, when both are committed,
// publishes it. Of the rows f stored, queued came out of the intake; the others
// are the store's own. Damage that it meets is repaired, and f run again.
func (s *Store) transact(queued uint64, f func(*sql.Tx, *ledger) error) error {
	err := s.attempt(queued, f)
	if !damaged(err) {
		return err
	}
	if err := s.replace(err); err != nil {
		return err
	}
	return s.attempt(queued, f)
}

func (s *Store) attempt(queued uint64, f func(*sql.Tx, *ledger) error) error {
	if s.db != nil {
		if err := s.db.moved(); err != nil {
			return err
		}
	} else if err := s.open(); err != nil {
		return err
	}
	l := s.in.ledgerCopy()
	before := l.last
	s.tally.begin(s.options.Now())
	err := inTransaction(s.db.write, func(tx *sql.Tx) error {
		if err := f(tx, &l); err != nil {
			return err
		}
		if err := s.tally.write(tx); err != nil {
			return err
		}
		if err := s.shares.write(tx); err != nil {
			return err
		}
		return l.write(tx)
	})
	if err != nil {
		s.tally.reset()
		s.shares.reset()
		return err
	}
	s.in.publish(l, uint64(l.last-before), queued)
	return nil
}

// disconnect closes the database. The next attempt opens it again.
func (s *Store) disconnect() {
	s.dbMu.Lock()
	defer s.dbMu.Unlock()
	if s.db != nil {
		s.db.close()
		s.db = nil
	}
}

// open opens the database, after repairing it if need be.
func (s *Store) open() error {
	if err := finishReplacing(s.path); err != nil {
		return err
	}
	db, l, err := openFile(s.path)
	if err == nil {
		if known := s.in.ledgerCopy(); l.last < known.last {
			db.close()
			err = fmt.Errorf("%w: it ends with event %d, and %d were stored", errDamaged, l.last, known.last)
		}
	}
	if damaged(err) {
		return s.replace(err)
	}
	if err != nil {
		return err
	}
	s.use(db, l)
	return nil
}

func (s *Store) use(db *database, l ledger) {
	s.shares.reset()
	s.swept = 0
	s.dbMu.Lock()
	s.db = db
	s.dbMu.Unlock()
	s.in.mu.Lock()
	l.trimmed = max(l.trimmed, s.in.ledger.trimmed)
	s.in.ledger = l
	s.in.mu.Unlock()
}

func (l *loss) add(other loss) {
	if other.count == 0 {
		return
	}
	if l.from == 0 || other.from < l.from {
		l.from = other.from
	}
	l.to = max(l.to, other.to)
	l.count += other.count
}

func (q *intake) ledgerCopy() ledger {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ledger.clone()
}

// publish books a commit of rows, of which queued were in the intake.
func (q *intake) publish(l ledger, rows, queued uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ledger = l
	q.received += rows - queued
	q.committed += rows
	q.stored += queued
	q.broken = nil
	q.announce()
}
