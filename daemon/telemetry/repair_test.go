// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// closedStore makes a directory with a store of 1000 events, 400 of them
// exported.
func closedStore(t *testing.T) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	s := openStore(t, dir, Options{})
	record(t, s, fat(1, 1000)...)
	if err := s.activate(t.Context(), SinkOTLP, true); err != nil {
		t.Fatal(err)
	}
	if err := s.advance(t.Context(), SinkOTLP, 400, 400, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, s.path
}

// overwrite destroys part of a file.
func overwrite(t *testing.T, file string, from, to int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(strings.Repeat("\xa5", int(to-from))), from); err != nil {
		t.Fatal(err)
	}
}

func size(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// damageGapOf returns the one gap event of damage.
func damageGapOf(t *testing.T, s *Store) Event {
	t.Helper()
	gaps := query(t, s, Query{Names: []string{NameTelemetryGap}})
	if len(gaps) != 1 || gaps[0].Attrs[AttrGapCause] != GapDamage {
		t.Fatalf("gaps are %v, want one of damage", gaps)
	}
	return gaps[0]
}

func TestUnreadableFileIsSetAside(t *testing.T) {
	dir, file := closedStore(t)
	overwrite(t, file, 0, size(t, file))
	s := openStore(t, dir, Options{})
	gap := damageGapOf(t, s)
	aside, _ := gap.Attrs[AttrGapFile].(string)
	if filepath.Dir(aside) != dir || size(t, aside) == 0 {
		t.Errorf("set aside as %q", aside)
	}
	if count, ok := gap.Attrs[AttrGapCount]; ok {
		t.Errorf("%v are said to be missing, and nobody can know", count)
	}
	record(t, s, numbered(1, 3)...)
	if got := numbers(query(t, s, Query{})); !slices.Equal(got, sequence(1, 3)) {
		t.Errorf("afterwards: %v", got)
	}
	checkIdentities(t, s)
}

// The first half of the file is destroyed but for its head: SQLite opens it,
// and whoever reads or removes old events finds out.
func TestDamageFoundByAReader(t *testing.T) {
	dir, file := closedStore(t)
	overwrite(t, file, 96<<10, size(t, file)/3)
	s := openStore(t, dir, Options{})
	if _, err := s.Query(t.Context(), Query{Limit: 2000}); err != nil && !damaged(err) {
		t.Fatal(err)
	}
	gap := damageGapOf(t, s)
	kept := numbers(query(t, s, Query{Limit: 2000}))
	if len(kept) < 100 || kept[len(kept)-1] != 1000 {
		t.Fatalf("%d events are kept, the last is %v: want the newest", len(kept), kept)
	}
	if want := 1000 - int64(len(kept)); gap.Attrs[AttrGapCount] != want {
		t.Errorf("%v are said to be missing, want %d", gap.Attrs[AttrGapCount], want)
	}
	if !slices.Equal(kept, sequence(kept[0], 1000)) {
		t.Error("what is kept has holes")
	}
	c := s.Counters().Sinks[SinkOTLP]
	if want := uint64(max(kept[0]-401, 0)); c.Exported != 400 || c.Dropped != want {
		t.Errorf("counters are %+v, want %d dropped", c, want)
	}
	checkIdentities(t, s)
}

func TestDamageFoundByTheWriter(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	record(t, s, fat(1, 1000)...)
	// SQLite looks at the log before the file: put everything into the file, then destroy that under the open store.
	if _, err := s.db.read.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		t.Fatal(err)
	}
	overwrite(t, s.path, 8<<10, size(t, s.path))
	record(t, s, fat(1001, 3000)...)
	got := query(t, s, Query{Limit: 10000})
	if last := got[len(got)-1]; last.Attrs["n"] != int64(3000) {
		t.Errorf("the last event is %v", last)
	}
	var reported int64
	for _, e := range got {
		if n, ok := e.Attrs[AttrGapCount].(int64); ok {
			reported += n
		}
	}
	if total := int64(len(numbers(got))); total+reported != 3000 {
		t.Errorf("%d events are there and %d are reported missing, of 3000", total, reported)
	}
	checkIdentities(t, s)
}

func TestRemovedFileIsNoticed(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	record(t, s, numbered(1, 10)...)
	for _, suffix := range parts {
		if err := os.Remove(s.path + suffix); err != nil {
			t.Fatal(err)
		}
	}
	record(t, s, numbered(11, 12)...)
	gap := damageGapOf(t, s)
	if gap.Attrs[AttrGapCount] != int64(10) || gap.Seq != 11 {
		t.Errorf("gap is %+v, want 10 missing, and the count to go on", gap)
	}
	if got := numbers(query(t, s, Query{})); !slices.Equal(got, sequence(11, 12)) {
		t.Errorf("afterwards: %v", got)
	}
	checkIdentities(t, s)
}

// While nothing can be written, recording waits as long as there is room, then
// fails; and all of it is told when it is over.
func TestStoreThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	s := openStore(t, dir, Options{MaxQueued: 20})
	record(t, s, numbered(1, 5)...)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	// Told by Flush: the events are not stored. Which of them wait and which are refused depends on the writer.
	waiting, refused := 0, 0
	for n := 6; refused < 7; n++ {
		if err := s.Record(t.Context(), numbered(n, n)...); err != nil {
			refused++
			continue
		}
		waiting++
	}
	if err := s.Flush(t.Context()); err == nil {
		t.Error("Flush says that events are stored, and they cannot be")
	}
	if c := s.Counters(); c.Lost != 7 || c.Queued != uint64(waiting) {
		t.Errorf("counters are %+v, want 7 lost, %d queued", c, waiting)
	}
	checkIdentities(t, s)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	awaitFlush(t, s)
	missing := map[any]int64{}
	for _, e := range query(t, s, Query{Names: []string{NameTelemetryGap}}) {
		n, _ := e.Attrs[AttrGapCount].(int64)
		missing[e.Attrs[AttrGapCause]] += n
	}
	// Those that were refused before the first failure to write were refused by a store that was only slow.
	if missing[GapDamage] != 5 || missing[GapStore]+missing[GapSlow] != 7 || len(missing) > 3 {
		t.Errorf("missing are %v, want 5 of damage and 7 that were refused", missing)
	}
	if got := numbers(query(t, s, Query{})); len(got) != waiting {
		t.Errorf("%d events are there, %d were taken", len(got), waiting)
	}
	checkIdentities(t, s)
}

// awaitFlush waits until the store can be written again.
func awaitFlush(t *testing.T, s *Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		_, _, changed, _ := s.in.watch()
		err := s.Flush(ctx)
		if err == nil {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

func TestCloseSaysWhatItCouldNotStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	s, err := Open(t.Context(), dir, Options{Gather: time.Hour, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Record(t.Context(), numbered(1, 3)...); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "3 are lost") {
		t.Errorf("Close: %v", err)
	}
	if err := s.Record(t.Context(), numbered(4, 4)...); !errors.Is(err, ErrClosed) {
		t.Errorf("Record after Close: %v", err)
	}
	checkIdentities(t, s)
}

func TestNewerDatabaseIsLeftAlone(t *testing.T) {
	dir, file := closedStore(t)
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`PRAGMA user_version = 99`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := Open(t.Context(), dir, Options{}); !errors.Is(err, errNewer) {
		t.Errorf("opened with %v, want %v", err, errNewer)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "damaged-*")); len(names) != 0 {
		t.Errorf("set aside: %v", names)
	}
}

// A crash may come between the moving away of the old database and the moving in
// of the new.
func TestInterruptedReplacement(t *testing.T) {
	dir, file := closedStore(t)
	if err := os.Rename(file, file+freshSuffix); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir, Options{})
	if got := s.Last(); got != 1000 {
		t.Errorf("the store ends with event %d, want 1000", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+freshSuffix, []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, Options{})
	if got := s.Last(); got != 1000 {
		t.Errorf("the store ends with event %d, want 1000", got)
	}
	if _, err := os.Stat(file + freshSuffix); err == nil {
		t.Error("the unfinished one is still there")
	}
}

func TestFewDamagedOnesAreKept(t *testing.T) {
	dir := t.TempDir()
	for range keepDamaged + 2 {
		s := openStore(t, dir, Options{})
		record(t, s, numbered(1, 1)...)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		overwrite(t, s.path, 0, 4096)
	}
	openStore(t, dir, Options{})
	if names, _ := filepath.Glob(filepath.Join(dir, "damaged-*.db")); len(names) != keepDamaged {
		t.Errorf("kept are %v, want %d", names, keepDamaged)
	}
}
