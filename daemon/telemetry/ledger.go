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
	kept    int64 // rows that are there
	columns int64 // rows up to this seq have their columns not filled yet
	sinks   map[string]sink

	trimmed int64 // since the store was opened, the highest seq removed. Not in the database
}

// sink is how far one receiver of all events has come. Each seq up to cursor is
// in exactly one of the four counts, and so are those behind it that are gone.
type sink struct {
	active   bool
	cursor   int64
	exported int64
	dead     int64
	dropped  int64
	skipped  int64
	gone     int64 // behind cursor, in dropped or skipped
}

func (l ledger) clone() ledger {
	l.sinks = maps.Clone(l.sinks)
	return l
}

func readLedger(db *sql.DB) (ledger, error) {
	l := ledger{sinks: map[string]sink{}}
	var lo, hi sql.NullInt64
	// A damaged file is read in the version that it is of.
	columns, kept, gone := `0`, `-1`, `0`
	var version int
	if err := db.QueryRow(`PRAGMA user_version`).Scan(&version); err != nil {
		return l, err
	}
	if version >= 2 {
		columns = `columns`
	}
	if version >= 3 {
		kept, gone = `kept`, `gone`
	}
	if err := db.QueryRow(`SELECT last, `+columns+`, `+kept+` FROM ledger`).Scan(&l.last, &l.columns, &l.kept); err != nil {
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
	rows, err := db.Query(`SELECT name, active, cursor, exported, dead, dropped, skipped, ` + gone + ` FROM sinks`)
	if err != nil {
		return l, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var s sink
		if err := rows.Scan(&name, &s.active, &s.cursor, &s.exported, &s.dead, &s.dropped, &s.skipped, &s.gone); err != nil {
			return l, err
		}
		l.sinks[name] = s
	}
	if err := rows.Err(); err != nil {
		return l, err
	}
	// Somebody may have removed rows by hand.
	room := l.last - l.oldest + 1
	if l.kept < 0 {
		l.kept = room // nothing but the oldest was ever removed
		for name, s := range l.sinks {
			s.lose(max(l.oldest-1-s.cursor, 0))
			l.sinks[name] = s
		}
	}
	if l.kept > room {
		return l, l.recount(db)
	}
	return l, nil
}

// querier is a database or a transaction.
type querier interface {
	QueryRow(query string, args ...any) *sql.Row
}

// recount finds out by counting what is there, and books what is not.
func (l *ledger) recount(db querier) error {
	if err := db.QueryRow(`SELECT count(*) FROM events`).Scan(&l.kept); err != nil {
		return err
	}
	for name, s := range l.sinks {
		var there int64
		if err := db.QueryRow(`SELECT count(*) FROM events WHERE seq > ?`, s.cursor).Scan(&there); err != nil {
			return err
		}
		s.lose(l.last - s.cursor - s.gone - there)
		l.sinks[name] = s
	}
	return nil
}

// lose books that n rows behind the cursor are there no more.
func (s *sink) lose(n int64) {
	s.gone += n
	if s.active {
		s.dropped += n
	} else {
		s.skipped += n
	}
}

func (l *ledger) write(tx *sql.Tx) error {
	if _, err := tx.Exec(`UPDATE ledger SET last = ?, columns = ?, kept = ?`, l.last, l.columns, l.kept); err != nil {
		return err
	}
	return l.writeSinks(tx)
}

func (l *ledger) writeSinks(tx *sql.Tx) error {
	for name, s := range l.sinks {
		_, err := tx.Exec(`INSERT OR REPLACE INTO sinks (name, active, cursor, exported, dead, dropped, skipped, gone)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, name, s.active, s.cursor, s.exported, s.dead, s.dropped, s.skipped, s.gone)
		if err != nil {
			return err
		}
	}
	return nil
}
