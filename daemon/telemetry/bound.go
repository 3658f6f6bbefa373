// SPDX-License-Identifier: Apache-2.0

package telemetry

import "database/sql"

// removeAtOnce is how many events go in one transaction: recording must not
// wait for long.
const removeAtOnce = 4096

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
		if err := s.transact(0, func(tx *sql.Tx, l *ledger) error { return s.remove(tx, l, seq) }); err != nil {
			s.options.Log.Error("removing old events", "file", s.path, "error", err)
			return
		}
	}
}

// remove deletes every event up to seq.
func (s *Store) remove(tx *sql.Tx, l *ledger, seq int64) error {
	lost := l.forget(seq)
	for name, count := range lost {
		gap, err := s.removalGap(tx, name, seq-count+1, seq, count)
		if err != nil {
			return err
		}
		if err := insert(tx, l, []row{gap}); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(`DELETE FROM dead WHERE last <= ?`, seq); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM events WHERE seq <= ?`, seq)
	return err
}

func (s *Store) removalGap(tx *sql.Tx, sink string, first, last, count int64) (row, error) {
	attrs := map[string]any{
		AttrGapCause: GapSize, AttrGapCount: count, AttrGapSink: sink, AttrGapFirstSeq: first, AttrGapLastSeq: last,
	}
	var from, to sql.NullInt64
	err := tx.QueryRow(`SELECT min(time), max(time) FROM events WHERE seq IN (?, ?)`, first, last).Scan(&from, &to)
	if err != nil {
		return row{}, err
	}
	if from.Valid {
		attrs[AttrGapFrom], attrs[AttrGapTo] = stamp(from.Int64), stamp(to.Int64)
	}
	return s.row(&Event{Name: NameTelemetryGap, Severity: Error, Attrs: attrs})
}
