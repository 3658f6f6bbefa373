// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
)

// deed is an event of a session that somebody may want to hide.
func deed(session, name string, severity Severity, command string) Event {
	return Event{Session: session, Name: name, Severity: severity, Attrs: map[string]any{AttrProcessExecutableName: command, "deed": true}}
}

// deeds are what is looked for after a flood.
func deeds(session string) []Event {
	return []Event{
		deed(session, NameSessionStart, Info, ""),
		deed(session, NameAgentPrompt, Info, ""),
		deed(session, NameAgentToolResult, Info, ""),
		deed(session, NameProcessExec, Info, "curl"),
		deed(session, NameProcessExec, Warn, "nc"),
		deed(session, NameNetworkDecision, Warn, "nc"),
		deed(session, NameApprovalAnswered, Info, ""),
		deed(session, NameTamper, Error, "rm"),
		deed(session, NamePolicyApplied, Info, ""),
	}
}

// padded makes an event of about a kilobyte.
func padded(e Event, n int) Event {
	e.Attrs["n"], e.Attrs["filler"] = int64(n), strings.Repeat("x", 700)
	delete(e.Attrs, "deed")
	return e
}

func deedsLeft(t *testing.T, s *Store, session string) int {
	t.Helper()
	n := 0
	for _, e := range query(t, s, Query{Session: session, Limit: 1 << 20}) {
		if e.Attrs["deed"] == true {
			n++
		}
	}
	return n
}

// A session does what it should not, or what nobody asked about, and then fills the store several times over to push it out.
// It loses what it flooded with, all others lose nothing, and the number of what is gone is told to the last one.
func TestFloodTakesItsOwnPlace(t *testing.T) {
	floods := map[string]func(n int) Event{
		"one program": func(int) Event { return deed("flood", NameProcessExec, Info, "true") },
		"starts and ends": func(n int) Event {
			return deed("flood", []string{NameProcessExec, NameProcessExit}[n%2], Info, "true")
		},
		"ever new programs":     func(n int) Event { return deed("flood", NameProcessExec, Info, fmt.Sprint("p", n)) },
		"what is denied":        func(int) Event { return deed("flood", NameProcessExec, Warn, "forbidden") },
		"ever new denied ones":  func(n int) Event { return deed("flood", NameProcessExec, Warn, fmt.Sprint("p", n)) },
		"words of its own":      func(int) Event { return deed("flood", NameAgentPrompt, Info, "") },
		"all kinds by turns":    func(n int) Event { return deed("flood", Names()[n%len(Names())], Info, "true") },
		"events of no session":  func(int) Event { return deed("", NameTelemetryRefused, Warn, "") },
		"connections anywhere":  func(n int) Event { return network(fmt.Sprintf("h%d.test", n)) },
		"names that look alike": func(n int) Event { return deed("flood", NameProcessExec, Info, strings.Repeat("y", 200)+fmt.Sprint(n)) },
	}
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir, Options{MaxBytes: smallStore})
			// Others were there before, with most of what the store holds.
			for n := range 10 {
				session := fmt.Sprint("other", n)
				events := deeds(session)
				for i := range 40 {
					events = append(events, padded(deed(session, NameProcessExec, Info, "git"), i))
				}
				record(t, s, events...)
			}
			record(t, s, deeds("flood")...)
			const volume = 4000
			var batch []Event
			for n := range volume {
				if batch = append(batch, padded(flood(n), n)); len(batch) == 500 {
					record(t, s, batch...)
					batch = nil
				}
				if n == volume/2 {
					// Who it was is remembered by the next daemon.
					settle(t, s)
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					s = openStore(t, dir, Options{MaxBytes: smallStore})
				}
			}
			record(t, s, deeds("after")...)
			settle(t, s)
			for n := range 10 {
				session := fmt.Sprint("other", n)
				if got := len(query(t, s, Query{Session: session, Limit: 1000})); got != len(deeds(session))+40 {
					t.Errorf("of session %s, which did nothing, %d events are left", session, got)
				}
			}
			for _, session := range []string{"flood", "after"} {
				if got := deedsLeft(t, s, session); got != len(deeds(session)) {
					t.Errorf("%d deeds of session %s are left", got, session)
				}
			}
			var told int64
			gaps := 0
			kept := map[string]int{}
			for _, e := range query(t, s, Query{Limit: 1 << 20}) {
				if e.Name == NameTelemetryGap && e.Attrs[AttrGapCause] == GapFlood {
					told += e.Attrs[AttrGapCount].(int64)
					gaps++
					continue
				}
				kept[e.Session]++
			}
			all := kept["flood"] + kept[""]
			if want := int64(len(deeds("")) + volume - all); told != want || gaps != 1 {
				t.Errorf("%d events tell of %d that are gone, want 1 that tells of %d", gaps, told, want)
			}
			if all < 100 {
				t.Errorf("%d events of the flood are left: its newest have room", all)
			}
			checkIdentities(t, s)
			checkShares(t, s)
		})
	}
}

func network(host string) Event {
	return Event{Session: "flood", Name: NameNetworkConnection, Attrs: map[string]any{AttrServerAddress: host, "deed": true}}
}

// checkShares compares what the store believes of its sessions with what is there.
func checkShares(t *testing.T, s *Store) {
	t.Helper()
	var wrong int
	err := s.db.read.QueryRow(`SELECT count(*) FROM (SELECT share, count(*) AS n, sum(octet_length(attributes) + octet_length(name) + octet_length(session) + 256) AS size
		FROM events WHERE share IS NOT NULL GROUP BY share) AS there FULL JOIN shares ON id = there.share WHERE id IS NULL OR count IS NOT n OR bytes IS NOT size`).Scan(&wrong)
	if err != nil || wrong != 0 {
		t.Errorf("%d shares are not what is there (%v)", wrong, err)
	}
	var kept int64
	if err := s.db.read.QueryRow(`SELECT count(*) FROM events`).Scan(&kept); err != nil || uint64(kept) != s.Counters().Kept {
		t.Errorf("%d events are there, %d count as kept (%v)", kept, s.Counters().Kept, err)
	}
}

// Nobody floods: what is routine goes before what is not, however much older that is.
func TestRoutineGoesFirst(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{MaxBytes: smallStore})
	for n := range 300 {
		session := fmt.Sprint("S", n)
		events := []Event{deed(session, NameProcessExec, Warn, "nc")}
		for i := range 20 {
			events = append(events, padded(deed(session, NameProcessExec, Info, fmt.Sprint("p", i)), i))
		}
		record(t, s, events...)
	}
	settle(t, s)
	denied := 0
	for _, e := range query(t, s, Query{Limit: 1 << 20}) {
		if e.Severity == Warn && e.Name == NameProcessExec {
			denied++
		}
	}
	if denied != 300 || s.Counters().Removed < 3000 {
		t.Errorf("of 300 refusals %d are left, %d events were removed", denied, s.Counters().Removed)
	}
	checkShares(t, s)
}

// A sink is away while a session floods: it is told what it will never get, to the last one, and gets the rest once.
func TestFloodWhileASinkIsAway(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{MaxBytes: smallStore})
	if err := s.activate(t.Context(), SinkOTLP, true); err != nil {
		t.Fatal(err)
	}
	record(t, s, deeds("flood")...)
	repeated(t, s, 200)
	sink := newSinkServer(t)
	startExporter(t, s, ExporterOptions{Sink: SinkConfig{Endpoint: sink.URL}})
	waitFor(t, s, "everything that is left", func(c SinkCounters) bool { return c.Active && c.Waiting == 0 })
	c := s.Counters().Sinks[SinkOTLP]
	var told, sent int64
	for _, e := range query(t, s, Query{Limit: 1 << 20}) {
		sent++
		if e.Attrs[AttrGapCause] == GapSize && e.Attrs[AttrGapSink] == SinkOTLP {
			told += e.Attrs[AttrGapCount].(int64)
		}
	}
	if c.Dropped == 0 || uint64(told) != c.Dropped || uint64(sent) != c.Exported || c.Dead != 0 {
		t.Errorf("%d are told to be missing, %d are left: the sink is %+v", told, sent, c)
	}
	if got := deedsLeft(t, s, "flood"); got != len(deeds("")) {
		t.Errorf("%d deeds are left", got)
	}
	checkIdentities(t, s)
}

// Who follows is told of what went out of the middle before it was read.
func TestFollowTellsOfAFlood(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{MaxBytes: smallStore})
	record(t, s, deeds("flood")...)
	var came, missed int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for e, err := range s.Follow(ctx, Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq == 0 {
			missed += e.Attrs[AttrGapCount].(int64)
			continue
		}
		came++
		if e.Seq == 5 {
			repeated(t, s, 60)
		}
		if e.Seq == s.Last() {
			break
		}
	}
	if missed == 0 || came+missed != s.Last() {
		t.Errorf("%d events came and %d were told to be missing, of %d", came, missed, s.Last())
	}
}

// A file that is damaged after a flood: what is missing for that is told, and nothing of it twice.
func TestDamageAfterAFlood(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{MaxBytes: smallStore})
	if err := s.activate(t.Context(), SinkOTLP, true); err != nil {
		t.Fatal(err)
	}
	repeated(t, s, 60)
	before := s.Counters()
	kept := query(t, s, Query{Limit: 1 << 20})
	damaged := kept[len(kept)-100].Seq
	err := s.in.do(t.Context(), func(tx *sql.Tx, _ *ledger) error {
		_, err := tx.Exec(`UPDATE events SET attributes = 'damaged' WHERE seq = ?`, damaged)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Query(t.Context(), Query{After: damaged - 1}); err != nil {
		t.Fatal(err)
	}
	record(t, s, deeds("after")...)
	settle(t, s)
	c := s.Counters()
	gaps := query(t, s, Query{Names: []string{NameTelemetryGap}, Newest: true, Limit: 1})
	told, ok := gaps[0].Attrs[AttrGapCount].(int64)
	if !ok || gaps[0].Attrs[AttrGapCause] != GapDamage || uint64(told) != before.Kept-99 {
		t.Errorf("%v is told; %d were kept before, %d are now", gaps[0].Attrs, before.Kept, c.Kept)
	}
	if got := c.Sinks[SinkOTLP]; got.Waiting != c.Kept {
		t.Errorf("%d are kept, and the sink is %+v", c.Kept, got)
	}
	checkIdentities(t, s)
}

// repeated has one session do the same in so many batches of 50 events, until the store has them.
func repeated(t *testing.T, s *Store, batches int) {
	t.Helper()
	for n := range batches {
		var batch []Event
		for i := range 50 {
			batch = append(batch, padded(deed("flood", NameProcessExec, Info, "true"), 50*n+i))
		}
		record(t, s, batch...)
	}
	settle(t, s)
}
