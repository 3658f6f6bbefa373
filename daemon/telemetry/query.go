// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Query chooses events: those that are all of what is set. The zero value
// chooses all. Each field but the last four has an index, so that one event is
// found among a million at once; see schema2 for the attributes they stand for.
type Query struct {
	Session string   // ID of the one session wanted
	Names   []string // any of these
	ID      string   // Event.ID
	Call    string   // AttrToolCallID
	PID     int64    // AttrProcessPID; another process may have had it, see AttrProcessStart
	Command string   // AttrProcessExecutableName: the last part of the program's name
	Path    string   // AttrFilePath
	Host    string   // AttrServerAddress or AttrDNSQuestionName
	Address string   // AttrDestinationAddress
	After   int64    // Seq greater than this
	Before  int64    // Seq less than this; 0: no bound
	Limit   int      // at most so many, the oldest of them; 0: DefaultLimit, for Follow no limit
	Newest  bool     // the newest Limit instead of the oldest, in the same order; not for Follow
}

// DefaultLimit is how many events Query returns when it is not told.
const DefaultLimit = 1000

// Query returns stored events in the order in which they were recorded. What is
// recorded but not stored yet is not among them: see Flush.
func (s *Store) Query(ctx context.Context, q Query) ([]Event, error) {
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	var events []Event
	err := s.scan(ctx, q, func(e Event, _ int) bool {
		events = append(events, e)
		return true
	})
	return events, err
}

// scan calls yield with each event and the size of its attributes in the
// database, until that returns false.
func (s *Store) scan(ctx context.Context, q Query, yield func(Event, int) bool) error {
	for {
		db, err := s.reader()
		if err != nil {
			return err
		}
		yielded := false
		err = readEvents(ctx, db.read, q, func(e Event, size int) bool {
			yielded = true
			return yield(e, size)
		})
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("reading events: %w", ctx.Err())
		}
		if damaged(err) {
			if err := s.reportDamage(ctx, db, err); err != nil {
				return err
			}
		}
		// Another database since: what failed may be that the old one was closed under us.
		if now, _ := s.reader(); now == db || yielded {
			return fmt.Errorf("reading events from %s: %w", s.path, err)
		}
	}
}

// reportDamage has the writer set the database aside, unless it did already.
func (s *Store) reportDamage(ctx context.Context, db *database, cause error) error {
	return s.in.do(ctx, func(*sql.Tx, *ledger) error {
		if s.db != db {
			return nil
		}
		return cause
	})
}

func (s *Store) reader() (*database, error) {
	s.dbMu.RLock()
	defer s.dbMu.RUnlock()
	if s.db != nil {
		return s.db, nil
	}
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if s.in.broken != nil && !s.in.closed {
		return nil, fmt.Errorf("reading events from %s: %w", s.path, s.in.broken)
	}
	return nil, ErrClosed
}

func (q Query) sql() (string, []any) {
	var b strings.Builder
	b.WriteString(`SELECT seq, id, time, name, severity, session, attributes FROM events WHERE seq > ?`)
	args := []any{q.After}
	if q.Session != "" {
		// The second half only says that the partial index will do.
		b.WriteString(` AND session = ? AND session <> ''`)
		args = append(args, q.Session)
	}
	if len(q.Names) > 0 {
		b.WriteString(` AND name IN (` + placeholders(len(q.Names)) + `)`)
		for _, name := range q.Names {
			args = append(args, name)
		}
		if !slices.Contains(q.Names, NameProcessExec) && !slices.Contains(q.Names, NameProcessExit) {
			b.WriteString(` AND name NOT IN ('` + NameProcessExec + `', '` + NameProcessExit + `')`) // the same
		}
	}
	for _, c := range []struct{ column, value string }{
		{"id", q.ID}, {"call", q.Call}, {"command", q.Command}, {"path", q.Path}, {"host", q.Host}, {"address", q.Address},
	} {
		if c.value != "" {
			b.WriteString(` AND ` + c.column + ` = ?`)
			args = append(args, c.value)
		}
	}
	if q.Before != 0 {
		b.WriteString(` AND seq < ?`)
		args = append(args, q.Before)
	}
	if q.PID != 0 {
		b.WriteString(` AND pid = ?`)
		args = append(args, q.PID)
	}
	b.WriteString(` ORDER BY seq`)
	if q.Newest {
		b.WriteString(` DESC`)
	}
	b.WriteString(` LIMIT ?`)
	args = append(args, q.Limit)
	if q.Newest {
		return `SELECT * FROM (` + b.String() + `) ORDER BY seq`, args
	}
	return b.String(), args
}

func placeholders(n int) string { return `?` + strings.Repeat(`, ?`, n-1) }

func readEvents(ctx context.Context, db *sql.DB, q Query, yield func(Event, int) bool) error {
	text, args := q.sql()
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		e, size, err := scanEvent(rows)
		if err != nil {
			return err
		}
		if !yield(e, size) {
			return nil
		}
	}
	return rows.Err()
}

func scanEvent(rows *sql.Rows) (Event, int, error) {
	var e Event
	var ns int64
	var attrs sql.RawBytes
	if err := rows.Scan(&e.Seq, &e.ID, &ns, &e.Name, &e.Severity, &e.Session, &attrs); err != nil {
		return e, 0, err
	}
	e.Time = time.Unix(0, ns).UTC()
	var err error
	if e.Attrs, err = parseAttrs(attrs); err != nil {
		return e, 0, fmt.Errorf("%w: event %d: %w", errDamaged, e.Seq, err)
	}
	return e, len(attrs), nil
}

// followPage is how many events Follow reads at a time, so that a reader who is
// slow holds no snapshot of the database.
const followPage = 256

// Follow returns the events Query would, page by page, and then each new one as
// it is stored. It ends with ctx, without an error; with ErrClosed when the
// store closes; after q.Limit events, if that is set. If events after q.After
// (when that is not 0) were removed before they could be read, an event
// NameTelemetryGap with Seq 0 says so.
func (s *Store) Follow(ctx context.Context, q Query) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := follower{store: s, query: q, left: q.Limit, begun: q.After > 0}
		f.query.Newest = false
		for ctx.Err() == nil {
			// Looked at before reading, so that a commit in between is not missed.
			_, last, changed, _ := s.in.watch()
			page, err := f.page(ctx, last)
			if err != nil {
				if ctx.Err() == nil {
					yield(Event{}, err)
				}
				return
			}
			for _, e := range page.events {
				if !yield(e, nil) {
					return
				}
			}
			if f.ended {
				return
			}
			if page.full {
				continue
			}
			// Everything up to last was looked at, wanted or not.
			f.query.After = max(f.query.After, last)
			select {
			case <-changed:
			case <-ctx.Done():
			case <-s.done:
				yield(Event{}, ErrClosed)
				return
			}
		}
	}
}

type follower struct {
	store *Store
	query Query
	left  int  // events still wanted; 0: no limit
	begun bool // what was removed before that was not missed, but is history
	ended bool // as many as wanted were read
}

type followed struct {
	events []Event
	full   bool // there may be more already
}

// page reads the next events, of which last is the newest that is stored, a gap before them if some are gone.
func (f *follower) page(ctx context.Context, last int64) (followed, error) {
	q := f.query
	q.Limit = followPage
	if f.left > 0 {
		q.Limit = min(f.left, followPage)
	}
	events, err := f.store.Query(ctx, q)
	if err != nil {
		return followed{}, err
	}
	out := followed{events: events, full: len(events) == q.Limit}
	gone := going{}
	if f.begun {
		seen := last
		if out.full {
			seen = events[len(events)-1].Seq
		}
		if gone, err = f.store.missing(ctx, f.query, seen, events); err != nil {
			return followed{}, err
		}
	}
	if len(events) > 0 {
		f.query.After = events[len(events)-1].Seq
	}
	if f.left > 0 {
		f.left -= len(events)
		f.ended = f.left == 0
	}
	if gone.count > 0 {
		out.events = append([]Event{overrun(gone, f.store.options.Now())}, events...)
	}
	f.begun = true
	return out, nil
}

// missing says how many events up to one number were removed before they could be read, and between which they are. Where only
// some are wanted, nobody knows what the others were: all are counted.
func (s *Store) missing(ctx context.Context, q Query, to int64, read []Event) (going, error) {
	// Looked at after reading: what was removed while somebody read is missed as well.
	if s.in.ledgerCopy().trimmed <= q.After || to <= q.After {
		return going{}, nil
	}
	if q.all() {
		return between(q.After, to, read), nil
	}
	db, err := s.reader()
	if err != nil {
		return going{}, err
	}
	var there int64
	if err := db.read.QueryRowContext(ctx, `SELECT count(*) FROM events WHERE seq > ? AND seq <= ?`, q.After, to).Scan(&there); err != nil {
		return going{}, fmt.Errorf("reading events from %s: %w", s.path, err)
	}
	return going{count: to - q.After - there, first: q.After + 1, last: to}, nil
}

// between finds the holes between events.
func between(after, to int64, events []Event) going {
	var gone going
	hole := func(next int64) {
		if next > after+1 {
			if gone.count == 0 {
				gone.first = after + 1
			}
			gone.count += next - after - 1
			gone.last = next - 1
		}
		after = next
	}
	for i := range events {
		hole(events[i].Seq)
	}
	hole(max(after, to) + 1)
	return gone
}

// all says whether every event is wanted.
func (q Query) all() bool {
	q.After, q.Before, q.Limit, q.Newest = 0, 0, 0, false
	return reflect.DeepEqual(q, Query{})
}

func overrun(gone going, now time.Time) Event {
	return Event{Time: now.UTC(), Name: NameTelemetryGap, Severity: Warn, Attrs: map[string]any{
		AttrGapCause: GapOverrun, AttrGapCount: gone.count, AttrGapFirstSeq: gone.first, AttrGapLastSeq: gone.last,
	}}
}
