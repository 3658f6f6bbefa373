// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// fat makes events of about a kilobyte, of sessions that are small.
func fat(from, to int) []Event {
	events := numbered(from, to)
	for _, e := range events {
		e.Attrs["filler"] = strings.Repeat("x", 1000)
	}
	for i := range events {
		events[i].Session = fmt.Sprint("S", (from+i)/20)
	}
	return events
}

const smallStore = 1 << 20

func TestSizeIsBounded(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{MaxBytes: smallStore})
	for n := 0; n < 10000; n += 100 {
		record(t, s, fat(n+1, n+100)...)
		settle(t, s)
		used, err := s.db.usage()
		if err != nil {
			t.Fatal(err)
		}
		if used > smallStore+200<<10 {
			t.Fatalf("after %d events %d bytes are used, %d are allowed", n+100, used, smallStore)
		}
	}
	c := s.Counters()
	if c.Stored != 10000 || c.Kept < 500 || c.Kept > 1100 || c.Removed != c.Stored-c.Kept {
		t.Errorf("counters are %+v", c)
	}
	all := query(t, s, Query{Limit: 20000})
	if uint64(len(all)) != c.Kept || all[len(all)-1].Attrs["n"] != int64(10000) {
		t.Errorf("%d events are there, the last is %v; %d count as kept", len(all), all[len(all)-1].Attrs["n"], c.Kept)
	}
	// Nobody waits for them: history that ends is no loss.
	if gaps := query(t, s, Query{Names: []string{NameTelemetryGap}}); len(gaps) != 0 {
		t.Errorf("gaps: %v", gaps)
	}
	checkIdentities(t, s)
}

func TestWhatASinkNeverGotIsReported(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{MaxBytes: smallStore})
	if err := s.activate(t.Context(), SinkOTLP, true); err != nil {
		t.Fatal(err)
	}
	record(t, s, fat(1, 300)...)
	if err := s.advance(t.Context(), SinkOTLP, 300, 300, nil); err != nil {
		t.Fatal(err)
	}
	// This is nothing routine.
	record(t, s, Event{Name: NameTelemetryGap, Attrs: map[string]any{AttrGapCause: "kernel ring volume full", AttrGapCount: int64(77)}})
	for n := 300; n < 3000; n += 100 {
		record(t, s, fat(n+1, n+100)...)
	}
	settle(t, s)
	sink := s.Counters().Sinks[SinkOTLP]
	var missing int64
	before := false
	for _, e := range query(t, s, Query{Names: []string{NameTelemetryGap}, Limit: 10000}) {
		if e.Attrs[AttrGapCause] == GapSize && e.Attrs[AttrGapSink] == SinkOTLP {
			missing += e.Attrs[AttrGapCount].(int64)
			continue
		}
		before = e.Attrs[AttrGapCount] == int64(77)
	}
	if sink.Dropped == 0 || uint64(missing) != sink.Dropped {
		t.Errorf("%d are reported as missing, %d were dropped", missing, sink.Dropped)
	}
	if !before {
		t.Error("what somebody told to be missing is older than what was removed, and is not there any more")
	}
	// What was exported, 1 to 300, was removed first, and is no loss.
	if c := s.Counters(); c.Removed-300 != sink.Dropped {
		t.Errorf("%d were removed, %d count as dropped", c.Removed, sink.Dropped)
	}
	if waiting := len(query(t, s, Query{After: s.cursor(SinkOTLP), Limit: 20000})); uint64(waiting) != sink.Waiting {
		t.Errorf("%d events wait, %d are counted", waiting, sink.Waiting)
	}
	checkIdentities(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, Options{MaxBytes: smallStore})
	if got := s.Counters().Sinks[SinkOTLP]; got != sink {
		t.Errorf("after reopening the counters are %+v, before %+v", got, sink)
	}
	checkIdentities(t, s)
}

// Events that were removed while they were on the way to the sink count once.
func TestRemovedOnTheWay(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{MaxBytes: smallStore})
	if err := s.activate(t.Context(), SinkOTLP, true); err != nil {
		t.Fatal(err)
	}
	record(t, s, fat(1, 100)...)
	for n := 100; s.Counters().Removed < 50; n += 50 {
		record(t, s, fat(n+1, n+50)...)
	}
	settle(t, s)
	// Sent before, booked after: 1 to 100.
	if err := s.advance(t.Context(), SinkOTLP, 100, 100, nil); err != nil {
		t.Fatal(err)
	}
	c := s.Counters()
	if got := c.Sinks[SinkOTLP]; got.Exported+got.Dropped < 100 || got.Dropped < 50 {
		t.Errorf("counters are %+v", got)
	}
	checkIdentities(t, s)
}

func TestFollowTellsWhatItMissed(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{MaxBytes: smallStore})
	record(t, s, fat(1, 10)...)
	next := int64(1)
	var missed int64
	for e, err := range s.Follow(t.Context(), Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Name == NameTelemetryGap {
			if e.Seq != 0 || e.Attrs[AttrGapCause] != GapOverrun || e.Attrs[AttrGapFirstSeq] != next {
				t.Fatalf("gap is %+v, want one from %d on", e, next)
			}
			missed = e.Attrs[AttrGapCount].(int64)
			next = e.Attrs[AttrGapLastSeq].(int64) + 1
			continue
		}
		if e.Seq != next {
			t.Fatalf("event %d came, want %d", e.Seq, next)
		}
		next++
		if e.Seq == 10 {
			for n := 10; n < 3000; n += 100 {
				record(t, s, fat(n+1, n+100)...)
			}
		}
		if e.Seq == s.Last() {
			break
		}
	}
	if c := s.Counters(); missed == 0 || uint64(missed) > c.Removed {
		t.Errorf("missed %d of %d removed", missed, c.Removed)
	}
}

// Old events go, those that were exported without a word and the others with
// one; and a clock that jumps ahead for a moment costs few.
func TestAgeIsBounded(t *testing.T) {
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	s := openStore(t, t.TempDir(), Options{MaxAge: 24 * time.Hour, Now: func() time.Time { return now }})
	if err := s.activate(t.Context(), SinkOTLP, true); err != nil {
		t.Fatal(err)
	}
	const old = removeAtOnce + 1000
	// One of them tells of more, which the sink would never hear of.
	events := numbered(1, old)
	events[200] = Event{Name: NameTelemetryGap, Attrs: map[string]any{AttrGapCause: "kernel ring volume full", AttrGapCount: int64(77)}}
	if err := s.Record(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	settle(t, s)
	if err := s.advance(t.Context(), SinkOTLP, 100, 100, nil); err != nil {
		t.Fatal(err)
	}
	now = now.Add(23 * time.Hour)
	record(t, s, numbered(old+1, old+1)...)
	settle(t, s)
	if c := s.Counters(); c.Removed != 0 {
		t.Errorf("%d were removed before their time", c.Removed)
	}
	now = now.Add(2 * time.Hour)
	record(t, s, numbered(old+2, old+2)...)
	settle(t, s)
	if c := s.Counters(); c.Removed == 0 || c.Removed > removeAtOnce {
		t.Errorf("%d were removed in the first minute after a jump", c.Removed)
	}
	now = now.Add(2 * time.Minute)
	record(t, s, numbered(old+3, old+3)...)
	settle(t, s)
	events = query(t, s, Query{})
	if got := numbers(events); !slices.Equal(got, sequence(old+1, old+3)) {
		t.Errorf("left are %v", got)
	}
	told := int64(0)
	for _, e := range events {
		if e.Attrs[AttrGapCause] == GapAge {
			told += e.Attrs[AttrGapCount].(int64)
		}
	}
	if c := s.Counters().Sinks[SinkOTLP]; told != old-100+77 || c.Dropped != old-100 || c.Exported != 100 {
		t.Errorf("events tell of %d, counters are %+v: want %d", told, c, old-100)
	}
	checkIdentities(t, s)
}
