// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"database/sql"
	"strings"
)

// Limits of what is told apart when a session fills the store.
const (
	maxKinds    = 32 // kinds of a session, routine and other each; what is beyond is one more
	maxKind     = 96 // bytes of a kind
	keptOfAKind = 16 // events of each kind that stay as long as their session does: the first ones
)

// routine are the events that a session makes by the thousand and that tell of nothing unusual, if they are Info: a session
// that fills the store loses these before any others.
var routine = map[string]bool{
	NameProcessExec: true, NameProcessExit: true, NameNetworkDecision: true, NameNetworkConnection: true, NameNetworkOpen: true, NameFileDecision: true,
	NameDaemonHeartbeat: true, NameAgentNetwork: true, NameAgentSandbox: true, NameAgentModel: true, NameAgentLog: true, NameAgentMetric: true, NameAgentSpan: true,
}

// routineSQL says the same of a row.
var routineSQL = func() string {
	var names []string
	for name := range routine {
		names = append(names, `'`+name+`'`)
	}
	return `severity = 9 AND name IN (` + strings.Join(names, `, `) + `)`
}()

// shareKey is what the events of one share have in common.
type shareKey struct {
	session string
	routine bool
	kind    string
}

// otherKinds is the kind of what is one too many to be told apart: who floods with ever new names fills this one.
const otherKinds = "…"

// share is how much of the store the events of one kind of one session take up.
type share struct {
	id    int64
	total int64 // events ever, since the share was made

	// Of the transaction under way.
	count, bytes, head int64
	dirty              bool
}

// shares knows whose the events in the store are. It belongs to the writer.
type shares struct {
	known map[shareKey]*share // of the sessions in kinds
	kinds map[string]*[2]int  // of each session, how many are told apart: routine, and other
	dirty []*share
}

// maxKnownShares bounds what is remembered of sessions that may have ended.
const maxKnownShares = 4096

// reset forgets everything that is not in the database, or may not be.
func (s *shares) reset() { *s = shares{known: map[shareKey]*share{}, kinds: map[string]*[2]int{}} }

func (r *row) shareKey() shareKey {
	name := r.of(partName)
	k := shareKey{session: r.of(partSession), routine: r.severity == Info && routine[name]}
	what := r.of(partCommand)
	for _, more := range []part{partHost, partAddress} {
		if what == "" {
			what = r.of(more)
		}
	}
	k.kind = name
	if what != "" {
		k.kind += " " + what
	}
	k.kind, _ = truncate(k.kind, maxKind)
	return k
}

// add books an event that is stored with this number, and returns whose it is.
func (s *shares) add(tx *sql.Tx, r *row, seq int64) (int64, error) {
	of, err := s.of(tx, r.shareKey())
	if err != nil {
		return 0, err
	}
	if !of.dirty {
		of.dirty = true
		s.dirty = append(s.dirty, of)
	}
	of.total++
	of.count++
	of.bytes += int64(r.size())
	if of.total <= keptOfAKind {
		of.head = seq
	}
	return of.id, nil
}

func (s *shares) of(tx *sql.Tx, key shareKey) (*share, error) {
	if known := s.known[key]; known != nil {
		return known, nil
	}
	key.session, key.kind = strings.Clone(key.session), strings.Clone(key.kind) // they were part of a row
	kinds := s.kinds[key.session]
	if kinds == nil {
		var err error
		if kinds, err = s.load(tx, key.session); err != nil {
			return nil, err
		}
		if known := s.known[key]; known != nil {
			return known, nil
		}
	}
	number := &kinds[0]
	if !key.routine {
		number = &kinds[1]
	}
	if *number >= maxKinds {
		key.kind = otherKinds
		if known := s.known[key]; known != nil {
			return known, nil
		}
	}
	result, err := tx.Exec(`INSERT INTO shares (session, routine, kind, total, count, bytes, head, gone) VALUES (?, ?, ?, 0, 0, 0, 0, 0)`,
		key.session, key.routine, key.kind)
	if err != nil {
		return nil, err
	}
	id, err := result.LastInsertId()
	if err != nil {
		return nil, err
	}
	*number++
	s.known[key] = &share{id: id}
	return s.known[key], nil
}

// load reads what is known of a session.
func (s *shares) load(tx *sql.Tx, session string) (*[2]int, error) {
	kinds := new([2]int)
	rows, err := tx.Query(`SELECT id, routine, kind, total FROM shares WHERE session = ?`, session)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		key, of := shareKey{session: session}, new(share)
		if err := rows.Scan(&of.id, &key.routine, &key.kind, &of.total); err != nil {
			return nil, err
		}
		s.known[key] = of
		if key.routine {
			kinds[0]++
		} else {
			kinds[1]++
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	s.kinds[session] = kinds
	return kinds, nil
}

// write books what the transaction added.
func (s *shares) write(tx *sql.Tx) error {
	for _, of := range s.dirty {
		_, err := tx.Exec(`UPDATE shares SET total = ?, count = count + ?, bytes = bytes + ?, head = max(head, ?) WHERE id = ?`,
			of.total, of.count, of.bytes, of.head, of.id)
		if err != nil {
			return err
		}
		of.count, of.bytes, of.head, of.dirty = 0, 0, 0, false
	}
	s.dirty = s.dirty[:0]
	if len(s.known) > maxKnownShares {
		s.reset()
	}
	return nil
}
