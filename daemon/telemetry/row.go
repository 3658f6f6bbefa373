// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// row is an event as the database takes it.
type row struct {
	id       string
	time     int64
	name     string
	severity Severity
	session  string
	attrs    string // JSON
	columns  columns
	tally    tallied
	nobodys  bool // of no share
}

// columns are attributes that have a column of their own, to be found by: see
// schema.
type columns struct {
	call, command, path, host, address string
	pid                                int64
}

func (r *row) size() int { return len(r.attrs) + len(r.name) + len(r.session) + rowOverhead }

// rowOverhead is what a row takes besides, about, with its places in indexes.
const rowOverhead = 256

const (
	maxID   = 128 // bytes
	maxName = 256 // bytes, of an event and of a session
)

// scratch is what one event is written with, and the next one again.
type scratch struct {
	pairs pairs
	text  []byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// row makes an event ready for the disk. It is the one place all events pass
// before they are kept: whoever calls Record waits for it, the disk does not.
func (s *Store) row(e *Event) (row, error) {
	if e.Name == "" {
		return row{}, errors.New("it has no name")
	}
	if err := e.Severity.check(); err != nil {
		return row{}, err
	}
	at := e.Time
	if at.IsZero() {
		at = s.options.Now()
	}
	if at.Before(time.Unix(0, 0)) || at.After(time.Unix(0, math.MaxInt64)) {
		return row{}, fmt.Errorf("its time %s is before 1970 or after 2262", at)
	}
	r := row{
		id: e.ID, time: at.UnixNano(), name: label(e.Name), severity: e.Severity, session: label(e.Session),
	}
	if r.severity == 0 {
		r.severity = Info
	}
	if r.id == "" {
		id, err := s.newID(at)
		if err != nil {
			return row{}, err
		}
		r.id = id
	}
	r.id, _ = escape(r.id)
	r.id, _ = truncate(r.id, maxID)
	// The session has a column of its own; twice would be two truths.
	inner, own := e.Attrs[AttrSessionID].(string)
	without := ""
	if own {
		without = AttrSessionID
		if r.session == "" {
			r.session = label(inner)
		}
	}
	w := scratches.Get().(*scratch)
	w.pairs.clean(e.Attrs, without, s.redactor)
	w.text = w.pairs.append(w.text[:0])
	r.attrs = string(w.text)
	r.columns = w.pairs.columns()
	r.tally = w.pairs.tally(r.name)
	clear(w.pairs.list)
	scratches.Put(w)
	return r, nil
}

func label(s string) string {
	s, _ = escape(s)
	s, _ = truncate(s, maxName)
	return s
}

// columns takes what has a column out of attributes.
func (p *pairs) columns() columns {
	var c columns
	for i := range p.list {
		c.take(p.list[i].key, p.list[i].value)
	}
	return c
}

func columnsOf(attrs map[string]any) columns {
	var c columns
	for key, value := range attrs {
		c.take(key, value)
	}
	return c
}

func (c *columns) take(key string, value any) {
	switch key {
	case AttrToolCallID:
		c.call, _ = value.(string)
	case AttrProcessPID:
		c.pid, _ = value.(int64)
	case AttrProcessExecutableName:
		c.command, _ = value.(string)
	case AttrFilePath:
		c.path, _ = value.(string)
	case AttrServerAddress, AttrDNSQuestionName:
		c.host, _ = value.(string)
	case AttrDestinationAddress:
		c.address, _ = value.(string)
	}
}

const insertEvent = `INSERT INTO events
	(seq, id, time, name, severity, session, attributes, call, pid, command, path, host, address, share)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// insert stores rows and counts them.
func (s *Store) insert(tx *sql.Tx, l *ledger, rows []row) error {
	statement, err := tx.Prepare(insertEvent)
	if err != nil {
		return err
	}
	defer statement.Close()
	for i := range rows {
		var share any
		if !rows[i].nobodys {
			if share, err = s.shares.add(tx, &rows[i], l.last+1); err != nil {
				return err
			}
		}
		if _, err := statement.Exec(append(rows[i].values(l.last+1), share)...); err != nil {
			return err
		}
		l.last++
		l.kept++
		s.tally.add(rows[i].tally)
	}
	return nil
}

// insertAt stores a row that was counted before, as nobody's.
func insertAt(tx *sql.Tx, seq int64, r *row) error {
	_, err := tx.Exec(insertEvent, append(r.values(seq), nil)...)
	return err
}

func (r *row) values(seq int64) []any {
	return append([]any{seq, r.id, r.time, r.name, int64(r.severity), r.session, r.attrs}, r.columns.values()...)
}

func (c *columns) values() []any {
	return []any{text(c.call), integer(c.pid), text(c.command), text(c.path), text(c.host), text(c.address)}
}

// text is NULL for nothing: no index holds that.
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func integer(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}
