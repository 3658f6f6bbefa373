// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"database/sql"
	"errors"
	"fmt"
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
			return s.remove(tx, l, GapAge, func() (flooder, error) { return flooder{}, s.choose(tx, `seq <= ?`, seq.Int64) })
		})
	}
	if err != nil {
		s.options.Log.Error("removing events by age", "file", s.path, "error", err)
	}
}

// bound removes events while the database is larger than it may be.
//
// A session that takes up more than a sixteenth of it loses its own, whoever's turn it would be by age: of what it has most of,
// the oldest but for the first few, and what is routine long before what is not. Nobody can push out another's by volume, nor
// his own deeds by repeating something else. When nobody takes up that much the oldest routine events go, and when there are
// few of those the oldest events. The oldest are those that every sink has, if any has; what a sink did not get in time is
// counted, and reported by an event.
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
		if used <= s.options.MaxBytes || l.kept <= 1 {
			return
		}
		n := min(max(l.kept/16, 1), removeAtOnce)
		err = s.transact(0, func(tx *sql.Tx, l *ledger) error {
			return s.remove(tx, l, GapSize, func() (flooder, error) { return s.victims(tx, n) })
		})
		if err != nil {
			s.options.Log.Error("removing old events", "file", s.path, "error", err)
			return
		}
	}
}

const (
	maxShare       = 16 // a session that has more than one part in so many of the whole store loses its own events first
	otherWeighs    = 2  // other events than routine ones weigh one part in so many, when it is measured who has how much
	routineGoes    = 4  // so many times earlier, when it is chosen what of a session goes
	fewRoutineEach = 4  // one part in so many of the store is few
)

// flooder is a session that has too much.
type flooder struct {
	found   bool
	session string // "": the events of none
}

// victims marks n events to be removed, or less.
func (s *Store) victims(tx *sql.Tx, n int64) (flooder, error) {
	var nobody flooder
	var session sql.NullString
	var weight, routineBytes int64
	err := tx.QueryRow(`SELECT session, sum(CASE routine WHEN 1 THEN bytes ELSE bytes / ? END) AS weight FROM shares
		GROUP BY session ORDER BY weight DESC LIMIT 1`, otherWeighs).Scan(&session, &weight)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nobody, err
	}
	if weight > s.options.MaxBytes/maxShare {
		marked, err := s.largest(tx, session.String, n)
		if err != nil || marked > 0 {
			return flooder{true, session.String}, err
		}
	}
	if err := tx.QueryRow(`SELECT coalesce(sum(bytes), 0) FROM shares WHERE routine = 1`).Scan(&routineBytes); err != nil {
		return nobody, err
	}
	if routineBytes > s.options.MaxBytes/fewRoutineEach {
		if err := s.choose(tx, routineSQL+` AND seq > ? ORDER BY seq LIMIT ?`, s.swept, n); err != nil {
			return nobody, err
		}
		found, last, err := marked(tx)
		if err != nil {
			return nobody, err
		}
		if found > 0 {
			s.swept = last
			return nobody, nil
		}
		s.swept = 0
	}
	return nobody, s.choose(tx, `true ORDER BY seq LIMIT ?`, n)
}

// much are the kinds of a session that have at least half of what the one with the most has, and more than stays.
var much = fmt.Sprintf(`session = ?1 AND count > %d AND %s >= (SELECT max(%[2]s) / 2 FROM shares WHERE session = ?1 AND count > %[1]d)`, keptOfAKind, goesBy)

// goesBy is by what it is chosen what of a session goes.
var goesBy = fmt.Sprintf(`bytes * CASE routine WHEN 1 THEN %d ELSE 1 END`, routineGoes)

// largest marks n events of a session, the oldest of what it has most of but for the first of each kind.
func (s *Store) largest(tx *sql.Tx, session string, n int64) (int64, error) {
	// The index of sessions has those that have a name. Events are read in their order once, whatever kinds take turns.
	named := ``
	if session != "" {
		named = ` AND e.session <> ''`
	}
	_, err := tx.Exec(`INSERT INTO temp.going WITH much AS MATERIALIZED (SELECT id, max(head, gone) AS after FROM shares WHERE `+much+`)
		SELECT e.seq FROM main.events AS e CROSS JOIN much ON much.id = e.share WHERE e.session = ?1`+named+`
		AND e.seq > (SELECT min(after) FROM much) AND e.seq > after ORDER BY e.seq LIMIT ?2`, session, n)
	if err != nil {
		return 0, err
	}
	found, last, err := marked(tx)
	if err != nil {
		return 0, err
	}
	if found == 0 {
		return s.heads(tx, session, n)
	}
	_, err = tx.Exec(`UPDATE shares SET gone = max(gone, ?2) WHERE `+much, session, last)
	return found, err
}

// heads marks events of a session that fills its part with the first of each kind, which are large then.
func (s *Store) heads(tx *sql.Tx, session string, n int64) (int64, error) {
	var share sql.NullInt64
	err := tx.QueryRow(`SELECT id FROM shares WHERE session = ? ORDER BY `+goesBy+` DESC LIMIT 1`, session).Scan(&share)
	if err != nil {
		return 0, err
	}
	if err := s.choose(tx, `session = ? AND share = ? ORDER BY seq LIMIT ?`, session, share, n); err != nil {
		return 0, err
	}
	count, _, err := marked(tx)
	return count, err
}

// marked says how many events are to be removed, and which is the last.
func marked(tx *sql.Tx) (n, last int64, err error) {
	err = tx.QueryRow(`SELECT count(*), coalesce(max(seq), 0) FROM temp.going`).Scan(&n, &last)
	return n, last, err
}

// choose marks events to be removed.
func (s *Store) choose(tx *sql.Tx, where string, args ...any) error {
	_, err := tx.Exec(`INSERT OR IGNORE INTO temp.going SELECT seq FROM main.events WHERE `+where, args...)
	return err
}

// remove deletes the events that choose marks.
func (s *Store) remove(tx *sql.Tx, l *ledger, cause string, choose func() (flooder, error)) error {
	if _, err := tx.Exec(`CREATE TEMP TABLE IF NOT EXISTS going (seq INTEGER PRIMARY KEY); DELETE FROM temp.going`); err != nil {
		return err
	}
	by, err := choose()
	if err != nil {
		return err
	}
	var gaps []row
	if by.found {
		gap, err := s.floodGap(tx, by.session)
		if err != nil {
			return err
		}
		gaps = append(gaps, gap)
	}
	for name, sink := range l.sinks {
		lost, err := countGoing(tx, sink.cursor)
		if err != nil {
			return err
		}
		if lost.count == 0 {
			continue
		}
		sink.lose(lost.count)
		l.sinks[name] = sink
		if !sink.active {
			continue
		}
		gap, err := s.removalGap(tx, cause, name, sink.cursor, lost)
		if err != nil {
			return err
		}
		gaps = append(gaps, gap)
	}
	if err := s.deleteGoing(tx, l); err != nil {
		return err
	}
	return s.insert(tx, l, gaps)
}

// deleteGoing deletes what is marked, and books it.
func (s *Store) deleteGoing(tx *sql.Tx, l *ledger) error {
	_, err := tx.Exec(`UPDATE shares SET count = count - less.n, bytes = bytes - less.size FROM (
			SELECT share, count(*) AS n, sum(octet_length(attributes) + octet_length(name) + octet_length(session) + ?) AS size
			FROM temp.going JOIN main.events USING (seq) WHERE share IS NOT NULL GROUP BY share) AS less WHERE id = less.share`, rowOverhead)
	if err != nil {
		return err
	}
	s.shares.reset() // some may be gone
	if _, err := tx.Exec(`DELETE FROM shares WHERE count <= 0`); err != nil {
		return err
	}
	deleted, err := tx.Exec(`DELETE FROM main.events WHERE seq IN (SELECT seq FROM temp.going)`)
	if err != nil {
		return err
	}
	n, err := deleted.RowsAffected()
	if err != nil {
		return err
	}
	l.kept -= n
	_, last, err := marked(tx)
	if err != nil {
		return err
	}
	l.trimmed = max(l.trimmed, last)
	var oldest sql.NullInt64
	if err := tx.QueryRow(`SELECT min(seq) FROM main.events`).Scan(&oldest); err != nil {
		return err
	}
	l.oldest = l.last + 1
	if oldest.Valid {
		l.oldest = oldest.Int64
	}
	_, err = tx.Exec(`DELETE FROM dead WHERE last < ?`, l.oldest)
	return err
}

// going is what is marked, behind a number.
type going struct {
	count       int64
	first, last int64
	from, to    int64 // times
}

func countGoing(tx *sql.Tx, after int64) (going, error) {
	var g going
	err := tx.QueryRow(`SELECT count(*), coalesce(min(seq), 0), coalesce(max(seq), 0) FROM temp.going WHERE seq > ?`, after).Scan(&g.count, &g.first, &g.last)
	if err != nil || g.count == 0 {
		return g, err
	}
	err = tx.QueryRow(`SELECT min(time), max(time) FROM main.events WHERE seq IN (?, ?)`, g.first, g.last).Scan(&g.from, &g.to)
	return g, err
}

// floodGap tells of what a session loses for having too much. It replaces what told so before: there is one for each session.
func (s *Store) floodGap(tx *sql.Tx, session string) (row, error) {
	g, err := countGoing(tx, 0)
	if err != nil {
		return row{}, err
	}
	var before, told int64
	var first int64
	var from string
	err = tx.QueryRow(`SELECT seq, attributes ->> ?, attributes ->> ?, attributes ->> ? FROM main.events WHERE name = ? AND session = ? AND attributes ->> ? = ?
		AND `+notCrowded+` ORDER BY seq DESC LIMIT 1`, quoted(AttrGapCount), quoted(AttrGapFirstSeq), quoted(AttrGapFrom),
		NameTelemetryGap, session, quoted(AttrGapCause), GapFlood).Scan(&before, &told, &first, &from)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return row{}, err
	}
	attrs := map[string]any{
		AttrGapCause: GapFlood, AttrGapCount: g.count + told, AttrGapFirstSeq: g.first, AttrGapLastSeq: g.last,
		AttrGapFrom: stamp(g.from), AttrGapTo: stamp(g.to),
	}
	if before != 0 {
		attrs[AttrGapFirstSeq] = min(first, g.first)
		attrs[AttrGapFrom] = min(from, stamp(g.from))
		if err := s.choose(tx, `seq = ?`, before); err != nil {
			return row{}, err
		}
	}
	gap, err := s.row(&Event{Name: NameTelemetryGap, Severity: Warn, Session: session, Attrs: attrs})
	gap.nobodys = true // else it could be what is removed next
	return gap, err
}

// notCrowded says that the index of names will do.
const notCrowded = `name NOT IN ('` + NameProcessExec + `', '` + NameProcessExit + `')`

func quoted(attr string) string { return `$."` + attr + `"` }

func (s *Store) removalGap(tx *sql.Tx, cause, sink string, after int64, lost going) (row, error) {
	// Gaps among them told the sink of more, which it would never hear of.
	var told sql.NullInt64
	err := tx.QueryRow(`SELECT sum(attributes ->> ?) FROM temp.going JOIN main.events USING (seq)
		WHERE name = ? AND seq > ? AND coalesce(attributes ->> ?, ?) = ? AND attributes ->> ? <> ?`,
		quoted(AttrGapCount), NameTelemetryGap, after, quoted(AttrGapSink), sink, sink, quoted(AttrGapCause), GapFlood).Scan(&told)
	if err != nil {
		return row{}, err
	}
	return s.row(&Event{Name: NameTelemetryGap, Severity: Error, Attrs: map[string]any{
		AttrGapCause: cause, AttrGapCount: lost.count + told.Int64, AttrGapSink: sink, AttrGapFirstSeq: lost.first, AttrGapLastSeq: lost.last,
		AttrGapFrom: stamp(lost.from), AttrGapTo: stamp(lost.to),
	}})
}
