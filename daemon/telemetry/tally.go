// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// maxTallies is how many different tallies of one kind of event an hour may
// have. What is beyond is counted under no attributes at all.
const maxTallies = 512

// maxTallied is how much of a value events are counted by, in bytes.
const maxTallied = 200

// Tally is how many events of one kind, with the same values of the attributes
// that Kind.Tally names, came in one hour. It outlives the events.
type Tally struct {
	Hour  time.Time // its begin, UTC
	Name  string
	Attrs map[string]any // as in an Event; of those with too many values: none
	Count int64
	Sum   int64 // of the attribute Kind.Sum
}

// Tallies returns the tallies of the hours from from up to, but not including,
// to; of all kinds, or those named. It reads no events: over a million of them it
// takes as long as over ten.
func (s *Store) Tallies(ctx context.Context, from, to time.Time, names ...string) ([]Tally, error) {
	db, err := s.reader()
	if err != nil {
		return nil, err
	}
	text := `SELECT hour, name, attributes, count, sum FROM tallies WHERE hour >= ? AND hour < ?`
	args := []any{from.Unix() / 3600, (to.Unix() + 3599) / 3600}
	if len(names) > 0 {
		text += ` AND name IN (` + placeholders(len(names)) + `)`
		for _, name := range names {
			args = append(args, name)
		}
	}
	rows, err := db.read.QueryContext(ctx, text+` ORDER BY hour, name, attributes`, args...)
	if err != nil {
		return nil, fmt.Errorf("reading tallies from %s: %w", s.path, err)
	}
	defer rows.Close()
	var out []Tally
	for rows.Next() {
		var t Tally
		var hour int64
		var attrs sql.RawBytes
		if err := rows.Scan(&hour, &t.Name, &attrs, &t.Count, &t.Sum); err != nil {
			return nil, fmt.Errorf("reading tallies from %s: %w", s.path, err)
		}
		t.Hour = time.Unix(hour*3600, 0).UTC()
		if t.Attrs, err = parseAttrs(attrs); err != nil {
			return nil, fmt.Errorf("reading tallies from %s: %w", s.path, err)
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// tallyKey is one tally.
type tallyKey struct {
	hour  int64 // since 1970, in which it was stored: times that others tell could be any
	name  string
	attrs string // JSON
}

// tally writes by which attributes an event is counted, and returns what it adds to the sum.
func (p *pairs) tally(b []byte, name string) ([]byte, int64) {
	k := kindsByName[name]
	if k == nil {
		return append(b, "{}"...), 0
	}
	sum := int64(0)
	if k.Sum != "" {
		sum, _ = p.value(k.Sum).(int64)
	}
	b = append(b, '{')
	first := len(b)
	for _, key := range k.Tally {
		v := p.value(key)
		if v == nil {
			continue
		}
		if len(b) > first {
			b = append(b, ',')
		}
		if s, ok := v.(string); ok && len(s) > maxTallied {
			v = strings.ToValidUTF8(s[:maxTallied], "") + "…" // an agent writes what it likes, and tallies are kept for long
		}
		b = appendValue(append(appendString(b, key), ':'), v)
	}
	return append(b, '}'), sum
}

// tallySum is what a transaction adds to one tally.
type tallySum struct{ count, sum int64 }

// tally counts events as they are stored. It belongs to the writer.
type tally struct {
	pending map[tallyKey]*tallySum // of the transaction under way
	hour    int64                  // of that
	known   map[tallyKey]bool      // of hour, in the database; nil: not read yet
	number  map[string]int         // of hour, by name
}

func (t *tally) begin(now time.Time) {
	clear(t.pending)
	if hour := now.Unix() / 3600; hour != t.hour {
		t.hour, t.known = hour, nil
	}
}

// reset forgets everything that is not in the database, or may not be.
func (t *tally) reset() { *t = tally{pending: map[tallyKey]*tallySum{}} }

func (t *tally) add(r *row) {
	key := tallyKey{hour: t.hour, name: r.of(partName), attrs: r.of(partTally)}
	sum := t.pending[key]
	if sum == nil {
		sum = new(tallySum)
		key.name, key.attrs = strings.Clone(key.name), strings.Clone(key.attrs)
		t.pending[key] = sum
	}
	sum.count++
	sum.sum += r.sum
}

func (t *tally) write(tx *sql.Tx) error {
	for key, sum := range t.pending {
		if err := t.admit(tx, &key); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO tallies (hour, name, attributes, count, sum) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET count = count + excluded.count, sum = sum + excluded.sum`,
			key.hour, key.name, key.attrs, sum.count, sum.sum)
		if err != nil {
			return err
		}
	}
	return nil
}

// admit replaces a tally that would be one too many.
func (t *tally) admit(tx *sql.Tx, key *tallyKey) error {
	if t.known == nil {
		t.known, t.number = map[tallyKey]bool{}, map[string]int{}
		rows, err := tx.Query(`SELECT name, attributes FROM tallies WHERE hour = ?`, t.hour)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			have := tallyKey{hour: t.hour}
			if err := rows.Scan(&have.name, &have.attrs); err != nil {
				return err
			}
			t.known[have] = true
			t.number[have.name]++
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
	if t.known[*key] {
		return nil
	}
	if t.number[key.name] >= maxTallies {
		key.attrs = "{}"
		return nil
	}
	t.known[*key] = true
	t.number[key.name]++
	return nil
}
