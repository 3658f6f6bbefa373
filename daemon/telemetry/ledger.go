// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"database/sql"
	"maps"
)

// ledger is what the store knows about its rows without looking at them. The
// writer changes a copy, writes it in the same transaction as the rows, and
// publishes it when that is committed.
type ledger struct {
	oldest  int64 // seq of the oldest row kept; last+1 if there is none
	last    int64 // highest seq ever given out
	columns int64 // rows up to this seq have their columns not filled yet
	sinks   map[string]sink
}

// sink is how far one receiver of all events has come. Each seq up to cursor is
// in exactly one of the four counts.
type sink struct {
	active   bool
	cursor   int64
	exported int64
	dead     int64
	dropped  int64
	skipped  int64
}

func (l ledger) clone() ledger {
	l.sinks = maps.Clone(l.sinks)
	return l
}

func readLedger(db *sql.DB) (ledger, error) {
	l := ledger{sinks: map[string]sink{}}
	var lo, hi sql.NullInt64
	// A damaged file is read in the version that it is of.
	columns := `0`
	var version int
	if err := db.QueryRow(`PRAGMA user_version`).Scan(&version); err != nil {
		return l, err
	}
	if version >= 2 {
		columns = `columns`
	}
	if err := db.QueryRow(`SELECT last, `+columns+` FROM ledger`).Scan(&l.last, &l.columns); err != nil {
		return l, err
	}
	// Two queries: SQLite answers each from an end of the tree, but both at once by reading every row.
	if err := db.QueryRow(`SELECT min(seq) FROM events`).Scan(&lo); err != nil {
		return l, err
	}
	if err := db.QueryRow(`SELECT max(seq) FROM events`).Scan(&hi); err != nil {
		return l, err
	}
	l.last = max(l.last, hi.Int64)
	l.oldest = l.last + 1
	if lo.Valid {
		l.oldest = lo.Int64
	}
	rows, err := db.Query(`SELECT name, active, cursor, exported, dead, dropped, skipped FROM sinks`)
	if err != nil {
		return l, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var s sink
		if err := rows.Scan(&name, &s.active, &s.cursor, &s.exported, &s.dead, &s.dropped, &s.skipped); err != nil {
			return l, err
		}
		l.sinks[name] = s
	}
	if err := rows.Err(); err != nil {
		return l, err
	}
	// Somebody may have removed rows by hand.
	l.forget(l.oldest - 1)
	return l, nil
}

// forget books that no row up to seq is there any more. It returns how many of
// them each active sink had not been given.
func (l *ledger) forget(seq int64) map[string]int64 {
	lost := map[string]int64{}
	for name, s := range l.sinks {
		n := seq - s.cursor
		if n <= 0 {
			continue
		}
		s.cursor = seq
		if s.active {
			s.dropped += n
			lost[name] = n
		} else {
			s.skipped += n
		}
		l.sinks[name] = s
	}
	l.oldest = max(l.oldest, seq+1)
	return lost
}

func (l *ledger) write(tx *sql.Tx) error {
	if _, err := tx.Exec(`UPDATE ledger SET last = ?, columns = ?`, l.last, l.columns); err != nil {
		return err
	}
	return l.writeSinks(tx)
}

func (l *ledger) writeSinks(tx *sql.Tx) error {
	for name, s := range l.sinks {
		_, err := tx.Exec(`INSERT OR REPLACE INTO sinks (name, active, cursor, exported, dead, dropped, skipped)
			VALUES (?, ?, ?, ?, ?, ?, ?)`, name, s.active, s.cursor, s.exported, s.dead, s.dropped, s.skipped)
		if err != nil {
			return err
		}
	}
	return nil
}
