// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// keepDamaged is how many damaged databases stay for somebody to look at. On a
// failing disk they would fill it otherwise.
const keepDamaged = 2

// replace sets a damaged database aside and puts another in its place, with the
// newest events of the old one, as far back as they can be read. An event tells
// what is missing.
func (s *Store) replace(cause error) error {
	s.options.Log.Error("the event store is damaged: it is set aside", "file", s.path, "error", cause)
	s.disconnect()
	fresh := s.path + freshSuffix
	if err := removeDatabase(fresh); err != nil {
		return fmt.Errorf("removing an unfinished event store: %w", err)
	}
	aside := s.asidePath()
	if err := s.fill(fresh, aside, cause); err != nil {
		return fmt.Errorf("filling a new event store in place of a damaged one: %w", err)
	}
	if err := s.setAside(aside); err != nil {
		return fmt.Errorf("setting the damaged event store %s aside: %w", s.path, err)
	}
	if err := os.Rename(fresh, s.path); err != nil {
		return fmt.Errorf("putting a new event store in place of a damaged one: %w", err)
	}
	db, l, err := openFile(s.path)
	if err != nil {
		return fmt.Errorf("opening the new event store in place of a damaged one: %w", err)
	}
	s.use(db, l)
	s.in.publish(l, 1, 0)
	return nil
}

// fill makes the database fresh, complete and closed.
func (s *Store) fill(fresh, aside string, cause error) error {
	db, _, err := openFile(fresh)
	if err != nil {
		return err
	}
	defer db.close()
	l, count, err := s.salvage(db.write, s.in.ledgerCopy())
	if err != nil {
		return err
	}
	s.shares.reset() // it was of the other database
	return inTransaction(db.write, func(tx *sql.Tx) error {
		gap, err := s.damageGap(aside, count, cause)
		if err != nil {
			return err
		}
		if err := s.insert(tx, &l, []row{gap}); err != nil {
			return err
		}
		if err := s.shares.write(tx); err != nil {
			return err
		}
		return l.write(tx)
	})
}

// freshSuffix marks a database that is being filled. Only when it is complete is
// the damaged one moved away: with no other beside it, it is whole.
const freshSuffix = ".new"

// finishReplacing does what a crash may have left undone.
func finishReplacing(path string) error {
	fresh := path + freshSuffix
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		err := os.Rename(fresh, path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return removeDatabase(fresh)
}

func removeDatabase(path string) error {
	for _, suffix := range parts {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// parts are the files of a database. The log comes first: a database without it
// is an older one, but a log without its database is nothing.
var parts = [...]string{"-wal", "-shm", ""}

// unknown is a number of missing events that nobody can tell.
const unknown = -1

func (s *Store) damageGap(aside string, count int64, cause error) (row, error) {
	attrs := map[string]any{AttrGapCause: GapDamage, AttrErrorMessage: cause.Error()}
	if count != unknown {
		attrs[AttrGapCount] = count
	}
	if _, err := os.Lstat(s.path); err == nil {
		attrs[AttrGapFile] = aside
	}
	return s.row(&Event{Name: NameTelemetryGap, Severity: Error, Attrs: attrs})
}

func (s *Store) asidePath() string {
	at := s.options.Now().UTC().Format("20060102T150405.000000000Z")
	return filepath.Join(filepath.Dir(s.path), "damaged-"+at+".db")
}

// setAside renames the database and what belongs to it, if it is there.
func (s *Store) setAside(aside string) error {
	for _, suffix := range parts {
		if err := os.Rename(s.path+suffix, aside+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	names, err := filepath.Glob(filepath.Join(filepath.Dir(s.path), "damaged-*.db"))
	if err != nil {
		return err
	}
	if len(names) <= keepDamaged {
		return nil
	}
	slices.Sort(names) // by time, as they are called
	for _, name := range names[:len(names)-keepDamaged] {
		s.options.Log.Warn("removing a damaged event store from before", "file", name)
		if err := removeDatabase(name); err != nil {
			return err
		}
	}
	return nil
}

// salvage copies from the newest event back to where reading fails, so that
// what is kept is most likely what no sink has yet. It returns
// the ledger of the new database and how many events are missing.
func (s *Store) salvage(to *sql.DB, known ledger) (ledger, int64, error) {
	l := known
	exact := known.sinks != nil // else it was damaged when we opened it, and we know nothing of it
	if !exact {
		l = ledger{oldest: 1, sinks: map[string]sink{}}
	}
	var kept int64 // seq of the oldest copied
	// Not if it is missing: SQLite would make one.
	if _, err := os.Stat(s.path); err == nil {
		old, err := openDatabase(s.path, false)
		if err == nil {
			defer old.Close()
			if read, err := readLedger(old); err == nil && read.last >= l.last {
				l, exact = read, true
			}
			var newest int64
			if newest, kept, err = s.copyEvents(old, to); err != nil {
				return l, 0, err
			}
			if newest > l.last {
				l.kept += newest - l.last
				l.last = newest
			}
			if err := copyTallies(old, to); err != nil {
				return l, 0, err
			}
		}
	}
	if kept == 0 {
		kept = l.last + 1
	}
	before := l.kept
	l.oldest, l.columns = kept, 0
	if err := l.recount(to); err != nil {
		return l, 0, err
	}
	if !exact {
		return l, unknown, nil
	}
	return l, before - l.kept, nil
}

func readable(attrs string) (map[string]any, bool) {
	parsed, err := parseAttrs([]byte(attrs))
	return parsed, err == nil
}

// copyEvents copies until reading fails, and returns the newest and the oldest
// seq copied. Only a failure to write is an error.
func (s *Store) copyEvents(from, to *sql.DB) (newest, oldest int64, err error) {
	rows, err := from.Query(`SELECT seq, id, time, name, severity, session, attributes FROM events ORDER BY seq DESC`)
	if err != nil {
		return 0, 0, nil // nothing can be read: that is what the caller is told
	}
	defer rows.Close()
	for more := true; more; {
		err = inTransaction(to, func(tx *sql.Tx) error {
			for range maxBatch {
				if more = rows.Next(); !more {
					return nil
				}
				var e Event
				var ns int64
				var attrs string
				if more = rows.Scan(&e.Seq, &e.ID, &ns, &e.Name, &e.Severity, &e.Session, &attrs) == nil; !more {
					return nil
				}
				// Text that is damaged without SQLite seeing it must not stop a reader later.
				parsed, ok := readable(attrs)
				if !ok || !plausible(e) || newest != 0 && e.Seq >= oldest {
					more = false
					return nil
				}
				r := kept(&e, ns, attrs, columnsOf(parsed))
				if err := insertAt(tx, e.Seq, &r); err != nil {
					return err
				}
				oldest = e.Seq
				newest = max(newest, e.Seq)
			}
			return nil
		})
		if err != nil {
			return 0, 0, err
		}
	}
	return newest, oldest, nil
}

// copyTallies copies what was counted, as far as it can be read. Only a failure
// to write is an error.
func copyTallies(from, to *sql.DB) error {
	rows, err := from.Query(`SELECT hour, name, attributes, count, sum FROM tallies`)
	if err != nil {
		return nil // they are gone: nobody can be told how much was in them
	}
	defer rows.Close()
	return inTransaction(to, func(tx *sql.Tx) error {
		var hour, count, sum int64
		var name, attrs string
		for rows.Next() && rows.Scan(&hour, &name, &attrs, &count, &sum) == nil {
			if _, ok := readable(attrs); !ok {
				continue
			}
			_, err := tx.Exec(`INSERT OR IGNORE INTO tallies (hour, name, attributes, count, sum) VALUES (?, ?, ?, ?, ?)`,
				hour, name, attrs, count, sum)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func plausible(e Event) bool {
	return e.Seq > 0 && e.ID != "" && e.Severity.check() == nil && strings.ToValidUTF8(e.Name+e.Session, "") == e.Name+e.Session
}
