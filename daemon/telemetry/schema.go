// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// steps make a database of one version one of the next: the first one makes
// version 1 out of an empty file. A step is never changed once it was released.
// The version of a file is its user_version; a newer one is refused: it is not
// damage, and writing into it would be.
var steps = []string{schema1, schema2, schema3}

// sequence numbers are given out by the writer, without holes. ledger holds the
// last one given out, which outlives its row.
const schema1 = `
CREATE TABLE events (
	seq        INTEGER PRIMARY KEY,
	id         TEXT    NOT NULL,            -- ULID
	time       INTEGER NOT NULL,            -- nanoseconds since 1970, UTC
	name       TEXT    NOT NULL,
	severity   INTEGER NOT NULL,            -- 9 info, 13 warn, 17 error
	session    TEXT    NOT NULL,            -- empty: none
	attributes TEXT    NOT NULL             -- JSON object
) STRICT;
CREATE INDEX events_session ON events (session, seq) WHERE session <> '';
CREATE INDEX events_name ON events (name, seq);
CREATE TABLE ledger (
	one  INTEGER PRIMARY KEY CHECK (one = 1),
	last INTEGER NOT NULL                   -- highest seq ever given out
) STRICT;
INSERT INTO ledger VALUES (1, 0);
CREATE TABLE sinks (
	name     TEXT    PRIMARY KEY,
	active   INTEGER NOT NULL,              -- 1: what is removed before it got it is a loss
	cursor   INTEGER NOT NULL,              -- everything up to this seq is dealt with
	exported INTEGER NOT NULL,
	dead     INTEGER NOT NULL,
	dropped  INTEGER NOT NULL,
	skipped  INTEGER NOT NULL
) STRICT;
CREATE TABLE dead (
	sink    TEXT    NOT NULL,
	first   INTEGER NOT NULL,               -- seq
	last    INTEGER NOT NULL,               -- seq
	count   INTEGER NOT NULL,               -- rejected between the two, inclusive
	time    INTEGER NOT NULL,               -- of the rejection, nanoseconds since 1970
	reason  TEXT    NOT NULL
) STRICT;
`

// Version 2 finds events by what they are about. The columns repeat attributes,
// are filled when an event is stored, and are NULL where it has none: an index
// costs only what is in it. Rows from before are filled by Store.backfill, from
// the newest on, down to ledger.columns.
//
// The index of names leaves out the two that make up nearly all of a busy store:
// who looks for those finds them anywhere.
const schema2 = `
ALTER TABLE events ADD COLUMN call    TEXT;    -- paddock.tool_call.id
ALTER TABLE events ADD COLUMN pid     INTEGER; -- process.pid
ALTER TABLE events ADD COLUMN command TEXT;    -- process.executable.name
ALTER TABLE events ADD COLUMN path    TEXT;    -- file.path
ALTER TABLE events ADD COLUMN host    TEXT;    -- server.address or dns.question.name
ALTER TABLE events ADD COLUMN address TEXT;    -- destination.address
ALTER TABLE ledger ADD COLUMN columns INTEGER NOT NULL DEFAULT 0; -- rows up to this seq have none of these filled
UPDATE ledger SET columns = (SELECT coalesce(max(seq), 0) FROM events);
CREATE INDEX events_id      ON events (id);
CREATE INDEX events_call    ON events (call, seq)    WHERE call IS NOT NULL;
CREATE INDEX events_pid     ON events (pid, seq)     WHERE pid IS NOT NULL;
CREATE INDEX events_command ON events (command, seq) WHERE command IS NOT NULL;
CREATE INDEX events_path    ON events (path, seq)    WHERE path IS NOT NULL;
CREATE INDEX events_host    ON events (host, seq)    WHERE host IS NOT NULL;
CREATE INDEX events_address ON events (address, seq) WHERE address IS NOT NULL;
DROP INDEX events_name;
CREATE INDEX events_name    ON events (name, seq)    WHERE name NOT IN ('paddock.process.exec', 'paddock.process.exit');
CREATE TABLE tallies (                      -- events of an hour, kept when the events are gone
	hour       INTEGER NOT NULL,            -- since 1970
	name       TEXT    NOT NULL,            -- of the events
	attributes TEXT    NOT NULL,            -- JSON object: those that Kind.Tally names
	count      INTEGER NOT NULL,
	sum        INTEGER NOT NULL,            -- of the attribute that Kind.Sum names
	PRIMARY KEY (hour, name, attributes)
) STRICT, WITHOUT ROWID;
`

// Version 3 knows how much of the store each session takes up, so that one of
// them cannot push out the others: see Store.bound. Rows from before are nobody's.
const schema3 = `
CREATE TABLE shares (                       -- events of one session that are alike
	id      INTEGER PRIMARY KEY,
	session TEXT    NOT NULL,
	routine INTEGER NOT NULL,               -- 1: of those that go first
	kind    TEXT    NOT NULL,
	total   INTEGER NOT NULL,               -- ever
	count   INTEGER NOT NULL,               -- kept
	bytes   INTEGER NOT NULL,               -- of those, about
	head    INTEGER NOT NULL,               -- up to this seq they stay
	gone    INTEGER NOT NULL                -- between the two they were removed
) STRICT;
CREATE INDEX shares_session ON shares (session);
ALTER TABLE events ADD COLUMN share INTEGER;               -- NULL: of an earlier version
ALTER TABLE ledger ADD COLUMN kept  INTEGER NOT NULL DEFAULT 0;
UPDATE ledger SET kept = (SELECT count(*) FROM events);
ALTER TABLE sinks  ADD COLUMN gone  INTEGER NOT NULL DEFAULT 0; -- behind cursor, dropped or skipped already
`

// openDatabase opens the file at path, which exists (maybe empty), for the one
// writer or for readers.
func openDatabase(path string, write bool) (*sql.DB, error) {
	pragmas := []string{"busy_timeout(10000)"}
	if write {
		// FULL: a commit that returned survives a power cut, not only a crash.
		pragmas = append(pragmas, "journal_mode(WAL)", "synchronous(FULL)", "journal_size_limit(33554432)", "cache_size(-8192)", "temp_store(2)")
	} else {
		pragmas = append(pragmas, "query_only(1)")
	}
	query := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
	if !write {
		query.Set("_txlock", "deferred")
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	if write {
		db.SetMaxOpenConns(1)
	} else {
		db.SetMaxOpenConns(8)
		db.SetMaxIdleConns(2)
	}
	if err := db.Ping(); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// errNewer is a database of a later Paddock.
var errNewer = errors.New("written by a newer version of Paddock: install that one, or move the file away")

// prepareSchema makes the tables in an empty file, and brings any other to the
// version we know.
func prepareSchema(db *sql.DB) error {
	var version int
	if err := db.QueryRow(`PRAGMA user_version`).Scan(&version); err != nil {
		return err
	}
	if version > len(steps) {
		return fmt.Errorf("schema version %d, this one knows %d: %w", version, len(steps), errNewer)
	}
	// One transaction for each: whatever ends it half way, the file is of one version or the other.
	for ; version < len(steps); version++ {
		err := inTransaction(db, func(tx *sql.Tx) error {
			_, err := tx.Exec(steps[version] + fmt.Sprintf("PRAGMA user_version = %d;", version+1))
			return err
		})
		if err != nil {
			return fmt.Errorf("making schema version %d: %w", version+1, err)
		}
	}
	return nil
}

// inTransaction runs f and commits, or undoes what it did.
//
// It has no context on purpose: a commit that is interrupted half way would
// have to be found out about, and the driver starts a goroutine for each.
func inTransaction(db *sql.DB, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback() // the error that matters is the first
		return err
	}
	return tx.Commit()
}

// damaged says whether SQLite found that the file is not what it should be.
func damaged(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return errors.Is(err, errDamaged)
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	}
	return false
}

// errDamaged is damage that we see and SQLite does not.
var errDamaged = errors.New("not a database of events")
