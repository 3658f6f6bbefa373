// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Bounds of a Select.
const (
	MaxSQL     = 64 << 10         // bytes of the statement
	MaxSQLRows = 100_000          // rows of the answer
	MaxSQLTime = 20 * time.Second // from the statement to the last row
)

// The view that statements are meant to ask. The tables below it may change with
// the version of the schema, the view does not but for additions.
const sqlView = `CREATE TEMP VIEW event AS SELECT seq, id, strftime('%Y-%m-%dT%H:%M:%fZ', time / 1e9, 'unixepoch') AS time,
	name, CASE severity WHEN 9 THEN 'info' WHEN 13 THEN 'warn' ELSE 'error' END AS severity, session,
	call, pid, command, path, host, address, attributes FROM main.events`

// Select answers one SELECT over stored events, row by row, as JSON can hold it:
// nil, int64, float64, string. It can change nothing: the connection is its own,
// and read only. columns is called first. The view is called event; see
// docs/investigate.md.
func (s *Store) Select(ctx context.Context, statement string, columns func([]string) error, row func([]any) error) error {
	if err := checkSelect(statement); err != nil {
		return fmt.Errorf("selecting from events: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, MaxSQLTime)
	defer cancel()
	db, err := sql.Open("sqlite", (&url.URL{
		Scheme: "file", Path: s.path, RawQuery: url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(10000)", "trusted_schema(0)"}}.Encode(),
	}).String())
	if err != nil {
		return fmt.Errorf("selecting from events: %w", err)
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("selecting from events: %w", err)
	}
	defer conn.Close()
	for _, prepare := range []string{sqlView, `PRAGMA query_only = 1`} {
		if _, err := conn.ExecContext(ctx, prepare); err != nil {
			return fmt.Errorf("selecting from events: %w", err)
		}
	}
	err = selectRows(ctx, conn, statement, columns, row)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("selecting from events: it takes more than %s: ask for less, or by session, call, pid, command, path, host or address, which have indexes", MaxSQLTime)
	}
	return err
}

func selectRows(ctx context.Context, conn *sql.Conn, statement string, columns func([]string) error, row func([]any) error) error {
	rows, err := conn.QueryContext(ctx, statement)
	if err != nil {
		return fmt.Errorf("selecting from events: %w", err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	if err := columns(names); err != nil {
		return err
	}
	values, to := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		to[i] = &values[i]
	}
	for n := 0; rows.Next(); n++ {
		if n == MaxSQLRows {
			return fmt.Errorf("selecting from events: more than %d rows: add a LIMIT", MaxSQLRows)
		}
		if err := rows.Scan(to...); err != nil {
			return fmt.Errorf("selecting from events: %w", err)
		}
		for i, v := range values {
			if b, ok := v.([]byte); ok {
				values[i], _ = escape(string(b))
			}
		}
		if err := row(values); err != nil {
			return err
		}
	}
	return rows.Err()
}

// checkSelect refuses what is not one SELECT. SQLite refuses to write on this
// connection; this keeps away what does not write to the database and has
// effects all the same (ATTACH, VACUUM INTO, PRAGMA).
func checkSelect(statement string) error {
	if len(statement) > MaxSQL {
		return fmt.Errorf("the statement has %d bytes, must have at most %d", len(statement), MaxSQL)
	}
	first, rest, err := firstWord(statement)
	if err != nil {
		return err
	}
	switch strings.ToUpper(first) {
	case "SELECT", "WITH", "VALUES", "EXPLAIN":
	default:
		return fmt.Errorf("it begins with %q: write a SELECT", cutWord(first))
	}
	for rest != "" {
		at, length := lexeme(rest)
		if at == ';' {
			more, _, err := firstWord(rest[length:])
			if err != nil || more != "" {
				return errors.New("more than one statement")
			}
			return nil
		}
		rest = rest[length:]
	}
	return nil
}

// firstWord returns the first word, past blanks and comments.
func firstWord(s string) (word, rest string, err error) {
	for s != "" {
		kind, n := lexeme(s)
		switch kind {
		case ' ':
			s = s[n:]
			continue
		case 'a':
			return s[:n], s[n:], nil
		case ';':
			return ";", s[n:], nil
		}
		return s[:n], s[n:], nil
	}
	return "", "", nil
}

// lexeme tells what s begins with, and its length: ' ' blanks or a comment, 'a' a
// word, '"' something quoted, ';', or '.' any other character.
func lexeme(s string) (kind byte, length int) {
	closes := map[byte]string{'\'': "'", '"': `"`, '`': "`", '[': "]"}
	switch c := s[0]; {
	case strings.HasPrefix(s, "--"):
		return ' ', until(s, 2, "\n")
	case strings.HasPrefix(s, "/*"):
		return ' ', until(s, 2, "*/")
	case strings.IndexByte(" \t\r\n\f", c) >= 0:
		return ' ', 1
	case closes[c] != "":
		// A doubled quote is two texts side by side here, which ends in the same place.
		return '"', until(s, 1, closes[c])
	case c == ';':
		return ';', 1
	case isLetter(c):
		n := 1
		for n < len(s) && isLetter(s[n]) {
			n++
		}
		return 'a', n
	}
	return '.', 1
}

func until(s string, from int, end string) int {
	if i := strings.Index(s[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(s)
}

func isLetter(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }

func cutWord(s string) string {
	if len(s) > 40 {
		return s[:40]
	}
	return s
}
