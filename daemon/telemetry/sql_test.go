// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func selected(t *testing.T, s *Store, statement string) ([]string, [][]any, error) {
	t.Helper()
	var names []string
	var rows [][]any
	err := s.Select(t.Context(), statement, func(c []string) error { names = c; return nil }, func(r []any) error {
		rows = append(rows, append([]any{}, r...))
		return nil
	})
	return names, rows, err
}

func TestSelect(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 3 {
		err := s.Record(t.Context(), Event{Name: NameProcessExec, Severity: Warn, Session: "S", Attrs: map[string]any{
			AttrProcessPID: int64(i), AttrProcessExecutableName: "git", AttrDecision: "forbidden",
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	names, rows, err := selected(t, s, "-- the worst\nSELECT command, count(*) AS n, min(severity), attributes ->> '$.\"paddock.decision\"' AS d FROM event WHERE name LIKE '%;exec' OR name = 'paddock.process.exec' GROUP BY 1;")
	if err != nil || fmt.Sprint(names, rows) != "[command n min(severity) d] [[git 3 warn forbidden]]" {
		t.Errorf("%v %v %v", names, rows, err)
	}
	// Nothing but a SELECT, and that changes nothing.
	for _, bad := range []string{
		"", "DELETE FROM events", "SELECT 1; DELETE FROM events", "SELECT 1 ; VACUUM INTO '" + dir + "/copy'", "ATTACH '" + dir + "/other' AS o",
		"PRAGMA query_only = 0", "/* x */ ; SELECT 1", "WITH x AS (SELECT 1) DELETE FROM events", "WITH x AS (SELECT 1) INSERT INTO events SELECT * FROM events",
		"VACUUM", "SELECT load_extension('x')", "SELECT ';'; DROP TABLE events", "SELECT [;] FROM event; DROP VIEW event", "REINDEX",
		"SELECT '" + strings.Repeat("x", MaxSQL) + "'",
	} {
		if _, rows, err := selected(t, s, bad); err == nil {
			t.Errorf("%.60q was answered: %v", bad, rows)
		}
	}
	if left, err := filepath.Glob(dir + "/*"); err != nil || strings.Contains(fmt.Sprint(left), "copy") || strings.Contains(fmt.Sprint(left), "other") {
		t.Errorf("%v %v", left, err)
	}
	if c := s.Counters(); c.Kept != 3 {
		t.Errorf("%d events are left", c.Kept)
	}
	_, rows, err = selected(t, s, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
	if err == nil || !strings.Contains(err.Error(), "add a LIMIT") || len(rows) != MaxSQLRows {
		t.Errorf("endless: %d rows, %v", len(rows), err)
	}
	if _, err := os.Stat(filepath.Join(dir, databaseFile)); err != nil {
		t.Error(err)
	}
}

func FuzzCheckSelect(f *testing.F) {
	for _, s := range []string{"SELECT 1;", "select '--' from x -- ;\n;", "WITH a AS (SELECT ';') SELECT * FROM a", "/*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if checkSelect(s) != nil {
			return
		}
		// What is let through is one statement: nothing follows its semicolon.
		quoted := strings.ContainsAny(s, "'\"`[") || strings.Contains(s, "--") || strings.Contains(s, "/*")
		if _, after, found := strings.Cut(s, ";"); found && !quoted && strings.Trim(after, " \t\r\n\f") != "" {
			t.Errorf("%q: two statements", s)
		}
	})
}
