// SPDX-License-Identifier: Apache-2.0

// Package metrics makes OpenTelemetry metrics of what the store counts: how a machine's agents were used, and what Paddock
// did, in numbers. They are the same numbers as those of paddock stats.
//
// The store counts events in the transaction that stores them, so what is exported here is neither more nor less than
// what is stored, also after a crash. Sums are cumulative since the begin of the month, UTC: a request that is lost
// costs nothing, for the next one says the same and more.
package metrics

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	metrics "go.opentelemetry.io/proto/slim/otlp/metrics/v1"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

// MaxSeries is how many different sets of attributes one metric may have. The rest is added up in one series, whose only
// attribute is otel.metric.overflow, as OpenTelemetry has it: agents choose hosts, and a flood of names is to stay cheap.
const MaxSeries = 200

// AttrOverflow marks the series of what is beyond MaxSeries.
const AttrOverflow = "otel.metric.overflow"

// Bounds of the time that people take to answer, in seconds.
func bounds() []float64 { return []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600} }

// Meter reads metrics out of a store. It is safe for concurrent use.
type Meter struct {
	store join.Tallies
	now   func() time.Time

	mu       sync.Mutex
	since    time.Time                  // the month
	until    time.Time                  // hours before are in past, for good
	past     []telemetry.Tally          // one of each
	index    map[string]int             // of past
	admitted map[string]map[string]bool // series by metric
	answers  answers
}

// answers are how long people took to answer.
type answers struct {
	after   int64 // up to which event they are counted
	buckets []uint64
	count   uint64
	sum     float64
	max     float64
}

// New makes a Meter of a store; now is time.Now, or a test's.
func New(store join.Tallies, now func() time.Time) *Meter { return &Meter{store: store, now: now} }

// Collect returns the metrics as they are now, each with all of its series.
func (m *Meter) Collect(ctx context.Context) ([]*metrics.Metric, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now().UTC()
	if month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC); !month.Equal(m.since) {
		m.since, m.until, m.past, m.index = month, month, nil, map[string]int{}
		m.admitted, m.answers = map[string]map[string]bool{}, answers{buckets: make([]uint64, len(bounds())+1)}
	}
	tallies, err := m.store.Tallies(ctx, m.until, now.Add(time.Hour))
	if err != nil {
		return nil, err
	}
	hour := now.Truncate(time.Hour)
	for len(tallies) > 0 && tallies[0].Hour.Before(hour) { // they come by hour
		m.fold(tallies[0])
		tallies = tallies[1:]
	}
	m.until = hour
	if err := m.answered(ctx); err != nil {
		return nil, err
	}
	return m.metrics(join.Sum(append(slices.Clone(m.past), tallies...)), now), nil
}

// fold adds what a past hour had.
func (m *Meter) fold(t telemetry.Tally) {
	key := t.Name + "\x00" + fmt.Sprint(t.Attrs)
	i, known := m.index[key]
	if !known {
		m.index[key] = len(m.past)
		m.past = append(m.past, t)
		return
	}
	m.past[i].Count += t.Count
	m.past[i].Sum += t.Sum
}

// maxAnswers is how many answers are read at a time.
const maxAnswers = 1000

func (m *Meter) answered(ctx context.Context) error {
	a := &m.answers
	for {
		events, err := m.store.Query(ctx, telemetry.Query{
			Names: []string{telemetry.NameApprovalAnswered}, After: a.after, Limit: maxAnswers,
		})
		if err != nil {
			return err
		}
		for _, e := range events {
			a.after = e.Seq
			seconds, ok := e.Attrs[telemetry.AttrApprovalSeconds].(float64)
			if !ok || e.Time.Before(m.since) {
				continue
			}
			i, _ := slices.BinarySearch(bounds(), seconds)
			a.buckets[i]++
			a.count++
			a.sum += seconds
			a.max = max(a.max, seconds)
		}
		if len(events) < maxAnswers {
			return nil
		}
	}
}

// metrics puts numbers into OpenTelemetry's form.
func (m *Meter) metrics(s *join.Stats, now time.Time) []*metrics.Metric {
	start, at := uint64(m.since.UnixNano()), uint64(now.UnixNano())
	var out []*metrics.Metric
	for _, k := range kinds() {
		rows := k.rows(s)
		if len(rows) == 0 {
			continue
		}
		sum := &metrics.Sum{AggregationTemporality: metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE, IsMonotonic: true}
		for _, series := range m.admit(k.name, rows) {
			sum.DataPoints = append(sum.DataPoints, &metrics.NumberDataPoint{
				StartTimeUnixNano: start, TimeUnixNano: at, Value: &metrics.NumberDataPoint_AsInt{AsInt: series.Count},
				Attributes: attributes(series.Of),
			})
		}
		out = append(out, &metrics.Metric{Name: k.name, Description: k.meaning, Unit: k.unit, Data: &metrics.Metric_Sum{Sum: sum}})
	}
	if a := &m.answers; a.count > 0 {
		out = append(out, &metrics.Metric{
			Name: answerTime, Description: answerMeaning, Unit: "s",
			Data: &metrics.Metric_Histogram{Histogram: &metrics.Histogram{
				AggregationTemporality: metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE,
				DataPoints: []*metrics.HistogramDataPoint{{
					StartTimeUnixNano: start, TimeUnixNano: at, Count: a.count, Sum: &a.sum, Max: &a.max,
					BucketCounts: slices.Clone(a.buckets), ExplicitBounds: bounds(),
				}},
			}},
		})
	}
	return out
}

// admit returns the rows of a metric, the one of all that are too many last. A series that was there stays.
func (m *Meter) admit(name string, rows []join.Row) []join.Row {
	known := m.admitted[name]
	if known == nil {
		known = map[string]bool{}
		m.admitted[name] = known
	}
	var out []join.Row
	var rest int64
	for _, r := range rows {
		key := of(r.Of)
		if !known[key] && len(known) >= MaxSeries {
			rest += r.Count
			continue
		}
		known[key] = true
		out = append(out, r)
	}
	if rest > 0 {
		out = append(out, join.Row{Of: map[string]string{AttrOverflow: "true"}, Count: rest})
	}
	return out
}

// of is a set of labels as one text.
func of(labels map[string]string) string {
	var parts []string
	for name, value := range labels {
		parts = append(parts, name+"\x00"+value)
	}
	slices.SortFunc(parts, cmp.Compare)
	return strings.Join(parts, "\x01")
}
