// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"database/sql"
	"time"
)

// removeAtOnce is how many events go in one transaction: recording must not
// wait for long.
const removeAtOnce = 4096

// ageEvery is how often old events are looked for, and removeAtOnce how many go
// then: a clock that is wrong for an hour costs few of them.
const ageEvery = time.Minute

// tallyAge is how long tallies are kept.
const tallyAge = 400 * 24 * time.Hour

// age removes some of the events that are older than they may be.
func (s *Store) age() {
	now := s.options.Now()
	if s.options.MaxAge <= 0 || s.db == nil || now.Before(s.aged.Add(ageEvery)) && !now.Before(s.aged) {
		return
	}
	s.aged = now
	l := s.in.ledgerCopy()
	if l.last-l.oldest < 1 {
		return
	}
	limit := now.Add(-s.options.MaxAge).UnixNano()
	var seq sql.NullInt64
	// The first one that is young enough ends it: what came out of order behind it can wait.
	err := s.db.read.QueryRow(`SELECT coalesce((SELECT seq FROM events WHERE seq BETWEEN ? AND ? AND time >= ? ORDER BY seq LIMIT 1) - 1, ?)`,
		l.oldest, l.oldest+removeAtOnce, limit, min(l.oldest+removeAtOnce, l.last)-1).Scan(&seq)
	if err == nil && seq.Int64 >= l.oldest {
		err = s.transact(0, func(tx *sql.Tx, l *ledger) error {
			if _, err := tx.Exec(`DELETE FROM tallies WHERE hour < ?`, now.Add(-tallyAge).Unix()/3600); err != nil {
				return err
			}
			return s.remove(tx, l, seq.Int64, GapAge)
		})
	}
	if err != nil {
		s.options.Log.Error("removing events by age", "file", s.path, "error", err)
	}
}

// bound removes the oldest events while the database is larger than it may be.
// The oldest are those that every sink has, if any has; what a sink did not get
// in time is counted, and reported by an event.
func (s *Store) bound() {
	for {
		if s.db == nil {
			return
		}
		used, err := s.db.usage()
		if err != nil {
			s.options.Log.Error("measuring the event store", "file", s.path, "error", err)
			return
		}
		l := s.in.ledgerCopy()
		kept := l.last - l.oldest + 1
		if used <= s.options.MaxBytes || kept <= 1 {
			return
		}
		seq := l.oldest - 1 + min(max(kept/16, 1), removeAtOnce)
		if err := s.transact(0, func(tx *sql.Tx, l *ledger) error { return s.remove(tx, l, seq, GapSize) }); err != nil {
			s.options.Log.Error("removing old events", "file", s.path, "error", err)
			return
		}
	}
}

// remove deletes every event up to seq.
func (s *Store) remove(tx *sql.Tx, l *ledger, seq int64, cause string) error {
	lost := l.forget(seq)
	for name, count := range lost {
		gap, err := s.removalGap(tx, cause, name, seq-count+1, seq, count)
		if err != nil {
			return err
		}
		if err := s.insert(tx, l, []row{gap}); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(`DELETE FROM dead WHERE last <= ?`, seq); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM events WHERE seq <= ?`, seq)
	return err
}

func (s *Store) removalGap(tx *sql.Tx, cause, sink string, first, last, count int64) (row, error) {
	// Gaps among them told the sink of more, which it would never hear of.
	var told sql.NullInt64
	err := tx.QueryRow(`SELECT sum(attributes ->> ?) FROM events WHERE name = ? AND seq BETWEEN ? AND ? AND coalesce(attributes ->> ?, ?) = ?`,
		`$."`+AttrGapCount+`"`, NameTelemetryGap, first, last, `$."`+AttrGapSink+`"`, sink, sink).Scan(&told)
	if err != nil {
		return row{}, err
	}
	attrs := map[string]any{
		AttrGapCause: cause, AttrGapCount: count + told.Int64, AttrGapSink: sink, AttrGapFirstSeq: first, AttrGapLastSeq: last,
	}
	var from, to sql.NullInt64
	err = tx.QueryRow(`SELECT min(time), max(time) FROM events WHERE seq IN (?, ?)`, first, last).Scan(&from, &to)
	if err != nil {
		return row{}, err
	}
	if from.Valid {
		attrs[AttrGapFrom], attrs[AttrGapTo] = stamp(from.Int64), stamp(to.Int64)
	}
	return s.row(&Event{Name: NameTelemetryGap, Severity: Error, Attrs: attrs})
}
