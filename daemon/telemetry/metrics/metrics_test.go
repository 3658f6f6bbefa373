// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	otlp "go.opentelemetry.io/proto/slim/otlp/metrics/v1"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

var update = flag.Bool("update", false, "write the table of docs/telemetry.md anew")

// bench is a store with a clock.
type bench struct {
	t     *testing.T
	dir   string
	now   time.Time
	store *telemetry.Store
	meter *Meter
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), now: time.Date(2026, 11, 25, 12, 30, 0, 0, time.UTC)}
	b.open()
	t.Cleanup(func() { _ = b.store.Close() })
	return b
}

func (b *bench) open() {
	b.t.Helper()
	var err error
	if b.store, err = telemetry.Open(b.t.Context(), b.dir, telemetry.Options{Now: func() time.Time { return b.now }}); err != nil {
		b.t.Fatal(err)
	}
	b.meter = New(b.store, func() time.Time { return b.now })
}

func (b *bench) denied(host string) {
	b.t.Helper()
	if err := b.store.Record(b.t.Context(), telemetry.Event{Name: telemetry.NameNetworkConnection, Attrs: map[string]any{
		telemetry.AttrServerAddress: host, telemetry.AttrDecision: "deny", telemetry.AttrDecisionEnforced: true,
	}}); err != nil {
		b.t.Fatal(err)
	}
}

// blocks returns the series of paddock.blocks by host, and what is beyond MaxSeries.
func (b *bench) blocks() (byHost map[string]int64, overflow int64, since time.Time) {
	b.t.Helper()
	if err := b.store.Flush(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	all, err := b.meter.Collect(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	byHost = map[string]int64{}
	for _, m := range all {
		if m.GetName() != "paddock.blocks" {
			continue
		}
		for _, p := range m.GetData().(*otlp.Metric_Sum).Sum.GetDataPoints() {
			since = time.Unix(0, int64(p.GetStartTimeUnixNano())).UTC()
			host := ""
			for _, a := range p.GetAttributes() {
				switch a.GetKey() {
				case telemetry.AttrServerAddress:
					host = a.GetValue().GetStringValue()
				case AttrOverflow:
					overflow = p.GetAsInt()
				}
			}
			if host != "" {
				byHost[host] = p.GetAsInt()
			}
		}
	}
	return byHost, overflow, since
}

// Sums go on over hours and over the end of the process, and begin anew with the month.
func TestSumsAreCumulative(t *testing.T) {
	b := newBench(t)
	b.denied("a.test")
	for want := int64(1); want <= 5; want++ {
		for range 2 { // to ask is not to count
			if got, _, since := b.blocks(); got["a.test"] != want || !since.Equal(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)) {
				t.Errorf("%d of %d since %s", got["a.test"], want, since)
			}
		}
		b.now = b.now.Add(40 * time.Minute)
		if want == 3 {
			if err := b.store.Close(); err != nil {
				t.Fatal(err)
			}
			b.open()
		}
		b.denied("a.test")
	}
	b.blocks() // it is stored
	b.now = time.Date(2026, 12, 1, 0, 0, 1, 0, time.UTC)
	b.denied("b.test")
	got, _, since := b.blocks()
	if got["a.test"] != 0 || got["b.test"] != 1 || since.Month() != time.December {
		t.Errorf("in the month after: %v since %s", got, since)
	}
}

// Whoever asks for ten thousand hosts does not make ten thousand series, and takes none from those before.
func TestFloodOfHosts(t *testing.T) {
	b := newBench(t)
	b.denied("first.test")
	before, _, _ := b.blocks()
	for hour := range 4 {
		for i := range 300 {
			b.denied(fmt.Sprintf("a%d-%d.test", hour, i))
		}
		b.denied("first.test")
		byHost, overflow, _ := b.blocks()
		var sum int64
		for host, n := range byHost {
			sum += n
			if n < before[host] {
				t.Errorf("%s went back from %d to %d", host, before[host], n)
			}
		}
		for host := range before {
			if byHost[host] == 0 {
				t.Errorf("%s is gone", host)
			}
		}
		if want := int64((hour+1)*301 + 1); len(byHost) != MaxSeries || sum+overflow != want || byHost["first.test"] != int64(hour+2) {
			t.Errorf("%d series, %d and %d beyond: want %d in all", len(byHost), sum, overflow, want)
		}
		before = byHost
		b.now = b.now.Add(time.Hour)
	}
}

// TestDocumentation holds docs/telemetry.md to the metrics there are.
func TestDocumentation(t *testing.T) {
	const path, begin, end = "../../../docs/telemetry.md", "<!-- metrics -->\n", "<!-- /metrics -->"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the metrics", path)
	}
	want := before + begin + Markdown() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(data) {
		t.Errorf("%s is old: go test ./daemon/telemetry/metrics -run TestDocumentation -update", path)
	}
}
