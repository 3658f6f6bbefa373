// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// row is an event as the database takes it. What it says is in one text: tens of thousands of rows may wait, and the
// garbage collector looks at each pointer in them.
type row struct {
	text     string
	ends     [rowParts]uint32 // of each part in text
	time     int64
	pid      int64 // column
	sum      int64 // for its tally
	severity Severity
	nobodys  bool // of no share
}

// part is one of the texts of a row.
type part int

const (
	partAttrs part = iota // JSON
	partID
	partName
	partSession
	partTally // JSON, see tallyKey
	partCall  // the columns, see schema
	partCommand
	partPath
	partHost
	partAddress
	rowParts
)

// of returns one of the texts. Who keeps it keeps all of them in memory.
func (r *row) of(p part) string {
	from := uint32(0)
	if p > 0 {
		from = r.ends[p-1]
	}
	return r.text[from:r.ends[p]]
}

// end says that what was written to b last is this part, and the parts come in order.
func (r *row) end(p part, b []byte) []byte {
	r.ends[p] = uint32(len(b))
	return b
}

// columns adds the texts that have a column, and takes the number.
func (r *row) columns(b []byte, c *columns) []byte {
	b = r.end(partCall, append(b, c.call...))
	b = r.end(partCommand, append(b, c.command...))
	b = r.end(partPath, append(b, c.path...))
	b = r.end(partHost, append(b, c.host...))
	r.pid = c.pid
	return r.end(partAddress, append(b, c.address...))
}

// columns are attributes that have a column of their own, to be found by: see
// schema.
type columns struct {
	call, command, path, host, address string
	pid                                int64
}

func (r *row) size() int {
	return len(r.of(partAttrs)) + len(r.of(partName)) + len(r.of(partSession)) + rowOverhead
}

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
	r := row{time: at.UnixNano(), severity: e.Severity}
	if r.severity == 0 {
		r.severity = Info
	}
	var made [ulid.EncodedSize]byte
	id := made[:]
	if e.ID == "" {
		if err := s.newID(made[:], at); err != nil {
			return row{}, err
		}
	} else {
		given, _ := escape(e.ID)
		given, _ = truncate(given, maxID)
		id = []byte(given)
	}
	name, session := label(e.Name), label(e.Session)
	// The session has a column of its own; twice would be two truths.
	inner, own := e.Attrs[AttrSessionID].(string)
	without := ""
	if own {
		without = AttrSessionID
		if session == "" {
			session = label(inner)
		}
	}
	w := scratches.Get().(*scratch)
	if own {
		w.pairs.clean(e.Attrs, without, s.redactor)
	} else {
		w.pairs.cleanLike(name, e.Attrs, s.redactor)
	}
	b := r.end(partAttrs, w.pairs.append(w.text[:0]))
	b = r.end(partID, append(b, id...))
	b = r.end(partName, append(b, name...))
	b = r.end(partSession, append(b, session...))
	b, r.sum = w.pairs.tally(b, name)
	b = r.end(partTally, b)
	c := w.pairs.columns()
	b = r.columns(b, &c)
	r.text, w.text = string(b), b
	clear(w.pairs.list)
	scratches.Put(w)
	return r, nil
}

// kept is the row of an event that was stored, and counted, before.
func kept(e *Event, ns int64, attrs string, c columns) row {
	r := row{time: ns, severity: e.Severity}
	b := r.end(partAttrs, []byte(attrs))
	b = r.end(partID, append(b, e.ID...))
	b = r.end(partName, append(b, e.Name...))
	b = r.end(partSession, append(b, e.Session...))
	r.text = string(r.columns(r.end(partTally, b), &c))
	return r
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

const (
	insertEvents = `INSERT INTO events
	(seq, id, time, name, severity, session, attributes, call, pid, command, path, host, address, share)
	VALUES `
	oneEvent = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	// eventsAtOnce is how many rows a statement stores when there are many: each statement opens the table and its
	// indexes anew, and goes through database/sql.
	eventsAtOnce = 16
)

// inserter stores rows in one transaction.
type inserter struct {
	tx        *sql.Tx
	one, many *sql.Stmt // nil until they are needed
	values    []any
}

// insert stores rows and counts them.
func (s *Store) insert(tx *sql.Tx, l *ledger, rows []row) error {
	in := inserter{tx: tx}
	defer in.close()
	for len(rows) > 0 {
		n := 1
		if len(rows) >= eventsAtOnce {
			n = eventsAtOnce
		}
		for i := range rows[:n] {
			var share any
			if !rows[i].nobodys {
				var err error
				if share, err = s.shares.add(tx, &rows[i], l.last+1); err != nil {
					return err
				}
			}
			l.last++
			in.values = append(rows[i].values(in.values, l.last), share)
			s.tally.add(&rows[i])
		}
		if err := in.store(n); err != nil {
			return err
		}
		l.kept += int64(n)
		rows = rows[n:]
	}
	return nil
}

// store stores the n rows in values: one, or eventsAtOnce.
func (in *inserter) store(n int) error {
	statement := &in.one
	if n > 1 {
		statement = &in.many
	}
	if *statement == nil {
		var err error
		if *statement, err = in.tx.Prepare(insertEvents + oneEvent + strings.Repeat(", "+oneEvent, n-1)); err != nil {
			return err
		}
	}
	_, err := (*statement).Exec(in.values...)
	in.values = in.values[:0]
	return err
}

func (in *inserter) close() {
	for _, statement := range []*sql.Stmt{in.one, in.many} {
		if statement != nil {
			statement.Close()
		}
	}
}

// insertAt stores a row that was counted before, as nobody's.
func insertAt(tx *sql.Tx, seq int64, r *row) error {
	_, err := tx.Exec(insertEvents+oneEvent, append(r.values(nil, seq), nil)...)
	return err
}

func (r *row) values(to []any, seq int64) []any {
	return append(to, seq, r.of(partID), r.time, r.of(partName), int64(r.severity), r.of(partSession), r.of(partAttrs),
		text(r.of(partCall)), integer(r.pid), text(r.of(partCommand)), text(r.of(partPath)), text(r.of(partHost)), text(r.of(partAddress)))
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
