// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"database/sql"
)

// backfillAtOnce is how many rows of an older version get their columns in one
// transaction: recording must not wait for long.
const backfillAtOnce = 512

// backfill fills the columns of events that an earlier version stored, from the
// newest on, while the store is at work. What it did so far is in the ledger: it
// goes on there after a restart.
func (s *Store) backfill() {
	defer close(s.filled)
	for {
		left := false
		err := s.in.do(context.Background(), func(tx *sql.Tx, l *ledger) error {
			if l.columns < l.oldest {
				l.columns = 0
				return nil
			}
			left = true
			return fillColumns(tx, l)
		})
		if err != nil || !left {
			if err != nil && !s.in.isClosed() {
				s.options.Log.Error("indexing the events of an earlier version; the next start tries again", "file", s.path, "error", err)
			}
			return
		}
	}
}

func fillColumns(tx *sql.Tx, l *ledger) error {
	first := max(l.columns-backfillAtOnce+1, l.oldest)
	rows, err := tx.Query(`SELECT seq, attributes FROM events WHERE seq BETWEEN ? AND ?`, first, l.columns)
	if err != nil {
		return err
	}
	defer rows.Close()
	found := map[int64]columns{}
	for rows.Next() {
		var seq int64
		var text sql.RawBytes
		if err := rows.Scan(&seq, &text); err != nil {
			return err
		}
		attrs, err := parseAttrs(text)
		if err != nil {
			continue // found, and dealt with, by whoever reads it
		}
		if c := columnsOf(attrs); c != (columns{}) {
			found[seq] = c
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for seq, c := range found {
		_, err := tx.Exec(`UPDATE events SET call = ?, pid = ?, command = ?, path = ?, host = ?, address = ? WHERE seq = ?`,
			append(c.values(), seq)...)
		if err != nil {
			return err
		}
	}
	l.columns = first - 1
	return nil
}
