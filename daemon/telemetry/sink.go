// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"database/sql"
	"fmt"
)

// rejection is a range of events that a sink will not have. Which ones of the
// range it are is not always known.
type rejection struct {
	first, last, count int64
	reason             string
}

// activate says whether a sink wants events. A new one begins with the oldest
// event kept.
func (s *Store) activate(ctx context.Context, name string, active bool) error {
	err := s.in.do(ctx, func(_ *sql.Tx, l *ledger) error {
		known, ok := l.sinks[name]
		if !ok && !active {
			return nil
		}
		if !ok {
			known = newSink(l)
		}
		known.active = active
		l.sinks[name] = known
		return nil
	})
	if err != nil {
		return fmt.Errorf("noting that events go to %s: %w", name, err)
	}
	return nil
}

func newSink(l *ledger) sink {
	return sink{active: true, cursor: l.oldest - 1, skipped: l.last - l.kept, gone: l.last - l.oldest + 1 - l.kept}
}

// cursor returns up to which event a sink has dealt with everything.
func (s *Store) cursor(name string) int64 {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if known, ok := s.in.ledger.sinks[name]; ok {
		return known.cursor
	}
	return s.in.ledger.oldest - 1
}

// advance books that a sink dealt with everything up to to: exported
// went there, rejected did not and never will.
func (s *Store) advance(ctx context.Context, name string, to, exported int64, rejected []rejection) error {
	err := s.in.do(ctx, func(tx *sql.Tx, l *ledger) error {
		known, ok := l.sinks[name]
		if !ok {
			known = newSink(l)
		}
		// The size bound, or damage, may have taken events that were on the way, and booked them as dropped. Some of them
		// arrived after all: that is better than was said, and never counted twice.
		if to <= known.cursor {
			return nil
		}
		fresh := to - known.cursor
		if known.gone > 0 {
			var there int64
			if err := tx.QueryRow(`SELECT count(*) FROM events WHERE seq > ? AND seq <= ?`, known.cursor, to).Scan(&there); err != nil {
				return err
			}
			known.gone -= fresh - there
			fresh = there
		}
		var dead int64
		for _, r := range rejected {
			dead += r.count
			_, err := tx.Exec(`INSERT INTO dead (sink, first, last, count, time, reason) VALUES (?, ?, ?, ?, ?, ?)`,
				name, r.first, r.last, r.count, s.options.Now().UnixNano(), r.reason)
			if err != nil {
				return err
			}
		}
		dead = min(dead, fresh)
		exported = min(exported, fresh-dead)
		known.cursor = to
		known.dead += dead
		known.exported += exported
		known.dropped += fresh - dead - exported // rows that somebody removed by hand
		l.sinks[name] = known
		return s.rejectionGaps(tx, l, name, rejected)
	})
	if err != nil {
		return fmt.Errorf("noting how far %s has come: %w", name, err)
	}
	return nil
}

// rejectionGaps reports what a sink will never have. That such a report was
// rejected itself is counted, but not reported: that would go on for ever.
func (s *Store) rejectionGaps(tx *sql.Tx, l *ledger, name string, rejected []rejection) error {
	for _, r := range rejected {
		var reports int64
		err := tx.QueryRow(`SELECT count(*) FROM events WHERE seq BETWEEN ? AND ? AND name = ? AND attributes ->> ? = ?`,
			r.first, r.last, NameTelemetryGap, `$."`+AttrGapCause+`"`, GapRejected).Scan(&reports)
		if err != nil {
			return err
		}
		if reports > 0 {
			continue
		}
		gap, err := s.row(&Event{Name: NameTelemetryGap, Severity: Error, Attrs: map[string]any{
			AttrGapCause: GapRejected, AttrGapCount: r.count, AttrGapSink: name,
			AttrGapFirstSeq: r.first, AttrGapLastSeq: r.last, AttrErrorMessage: r.reason,
		}})
		if err != nil {
			return err
		}
		if err := s.insert(tx, l, []row{gap}); err != nil {
			return err
		}
	}
	return nil
}
