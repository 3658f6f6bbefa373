// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"testing"
	"time"
)

// holdWriter keeps the writer of a store busy until the returned function is
// called: a disk that is slow and not broken.
func holdWriter(t *testing.T, s *Store) (release func()) {
	t.Helper()
	entered, released, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.in.do(context.Background(), func(*sql.Tx, *ledger) error {
			close(entered)
			<-released
			return nil
		})
	}()
	<-entered
	return func() {
		close(released)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Whoever records may be keeping a process: a slow disk must not keep both. What
// has no place is counted, and an event tells of it.
func TestASlowDiskKeepsNobody(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{MaxQueued: 4})
	release := holdWriter(t, s)
	for n := range 4 {
		if err := s.Record(t.Context(), numbered(n, n)...); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if err := s.Record(t.Context(), numbered(99, 100)...); !errors.Is(err, ErrFull) {
			t.Errorf("Record into a full queue: %v", err)
		}
	}
	if c := s.Counters(); c.Lost != 6 || c.Queued != 4 {
		t.Errorf("counters are %+v: 6 are lost and 4 wait", c)
	}
	release()
	flush(t, s)
	record(t, s, numbered(4, 4)...)
	if got := numbers(query(t, s, Query{})); !slices.Equal(got, sequence(0, 4)) {
		t.Errorf("stored are %v", got)
	}
	gaps := query(t, s, Query{Names: []string{NameTelemetryGap}})
	if len(gaps) != 1 || gaps[0].Attrs[AttrGapCause] != GapSlow || gaps[0].Attrs[AttrGapCount] != int64(6) {
		t.Errorf("the loss is told as %v", gaps)
	}
	checkIdentities(t, s)
}

// Who can wait leaves room for those who cannot.
func TestRoomIsLeftForThoseWhoCannotWait(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{MaxQueued: 8})
	release := holdWriter(t, s)
	stored := 0
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := s.Room(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Record(t.Context(), numbered(stored, stored)...); err != nil {
			t.Fatal(err)
		}
		stored++
	}
	if stored >= 8 {
		t.Fatalf("%d of 8 places were taken by those who can wait", stored)
	}
	if err := s.Record(t.Context(), numbered(stored, stored)...); err != nil {
		t.Errorf("there is no room for who cannot wait: %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- s.Room(context.Background()) }()
	release()
	if err := <-waited; err != nil {
		t.Error(err)
	}
	flush(t, s)
	if got := numbers(query(t, s, Query{})); !slices.Equal(got, sequence(0, int64(stored))) {
		t.Errorf("stored are %v", got)
	}
}
