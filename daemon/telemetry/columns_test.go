// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// findable is an event of each kind of key, and how to ask for it.
func findable(n int) (Event, map[string]Query) {
	word := fmt.Sprintf("x%d", n)
	e := Event{ID: "ID" + word, Name: NameProcessExec, Session: "S", Attrs: map[string]any{
		"n": int64(n), AttrToolCallID: "call_" + word, AttrProcessPID: int64(1000 + n), AttrProcessExecutableName: word,
		AttrFilePath: "/p/" + word, AttrServerAddress: word + ".example.com", AttrDestinationAddress: fmt.Sprintf("2001:db8::%d", n),
	}}
	return e, map[string]Query{
		"id": {ID: e.ID}, "call": {Call: "call_" + word}, "pid": {PID: int64(1000 + n)}, "command": {Command: word},
		"path": {Path: "/p/" + word}, "host": {Host: word + ".example.com"}, "address": {Address: fmt.Sprintf("2001:db8::%d", n)},
	}
}

func checkFindable(t *testing.T, s *Store, to int) {
	t.Helper()
	for n := 1; n <= to; n++ {
		_, queries := findable(n)
		for by, q := range queries {
			if got := numbers(query(t, s, q)); len(got) != 1 || got[0] != int64(n) {
				t.Errorf("by %s: found %v, want %d", by, got, n)
			}
		}
	}
}

// Whatever one asks by, the answer is looked up and not searched for.
func TestEveryQuestionHasAnIndex(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	for n := 1; n <= 5; n++ {
		e, _ := findable(n)
		record(t, s, e)
	}
	checkFindable(t, s, 5)
	_, queries := findable(1)
	queries["session"] = Query{Session: "S"}
	queries["name"] = Query{Names: []string{NameTelemetryGap}}
	for by, q := range queries {
		q.Limit = 10
		text, args := q.sql()
		var plan strings.Builder
		rows, err := s.db.read.Query("EXPLAIN QUERY PLAN "+text, args...)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan.WriteString(detail + "\n")
		}
		rows.Close()
		if !strings.Contains(plan.String(), "USING INDEX events_"+by) || strings.Contains(plan.String(), "TEMP B-TREE") && by != "id" {
			t.Errorf("by %s: %s", by, plan.String())
		}
	}
}

// A file that Paddock of schema version 1 wrote, and was killed while it did.
func TestUpgradeFromVersion1(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"events.db", "events.db-wal"} {
		data, err := os.ReadFile(filepath.Join("testdata", "version1", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t, dir, Options{})
	<-s.filled
	const old = 700
	e, _ := findable(old + 1)
	e.Attrs["n"] = int64(old + 1)
	record(t, s, e)
	if got := numbers(query(t, s, Query{Limit: 2 * old})); len(got) != old+1 || got[0] != 1 || got[old] != old+1 {
		t.Fatalf("%d events are left of %d", len(got), old)
	}
	for _, n := range []int{1, 2, 255, 700, 701} {
		_, queries := findable(n)
		for by, q := range queries {
			if got := numbers(query(t, s, q)); len(got) != 1 || got[0] != int64(n) {
				t.Errorf("event %d by %s: found %v", n, by, got)
			}
		}
	}
	c := s.Counters()
	if sink := c.Sinks[SinkOTLP]; sink.Exported != 300 || sink.Waiting != old+1-300 {
		t.Errorf("the cursor of version 1 is %+v", sink)
	}
	checkIdentities(t, s)
}

// An upgrade that is interrupted goes on.
func TestColumnsAreFilledAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	for n := 1; n <= 3; n++ {
		e, _ := findable(n)
		record(t, s, e)
	}
	err := s.in.do(t.Context(), func(tx *sql.Tx, l *ledger) error {
		l.columns = 2
		_, err := tx.Exec(`UPDATE events SET call = NULL, pid = NULL, command = NULL, path = NULL, host = NULL, address = NULL WHERE seq <= 2`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := query(t, s, Query{PID: 1001}); len(got) != 0 {
		t.Fatalf("found what has no column: %v", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, Options{})
	<-s.filled
	checkFindable(t, s, 3)
}

func TestTallies(t *testing.T) {
	now := time.Date(2026, 11, 24, 10, 59, 59, 0, time.UTC)
	dir := t.TempDir()
	s := openStore(t, dir, Options{Now: func() time.Time { return now }})
	exec := func(decision string, other int) Event {
		return Event{Name: NameProcessExec, Attrs: map[string]any{AttrAgent: "codex", AttrDecision: decision, AttrProcessPID: int64(other)}}
	}
	record(t, s, exec("allow", 1), exec("allow", 2), exec("forbidden", 3))
	record(t, s, exec("allow", 4))
	now = now.Add(time.Second)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, Options{Now: func() time.Time { return now }})
	record(t, s, exec("allow", 5))
	gap := func(n int64) Event {
		return Event{Name: NameTelemetryGap, Attrs: map[string]any{AttrGapCause: "kernel ring volume full", AttrGapCount: n}}
	}
	record(t, s, gap(40), gap(2))
	ten, eleven := now.Truncate(time.Hour).Add(-time.Hour), now.Truncate(time.Hour)
	want := []Tally{
		{ten, NameProcessExec, map[string]any{AttrAgent: "codex", AttrDecision: "allow"}, 3, 0},
		{ten, NameProcessExec, map[string]any{AttrAgent: "codex", AttrDecision: "forbidden"}, 1, 0},
		{eleven, NameProcessExec, map[string]any{AttrAgent: "codex", AttrDecision: "allow"}, 1, 0},
		{eleven, NameTelemetryGap, map[string]any{AttrGapCause: "kernel ring volume full"}, 2, 42},
	}
	got, err := s.Tallies(t.Context(), ten, now.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err = s.Tallies(t.Context(), ten, eleven, NameProcessExec); err != nil || len(got) != 2 {
		t.Errorf("of one hour and kind: %v, %v", got, err)
	}
}

// A value that is long is counted by its beginning.
func TestLongValuesAreCountedShort(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	for _, tool := range []string{strings.Repeat("é", 100_000), strings.Repeat("é", 90_000)} {
		record(t, s, Event{Name: NameAgentToolResult, Attrs: map[string]any{AttrToolName: tool}})
	}
	got, err := s.Tallies(t.Context(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil || len(got) != 1 || got[0].Count != 2 || got[0].Attrs[AttrToolName] != strings.Repeat("é", 100)+"…" {
		t.Errorf("%.300v, %v", got, err)
	}
}

// Whoever makes up values cannot fill the disk with counts of them.
func TestTalliesAreBounded(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	const n = 2 * maxTallies
	for _, round := range []int{0, 1} {
		for i := range n {
			err := s.Record(t.Context(), Event{Name: NamePolicyRejected, Attrs: map[string]any{AttrPolicySource: fmt.Sprint(round, i)}})
			if err != nil {
				t.Fatal(err)
			}
		}
		flush(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, dir, Options{})
	}
	got, err := s.Tallies(t.Context(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, tally := range got {
		total += tally.Count
	}
	if total != 2*n {
		t.Errorf("%d are counted of %d", total, 2*n)
	}
	if len(got) > 2*(maxTallies+1) { // two hours, if it is the end of one
		t.Errorf("%d tallies", len(got))
	}
}
