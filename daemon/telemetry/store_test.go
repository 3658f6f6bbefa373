// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func openStore(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	if o.Gather == 0 {
		o.Gather = -1
	}
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func record(t *testing.T, s *Store, events ...Event) {
	t.Helper()
	if err := s.Record(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
}

func flush(t *testing.T, s *Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// settle waits until the writer did all that follows from what was recorded.
func settle(t *testing.T, s *Store) {
	t.Helper()
	flush(t, s)
	if err := s.in.do(t.Context(), func(*sql.Tx, *ledger) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, s *Store, q Query) []Event {
	t.Helper()
	events, err := s.Query(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// numbered makes events whose attribute n says which they are.
func numbered(from, to int) []Event {
	var events []Event
	for n := from; n <= to; n++ {
		events = append(events, Event{Name: NameProcessExec, Attrs: map[string]any{"n": int64(n)}})
	}
	return events
}

func numbers(events []Event) []int64 {
	var out []int64
	for _, e := range events {
		if n, ok := e.Attrs["n"].(int64); ok {
			out = append(out, n)
		}
	}
	return out
}

func checkIdentities(t *testing.T, s *Store) {
	t.Helper()
	for _, i := range s.Counters().Identities() {
		if !i.Holds() {
			t.Errorf("%s: %d is not %d", i.Name, i.Left, i.Right)
		}
	}
}

func TestEventsComeBackAsRecorded(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	at := time.Date(2026, 11, 24, 4, 5, 6, 789, time.UTC)
	want := Event{
		ID: "01JDEFGHJKMNPQRSTVWXYZ0123", Time: at, Name: NameProcessExec, Severity: Warn, Session: "S1",
		Attrs: map[string]any{
			AttrProcessPID: int64(1) << 60, "half": 0.5, "whole": 3.0, "big": 1e300, "yes": true, "empty": "",
			AttrProcessCommandArgs: []string{"sh", "-c", "echo \"<a>\" & \\ \n\t\x01 é"}, "none": []string{},
		},
	}
	record(t, s, want)
	want.Seq = 1
	if diff := cmp.Diff([]Event{want}, query(t, s, Query{})); diff != "" {
		t.Errorf("recorded (-) and read (+): %s", diff)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, Options{})
	if diff := cmp.Diff([]Event{want}, query(t, s, Query{})); diff != "" {
		t.Errorf("recorded (-) and read after reopening (+): %s", diff)
	}
	if got := s.Last(); got != 1 {
		t.Errorf("Last is %d, want 1", got)
	}
}

func TestRecordFillsWhatIsMissing(t *testing.T) {
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	s := openStore(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	record(t, s, Event{Name: NameDaemonStart}, Event{Name: NameDaemonStop, Attrs: map[string]any{AttrSessionID: "S7"}})
	got := query(t, s, Query{})
	if len(got[0].ID) != 26 || got[0].ID >= got[1].ID {
		t.Errorf("IDs are %q, %q: not ULIDs in order", got[0].ID, got[1].ID)
	}
	if !got[0].Time.Equal(now) || got[0].Severity != Info {
		t.Errorf("time %s, severity %s: want %s, info", got[0].Time, got[0].Severity, now)
	}
	if got[1].Session != "S7" || got[1].Attrs != nil {
		t.Errorf("session %q, attributes %v: want the session out of the attributes", got[1].Session, got[1].Attrs)
	}
}

func TestRecordRefusesWhatIsNoEvent(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	for name, e := range map[string]Event{
		"no name":       {},
		"severity":      {Name: NameDaemonStart, Severity: 3},
		"before 1970":   {Name: NameDaemonStart, Time: time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)},
		"after all was": {Name: NameDaemonStart, Time: time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if err := s.Record(t.Context(), Event{Name: NameDaemonStop}, e); err == nil {
			t.Errorf("%s: recorded", name)
		}
	}
	flush(t, s)
	if got := query(t, s, Query{}); len(got) != 0 {
		t.Errorf("half of a refused call was stored: %v", got)
	}
}

func TestQuery(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	for n := range 40 {
		record(t, s, Event{
			Name:    []string{NameProcessExec, NameProcessExit, NameNetworkDecision, NameSessionEnd}[n%4],
			Session: []string{"", "A", "B"}[n%3], Attrs: map[string]any{"n": n},
		})
	}
	for _, c := range []struct {
		name string
		q    Query
		want []int64
	}{
		{"session", Query{Session: "A", Limit: 3}, []int64{1, 4, 7}},
		{"after", Query{After: 38}, []int64{38, 39}},
		{"names", Query{Names: []string{NameSessionEnd, NameProcessExec}, Limit: 4}, []int64{0, 3, 4, 7}},
		{"newest", Query{Names: []string{NameSessionEnd}, Limit: 2, Newest: true}, []int64{35, 39}},
		{"all of it", Query{Session: "B", Names: []string{NameProcessExec}, After: 21, Limit: 9}, []int64{32}},
		{"nobody's", Query{Session: "C"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, numbers(query(t, s, c.q))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOnlyTheOwnerCanRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir, Options{})
	record(t, s, numbered(1, 1)...)
	for path, want := range map[string]os.FileMode{dir: 0o700, s.path: 0o600, s.path + "-wal": 0o600, s.path + "-shm": 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), link, Options{}); err == nil {
		t.Error("a symbolic link was taken for the directory")
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	openStore(t, dir, Options{})
	if _, err := Open(t.Context(), dir, Options{}); err == nil {
		t.Fatal("opened twice")
	}
}

func TestFollowWithoutPolling(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	record(t, s, numbered(1, 3)...)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []int64
	for e, err := range s.Follow(ctx, Query{After: 1, Names: []string{NameProcessExec}}) {
		if err != nil {
			t.Fatal(err)
		}
		n := e.Attrs["n"].(int64)
		got = append(got, n)
		if n == 700 {
			break
		}
		if n == 3 { // the reader is at the end now: what follows must wake it
			if err := s.Record(ctx, append([]Event{{Name: NameDaemonStop}}, numbered(4, 700)...)...); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(got) != 699 || got[0] != 2 || got[698] != 700 {
		t.Errorf("followed %d events, from %d to %d: want 699, from 2 to 700", len(got), got[0], got[len(got)-1])
	}
}

func TestFollowEnds(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	record(t, s, numbered(1, 3)...)
	var got []int64
	for e := range s.Follow(t.Context(), Query{Limit: 2}) {
		got = append(got, e.Attrs["n"].(int64))
	}
	if diff := cmp.Diff([]int64{1, 2}, got); diff != "" {
		t.Errorf("with a limit of 2: %s", diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for e, err := range s.Follow(ctx, Query{}) {
		if err != nil {
			t.Errorf("the end of the context was told as an error: %v", err)
		}
		if e.Attrs["n"] == int64(3) {
			cancel()
		}
	}
	var last error
	for e, err := range s.Follow(t.Context(), Query{}) {
		if last = err; err != nil {
			break
		}
		if e.Attrs["n"] == int64(3) {
			go s.Close()
		}
	}
	if !errors.Is(last, ErrClosed) {
		t.Errorf("after Close: %v, want %v", last, ErrClosed)
	}
}

func TestManyWriters(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{Gather: time.Millisecond, MaxQueued: 64})
	const writers, each = 8, 500
	failed := make(chan error, writers)
	for w := range writers {
		go func() {
			for n := range each {
				e := Event{Name: NameProcessExec, Session: strconv.Itoa(w), Attrs: map[string]any{"n": n}}
				err := s.Room(t.Context())
				if err == nil {
					err = s.Record(t.Context(), e)
				}
				if err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range writers {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	flush(t, s)
	for w := range writers {
		got := numbers(query(t, s, Query{Session: strconv.Itoa(w)}))
		if len(got) != each {
			t.Fatalf("writer %d: %d of %d events", w, len(got), each)
		}
		for i, n := range got {
			if n != int64(i) {
				t.Fatalf("writer %d: event %d is in place %d", w, n, i)
			}
		}
	}
	if c := s.Counters(); c.Received != writers*each || c.Committed != c.Received || c.Lost != 0 {
		t.Errorf("counters are %+v", c)
	}
	checkIdentities(t, s)
}
