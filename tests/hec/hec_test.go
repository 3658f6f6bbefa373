// SPDX-License-Identifier: Apache-2.0

// Package hec tests the export of events by Splunk's protocol against a database that Splunk did not make and we did not
// either: VictoriaLogs, which install.sh builds.
package hec

import (
	"context"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/otelcol/rig"
)

// sink is the name of the one that the tests export to.
const sink = "siem"

// bench is a store, its exporters and the receiver.
type bench struct {
	*rig.HEC
	t         *testing.T
	store     *telemetry.Store
	exporters *telemetry.Exporters
	secrets   string // the file with the token
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{HEC: rig.NewHEC(t), t: t, secrets: filepath.Join(t.TempDir(), "headers")}
	b.token(true)
	var err error
	if b.store, err = telemetry.Open(t.Context(), t.TempDir(), telemetry.Options{}); err != nil {
		t.Fatal(err)
	}
	b.exporters = telemetry.NewExporters(b.store, telemetry.ExporterOptions{
		Resource:   map[string]string{"host.name": "laptop"},
		FirstRetry: 10 * time.Millisecond, LastRetry: 100 * time.Millisecond, Linger: -1, Log: slog.New(slog.DiscardHandler),
	})
	b.exporters.Configure([]telemetry.SinkConfig{{Name: sink, Format: telemetry.FormatHEC, Endpoint: b.Endpoint(), HeadersFile: b.secrets}})
	b.exporters.Start(t.Context())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := b.exporters.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := b.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// token puts the right one, or a wrong one, where the sink reads it.
func (b *bench) token(right bool) {
	b.t.Helper()
	if err := os.WriteFile(b.secrets, []byte("Authorization: "+rig.Authorization(right)+"\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) record(events ...telemetry.Event) {
	b.t.Helper()
	if err := b.store.Record(b.t.Context(), events...); err != nil {
		b.t.Fatal(err)
	}
	if err := b.store.Flush(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) status() telemetry.SinkStatus {
	b.t.Helper()
	all := b.exporters.Status()
	if len(all) != 1 {
		b.t.Fatalf("sinks are %+v", all)
	}
	return all[0]
}

// await waits until the sink is as wanted.
func (b *bench) await(what string, ok func(telemetry.SinkStatus) bool) telemetry.SinkStatus {
	b.t.Helper()
	timeout := time.After(rig.Patience)
	for {
		s := b.status()
		if ok(s) {
			return s
		}
		select {
		case <-time.After(time.Millisecond): // a failure changes nothing in the store
		case <-timeout:
			b.t.Fatalf("waiting for %s: it is %+v", what, s)
		}
	}
}

func (b *bench) awaitExport() {
	b.t.Helper()
	b.await("everything to be exported", func(s telemetry.SinkStatus) bool { return s.Active && s.Waiting == 0 })
}

// awaitFailure waits until the sink says that it fails, with these words in it.
func (b *bench) awaitFailure(words string) {
	b.t.Helper()
	s := b.await("a failure", func(s telemetry.SinkStatus) bool { return s.State == telemetry.ExporterFailing })
	if !strings.Contains(s.Error, words) || s.Waiting == 0 || s.Dead != 0 || s.Dropped != 0 {
		b.t.Errorf("it fails with %+v, want %q, and everything kept", s, words)
	}
}

// check compares what the store has with what is there: each event at least once and as documented, and nothing else. Those
// with a Seq in except must not be there.
func (b *bench) check(except ...int64) {
	b.t.Helper()
	recorded, err := b.store.Query(b.t.Context(), telemetry.Query{Limit: 1 << 20})
	if err != nil {
		b.t.Fatal(err)
	}
	var want []rig.Splunk
	for _, e := range recorded {
		if !slices.Contains(except, e.Seq) {
			want = append(want, b.SplunkOf(e, "laptop"))
		}
	}
	slices.SortFunc(want, rig.Splunk.Compare)
	got := slices.CompactFunc(b.Events(), func(a, b rig.Splunk) bool { return a.ID == b.ID })
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("recorded (-) and arrived (+):\n%s", diff)
	}
	for _, i := range b.store.Counters().Identities() {
		if !i.Holds() {
			b.t.Errorf("%s: %d is not %d", i.Name, i.Left, i.Right)
		}
	}
}

// some makes n events of every name, and one with every kind of attribute.
func some(n int) []telemetry.Event {
	var events []telemetry.Event
	for i := range n {
		for _, name := range telemetry.Names() {
			events = append(events, telemetry.Event{
				Name: name, Session: []string{"", "01JDEFGHJKMNPQRSTVWXYZ0123"}[i%2],
				Attrs: map[string]any{telemetry.AttrProcessPID: int64(i), telemetry.AttrProcessCommandArgs: []string{"git", "push", "--force"}},
			})
		}
	}
	return append(events, telemetry.Event{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.FixedZone("there", 3600)), Name: telemetry.NameProcessExec, Severity: telemetry.Error,
		Attrs: map[string]any{
			"int.most": int64(math.MaxInt64), "int.least": int64(math.MinInt64), "float": 0.1, "float.whole": 3.0, "float.large": math.MaxFloat64,
			"yes": true, "no": false, "empty": "", "control": "a\x00b\tc\n\x1b[31m\x7f", "unicode": "žluťoučký 🐎 \u2028", "quotes": `"'<&>\`,
			"bytes": "a\xff\\b", telemetry.AttrProcessCommandArgs: []string{"", "\xfe", "ž"}, "list.none": []string{}, "time": "1", "event": "{}",
		},
	})
}

// A token is wrong, and is put right; the receiver is restarted, and for a while has no room on its disk. Whatever it says,
// nothing is lost, and each event is there as docs/telemetry.md has it.
func TestEveryEventIsThere(t *testing.T) {
	b := newBench(t)
	b.record(some(2)...)
	b.awaitFailure("refused")
	b.token(false)
	b.Start()
	b.await("the token to be refused", func(s telemetry.SinkStatus) bool { return strings.Contains(s.Error, "401 Unauthorized") })
	b.awaitFailure("401 Unauthorized")
	if got := b.Events(); len(got) != 0 {
		t.Fatalf("with a wrong token it took %v", got)
	}
	b.token(true)
	b.awaitExport()
	b.check()

	b.Stop()
	b.record(some(20)...)
	b.awaitFailure("refused")
	b.Start("-storage.minFreeDiskSpaceBytes=1000TB") // which is more than it has
	b.await("its disk to be full", func(s telemetry.SinkStatus) bool { return strings.Contains(s.Error, "429 Too Many Requests") })
	b.awaitFailure("429 Too Many Requests")
	b.Stop()
	b.Start()
	b.awaitExport()
	b.check()
	if s := b.status(); s.State != telemetry.ExporterSending || s.Dead != 0 || s.Dropped != 0 || s.Success.IsZero() {
		t.Errorf("in the end the sink is %+v", s)
	}
}

// One event is larger than a request may be. The others arrive, and it is told.
func TestEventThatItNeverTakes(t *testing.T) {
	b := newBench(t)
	huge := map[string]any{}
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		huge[key] = strings.Repeat("x", telemetry.MaxAttribute)
	}
	b.record(some(1)...)
	b.record(telemetry.Event{Name: telemetry.NameProcessExec, Attrs: huge})
	seq := b.store.Last()
	b.record(some(1)...)
	b.Start()
	b.await("the huge one to be given up", func(s telemetry.SinkStatus) bool { return s.Dead == 1 && s.Waiting == 0 })
	b.check(seq)
	gaps, err := b.store.Query(t.Context(), telemetry.Query{Names: []string{telemetry.NameTelemetryGap}, After: seq, Newest: true, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if g := gaps[0].Attrs; g[telemetry.AttrGapCause] != telemetry.GapRejected || g[telemetry.AttrGapFirstSeq] != seq || g[telemetry.AttrGapSink] != sink ||
		!strings.Contains(g[telemetry.AttrErrorMessage].(string), "400 Bad Request") {
		t.Errorf("the loss is reported as %v", g)
	}
}
