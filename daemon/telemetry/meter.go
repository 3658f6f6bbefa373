// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// defaultMetricsEvery is how often metrics are sent.
const defaultMetricsEvery = time.Minute

// meter sends metrics to the sinks that speak OTLP. Nothing is kept for a sink that is away: sums are cumulative, so the next
// request says what this one would have.
type meter struct {
	options  ExporterOptions
	resource *resource.Resource

	mu    sync.Mutex
	sinks []*receiver
	stop  chan struct{} // closed by shutdown; nil before start
	done  chan struct{}
}

func newMeter(o ExporterOptions) *meter {
	o.MetricsEvery = cmp.Or(o.MetricsEvery, defaultMetricsEvery)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	m := &meter{options: o, resource: &resource.Resource{}}
	attrs := resourceAttrs(o.Resource)
	for key := range attrs {
		m.resource.Attributes = append(m.resource.Attributes, &common.KeyValue{
			Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: attrs[key].(string)}},
		})
	}
	slices.SortFunc(m.resource.GetAttributes(), func(a, b *common.KeyValue) int { return cmp.Compare(a.GetKey(), b.GetKey()) })
	return m
}

// configure says which sinks there are. Those whose endpoint is wrong are told by their Exporter.
func (m *meter) configure(sinks []SinkConfig) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, old := range m.sinks {
		old.close()
	}
	m.sinks = nil
	for _, c := range sinks {
		if c.Endpoint == "" || cmp.Or(c.Format, FormatOTLP) != FormatOTLP {
			continue
		}
		// Somebody who writes the whole path of the logs means the same receiver.
		c.Endpoint = strings.TrimSuffix(strings.TrimRight(c.Endpoint, "/"), "/v1/logs")
		r := &receiver{config: c, kind: "application/x-protobuf", now: time.Now}
		var err error
		if r.url, r.redacted, err = address(c.Endpoint, "v1", "metrics"); err == nil {
			m.sinks = append(m.sinks, r)
		}
	}
}

func (m *meter) start(ctx context.Context) {
	if m == nil {
		return
	}
	ctx = context.WithoutCancel(ctx) // until shutdown
	stop, done := make(chan struct{}), make(chan struct{})
	m.mu.Lock()
	m.stop, m.done = stop, done
	m.mu.Unlock()
	go func() {
		defer close(done)
		tick := time.NewTicker(m.options.MetricsEvery)
		defer tick.Stop()
		silent := map[string]string{} // by sink, what was said of it last
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				ctx, cancel := context.WithTimeout(ctx, 3*requestTimeout)
				m.send(ctx, silent)
				cancel()
			}
		}
	}()
}

// shutdown sends what there is a last time.
func (m *meter) shutdown(ctx context.Context) {
	if m == nil {
		return
	}
	m.mu.Lock()
	stop, done := m.stop, m.done
	m.stop = nil
	m.mu.Unlock()
	if stop == nil {
		return
	}
	close(stop)
	select {
	case <-done:
		m.send(ctx, map[string]string{})
	case <-ctx.Done():
	}
}

func (m *meter) send(ctx context.Context, silent map[string]string) {
	m.mu.Lock()
	sinks := slices.Clone(m.sinks)
	m.mu.Unlock()
	if len(sinks) == 0 {
		return
	}
	body, err := m.encode(ctx)
	for _, r := range sinks {
		said := ""
		if err == nil {
			err := r.deliver(ctx, body)
			if err != nil {
				said = err.Error()
			}
		} else {
			said = err.Error()
		}
		if said != silent[r.url] && said != "" {
			m.options.Log.Warn("metrics cannot be exported; the next ones say the same and more", "endpoint", r.redacted, "error", said)
		}
		silent[r.url] = said
	}
}

func (m *meter) encode(ctx context.Context) ([]byte, error) {
	all, err := m.options.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&collector.ExportMetricsServiceRequest{ResourceMetrics: []*metrics.ResourceMetrics{{
		Resource: m.resource, SchemaUrl: SchemaURL,
		ScopeMetrics: []*metrics.ScopeMetrics{{Scope: &common.InstrumentationScope{Name: "paddock"}, Metrics: all, SchemaUrl: SchemaURL}},
	}}})
}

// errNoMetrics is of a receiver of logs alone.
var errNoMetrics = errors.New("it takes no metrics")

// deliver sends a body once.
func (r *receiver) deliver(ctx context.Context, body []byte) error {
	if r.client == nil {
		var err error
		if r.client, err = newClient(r.config); err != nil {
			return err
		}
	}
	_, status, err := r.try(ctx, body)
	if status == http.StatusUnsupportedMediaType && !r.plain {
		r.plain = true
		_, status, err = r.try(ctx, body)
	}
	if status == http.StatusNotFound || status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented {
		return errNoMetrics
	}
	return err
}
