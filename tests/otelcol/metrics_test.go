// SPDX-License-Identifier: Apache-2.0

package otelcol

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	otlp "go.opentelemetry.io/proto/slim/otlp/metrics/v1"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/metrics"
	"github.com/seed-649e9bbc/paddock/tests/otelcol/rig"
)

// What is counted while the Collector is away is in the first numbers that it gets, also from the daemon after.
func TestMetricsArrive(t *testing.T) {
	c := rig.New(t)
	dir := t.TempDir()
	life := func(events ...telemetry.Event) {
		t.Helper()
		store, err := telemetry.Open(t.Context(), dir, telemetry.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		e := telemetry.NewExporters(store, telemetry.ExporterOptions{
			Resource: map[string]string{"host.name": "test-host"}, Log: slog.New(slog.DiscardHandler),
			Metrics: metrics.New(store, time.Now).Collect, MetricsEvery: time.Hour, // the last ones come at the end
		})
		e.Configure([]telemetry.SinkConfig{{Endpoint: c.Endpoint()}})
		e.Start(t.Context())
		if err := store.Record(t.Context(), events...); err != nil {
			t.Fatal(err)
		}
		if err := store.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
		defer cancel()
		if err := e.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
	}
	began := telemetry.Event{Name: telemetry.NameSessionStart, Session: "S", Attrs: map[string]any{
		telemetry.AttrAgent: "codex", telemetry.AttrAgentVersion: "0.169.0", telemetry.AttrSurface: "exec",
	}}
	answered := telemetry.Event{Name: telemetry.NameApprovalAnswered, Session: "S", Attrs: map[string]any{
		telemetry.AttrApprovalState: "allowed", telemetry.AttrApprovalBy: "terminal", telemetry.AttrApprovalSeconds: 7.5,
	}}
	blocked := telemetry.Event{Name: telemetry.NameNetworkConnection, Session: "S", Attrs: map[string]any{
		telemetry.AttrServerAddress: "paste.test", telemetry.AttrRule: `"paste.test" = "deny"`, telemetry.AttrDecision: "deny", telemetry.AttrDecisionEnforced: true,
	}}
	life(began, answered, blocked)
	c.Start(rig.Willing)
	c.Says("Everything is ready")
	life(began, blocked, blocked)
	c.Stop()
	all := c.Metrics()
	if len(all) == 0 {
		t.Fatal("no metrics arrived")
	}
	last := all[len(all)-1]
	if diff := cmp.Diff(map[string]any{"service.name": "paddock", "host.name": "test-host"}, rig.Values(last.GetResource().GetAttributes())); diff != "" {
		t.Errorf("resource (-want +got):\n%s", diff)
	}
	now := time.Now().UTC()
	month := uint64(time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC).UnixNano())
	var got []string
	for _, m := range last.GetScopeMetrics()[0].GetMetrics() {
		if sum := m.GetSum(); sum != nil && (sum.GetAggregationTemporality() != otlp.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE || !sum.GetIsMonotonic()) {
			t.Errorf("%s is no cumulative sum: %v", m.GetName(), sum)
		}
		for _, p := range m.GetSum().GetDataPoints() {
			got = append(got, fmt.Sprintf("%s %v %d", m.GetName(), rig.Values(p.GetAttributes()), p.GetAsInt()))
			if p.GetStartTimeUnixNano() != month || p.GetTimeUnixNano() <= month {
				t.Errorf("%s is from %d to %d", m.GetName(), p.GetStartTimeUnixNano(), p.GetTimeUnixNano())
			}
		}
		for _, p := range m.GetHistogram().GetDataPoints() {
			got = append(got, fmt.Sprintf("%s %d %g %v", m.GetName(), p.GetCount(), p.GetSum(), p.GetBucketCounts()))
		}
	}
	slices.Sort(got)
	want := []string{
		"paddock.approval.duration 1 7.5 [0 0 0 1 0 0 0 0 0 0 0]",
		"paddock.approvals.answered map[paddock.approval.state:allowed paddock.by:terminal] 1",
		`paddock.blocks map[paddock.rule:"paste.test" = "deny" paddock.what:connection server.address:paste.test] 3`,
		"paddock.events map[] 6",
		"paddock.sessions map[paddock.agent:codex paddock.agent.version:0.169.0 paddock.surface:exec] 2",
	}
	if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(got, "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
