// SPDX-License-Identifier: Apache-2.0

package otelcol

import (
	"context"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/otelcol/rig"
)

// resource is the machine that the tests export from.
var resource = map[string]any{"service.name": "paddock", "service.version": "1.2.3", "host.name": "test-host"}

// bench is a store, an exporter and a Collector.
type bench struct {
	*rig.Collector
	t        *testing.T
	store    *telemetry.Store
	exporter *telemetry.Exporter
	failures *failures
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return newBenchOf(t, rig.New(t), telemetry.SinkConfig{})
}

// newBenchOf exports to this Collector, by this way.
func newBenchOf(t *testing.T, c *rig.Collector, sink telemetry.SinkConfig) *bench {
	t.Helper()
	b := &bench{Collector: c, t: t, failures: &failures{failed: make(chan struct{})}}
	sink.Endpoint = c.Endpoint()
	var err error
	if b.store, err = telemetry.Open(t.Context(), t.TempDir(), telemetry.Options{}); err != nil {
		t.Fatal(err)
	}
	b.exporter = telemetry.NewExporter(b.store, telemetry.ExporterOptions{
		Sink:       sink,
		Resource:   map[string]string{"service.name": "paddock", "service.version": "1.2.3", "host.name": "test-host"},
		FirstRetry: 10 * time.Millisecond, LastRetry: 100 * time.Millisecond, Linger: -1,
		Log: slog.New(b.failures),
	})
	b.exporter.Start(t.Context())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := b.exporter.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := b.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
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

// await waits until the sink's counters are as wanted.
func (b *bench) await(what string, ok func(telemetry.SinkCounters) bool) {
	b.t.Helper()
	timeout := time.NewTimer(rig.Patience)
	defer timeout.Stop()
	for {
		changed := b.store.Changed()
		c := b.store.Counters().Sinks[telemetry.SinkOTLP]
		if ok(c) {
			return
		}
		select {
		case <-changed:
		case <-b.Ended:
			b.t.Fatalf("waiting for %s: the Collector ended by itself", what)
		case <-timeout.C:
			b.t.Fatalf("waiting for %s: counters are %+v, the exporter %+v", what, c, b.exporter.Status())
		}
	}
}

func (b *bench) awaitExport() {
	b.t.Helper()
	b.await("everything to be exported", func(c telemetry.SinkCounters) bool { return c.Active && c.Waiting == 0 })
}

// awaitFailure waits until the exporter says that it cannot export.
func (b *bench) awaitFailure() string {
	b.t.Helper()
	select {
	case <-b.failures.next():
	case <-time.After(rig.Patience):
		b.t.Fatalf("the exporter does not say that it fails; it is %+v", b.exporter.Status())
	}
	return b.exporter.Status().Error
}

// failures is a log in which only the exporter's warning of a failure matters.
type failures struct {
	mu     sync.Mutex
	failed chan struct{} // closed at a warning
}

func (*failures) Enabled(context.Context, slog.Level) bool { return true }

func (f *failures) Handle(_ context.Context, r slog.Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.Level >= slog.LevelWarn:
		close(f.failed)
	default: // it works again
		f.failed = make(chan struct{})
	}
	return nil
}

func (f *failures) WithAttrs([]slog.Attr) slog.Handler { return f }
func (f *failures) WithGroup(string) slog.Handler      { return f }

func (f *failures) next() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// check compares what the store has with what arrived: each event at least
// once, exactly as recorded, in order when each came once; and nothing else.
// Those with a Seq in except must not have arrived.
func (b *bench) check(except ...int64) {
	b.t.Helper()
	recorded, err := b.store.Query(b.t.Context(), telemetry.Query{Limit: 1 << 20})
	if err != nil {
		b.t.Fatal(err)
	}
	missing := map[string]telemetry.Event{}
	all := map[string]telemetry.Event{}
	var order []string
	for _, e := range recorded {
		all[e.ID] = e
		if !contains(except, e.Seq) {
			missing[e.ID] = e
			order = append(order, e.ID)
		}
	}
	var came []string
	for _, record := range b.Read() {
		id, _ := rig.Values(record.GetAttributes())[telemetry.AttrRecordUID].(string)
		e, known := all[id]
		if !known {
			b.t.Fatalf("a record arrived that was never recorded: %v", record.LogRecord)
		}
		if diff := cmp.Diff(rig.Expected(e, resource), rig.Form(record)); diff != "" {
			b.t.Errorf("event %d %s, recorded (-) and arrived (+):\n%s", e.Seq, e.Name, diff)
		}
		delete(missing, id)
		came = append(came, id)
	}
	for _, e := range missing {
		b.t.Errorf("event %d %s did not arrive", e.Seq, e.Name)
	}
	// A request that is refused is sent again in halves, and those may overtake what came after it.
	if len(except) == 0 && len(came) == len(order) {
		if diff := cmp.Diff(order, came); diff != "" {
			b.t.Errorf("the order is another: %s", diff)
		}
	}
	for _, i := range b.store.Counters().Identities() {
		if !i.Holds() {
			b.t.Errorf("%s: %d is not %d", i.Name, i.Left, i.Right)
		}
	}
}

func contains(list []int64, n int64) bool {
	for _, m := range list {
		if m == n {
			return true
		}
	}
	return false
}

// severities by turns.
var severities = []telemetry.Severity{telemetry.Info, telemetry.Warn, telemetry.Error}

// some makes n events of every name.
func some(n int) []telemetry.Event {
	var events []telemetry.Event
	for i := range n {
		for j, name := range telemetry.Names() {
			events = append(events, telemetry.Event{
				Name: name, Severity: severities[(i+j)%3], Session: []string{"", "01JDEFGHJKMNPQRSTVWXYZ0123"}[i%2],
				Attrs: map[string]any{
					telemetry.AttrProcessPID: int64(i), telemetry.AttrProcessCommandArgs: []string{"git", "push", "--force"},
				},
			})
		}
	}
	return events
}

func TestEveryEventArrivesAsRecorded(t *testing.T) {
	b := newBench(t)
	b.Start(rig.Willing)
	b.record(some(60)...)
	b.record(telemetry.Event{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.FixedZone("there", 3600)), Name: telemetry.NameProcessExec,
		Severity: telemetry.Error, Session: "01JDEFGHJKMNPQRSTVWXYZ0123",
		Attrs: map[string]any{
			"int.most": int64(math.MaxInt64), "int.least": int64(math.MinInt64), "int.none": int64(0),
			"float": 0.1, "float.whole": 3.0, "float.large": math.MaxFloat64, "yes": true, "no": false,
			"empty": "", "control": "a\x00b\tc\n\x1b[31m\x7f", "unicode": "žluťoučký 🐎 \u2028", "quotes": `"'<&>\`,
			"bytes": "a\xff\\b", telemetry.AttrProcessCommandArgs: []string{"", "\xfe", "ž"}, "list.none": []string{},
			"long": strings.Repeat("é", telemetry.MaxAttribute), telemetry.AttrDecision: "forbidden",
		},
	})
	b.awaitExport()
	b.Stop()
	b.check()
}

func TestCollectorThatIsNotThereYet(t *testing.T) {
	b := newBench(t)
	b.record(some(100)...)
	if text := b.awaitFailure(); !strings.Contains(text, "refused") {
		t.Errorf("the exporter says %q", text)
	}
	b.Start(rig.Willing)
	b.awaitExport()
	b.Stop()
	b.check()
}

func TestCollectorThatIsRestarted(t *testing.T) {
	b := newBench(t)
	b.Start(rig.Willing)
	for range 3 {
		b.record(some(20)...)
		b.awaitExport()
		b.Stop()
		b.record(some(20)...)
		b.awaitFailure()
		b.record(some(20)...)
		b.Start(rig.Willing)
	}
	b.awaitExport()
	b.Stop()
	b.check()
}

// The Collector is stopped while the exporter is in the middle of a backlog.
func TestCollectorThatStopsWhileEventsStream(t *testing.T) {
	b := newBench(t)
	b.record(some(800)...)
	b.awaitFailure()
	for round := range uint64(4) {
		b.Start(rig.Willing)
		b.await("some of the backlog", func(c telemetry.SinkCounters) bool { return c.Exported > round*2000 })
		b.Stop()
	}
	b.Start(rig.Willing)
	b.awaitExport()
	b.Stop()
	b.check()
}

func TestCollectorThatAnswersErrors(t *testing.T) {
	b := newBench(t)
	b.Start(rig.Refusing)
	b.Says("Refusing data")       // until it first looks at its memory it takes everything
	b.Says("Everything is ready") // until it listens it is not there
	b.record(some(20)...)
	if text := b.awaitFailure(); !strings.Contains(text, "503") {
		t.Errorf("the exporter says %q", text)
	}
	b.Stop()
	if c := b.store.Counters().Sinks[telemetry.SinkOTLP]; c.Waiting == 0 || c.Dead != 0 {
		t.Errorf("counters while it refuses: %+v", c)
	}
	b.Start(rig.Willing)
	b.awaitExport()
	b.Stop()
	b.check()
}

// One event is larger than any request may be. The others must not suffer, and
// it must be told.
func TestEventThatTheCollectorNeverTakes(t *testing.T) {
	b := newBench(t)
	huge := map[string]any{}
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		huge[key] = strings.Repeat("x", telemetry.MaxAttribute)
	}
	b.record(some(2)...)
	b.record(telemetry.Event{Name: telemetry.NameProcessExec, Attrs: huge})
	seq := b.store.Last()
	b.record(some(2)...)
	b.Start(rig.Willing)
	b.await("the huge one to be given up", func(c telemetry.SinkCounters) bool { return c.Dead == 1 && c.Waiting == 0 })
	b.Stop()
	b.check(seq)
	gaps, err := b.store.Query(t.Context(), telemetry.Query{Names: []string{telemetry.NameTelemetryGap}, After: seq})
	if err != nil {
		t.Fatal(err)
	}
	last := gaps[len(gaps)-1]
	if last.Attrs[telemetry.AttrGapCause] != telemetry.GapRejected || last.Attrs[telemetry.AttrGapFirstSeq] != seq {
		t.Errorf("the loss is reported as %v", last.Attrs)
	}
}
