// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
)

// Format is how a sink wants events.
type Format string

// Formats of sinks.
const (
	FormatOTLP   Format = "otlp"       // OTLP/HTTP, protobuf
	FormatNDJSON Format = "ndjson"     // Event.MarshalJSON, one a line
	FormatHEC    Format = "splunk_hec" // Splunk's HTTP Event Collector
	FormatOCSF   Format = "ocsf"       // OCSF 1.8 JSON, one a line
)

// SinkConfig says where one sink is, and how events go there.
type SinkConfig struct {
	Name     string            // of its cursor, and in Counters.Sinks. Empty: SinkOTLP
	Format   Format            // empty: FormatOTLP
	Endpoint string            // http(s)://host:port; the path of the format is added. Empty: nothing, or File
	File     string            // appended to, or "stdout"; of FormatNDJSON and FormatOCSF
	Headers  map[string]string // of each request; may be secret

	// Files are read again for each connection or request, so that they can be exchanged.
	HeadersFile string // more headers, "Name: value", one a line; readable for its owner only
	CAFile      string // PEM; instead of the machine's certificates
	CertFile    string // PEM
	KeyFile     string // PEM, readable for its owner only
}

// wanted says whether events are to go anywhere at all.
func (c SinkConfig) wanted() bool { return c.Endpoint != "" || c.File != "" }

// SinkStatus is how a sink is doing.
type SinkStatus struct {
	Name   string
	Format Format
	ExporterStatus
	SinkCounters
}

// Exporters sends the events of a store to any number of sinks. Each has an
// Exporter, and a cursor, of its own: none waits for another.
type Exporters struct {
	store   *Store
	options ExporterOptions

	mu    sync.Mutex
	ctx   context.Context // of Start; nil before
	sinks map[string]*Exporter
	meter *meter // nil: no metrics
}

// NewExporters makes exporters that all have these options; of them, where to
// send to comes from Configure. Nothing happens before Start.
func NewExporters(store *Store, o ExporterOptions) *Exporters {
	e := &Exporters{store: store, options: o, sinks: map[string]*Exporter{}}
	if o.Metrics != nil {
		e.meter = newMeter(o)
	}
	return e
}

// Configure says which sinks there are from now on. Those that are not among
// them any more get nothing, and nothing waits for them.
func (e *Exporters) Configure(sinks []SinkConfig) {
	e.mu.Lock()
	defer e.mu.Unlock()
	wanted := map[string]SinkConfig{}
	for _, name := range e.store.sinkNames() {
		wanted[name] = SinkConfig{Name: name}
	}
	for name := range e.sinks {
		wanted[name] = SinkConfig{Name: name}
	}
	for _, s := range sinks {
		s.Name = cmp.Or(s.Name, SinkOTLP)
		wanted[s.Name] = s
	}
	e.meter.configure(sinks)
	for name, config := range wanted {
		if one := e.sinks[name]; one != nil {
			one.Configure(config)
			continue
		}
		o := e.options
		o.Sink = config
		one := NewExporter(e.store, o)
		e.sinks[name] = one
		if e.ctx != nil {
			one.Start(e.ctx)
		}
	}
}

// Start begins to export, see Exporter.Start.
func (e *Exporters) Start(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ctx = ctx
	for _, one := range e.sinks {
		one.Start(ctx)
	}
	e.meter.start(ctx)
}

// Shutdown ends all of them, see Exporter.Shutdown.
func (e *Exporters) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var work sync.WaitGroup
	work.Go(func() { e.meter.shutdown(ctx) })
	for _, one := range e.sinks {
		work.Go(func() { _ = one.Shutdown(ctx) }) // it never fails
	}
	work.Wait()
	return nil
}

// Status returns how the configured sinks are doing, sorted by name.
func (e *Exporters) Status() []SinkStatus {
	counters := e.store.Counters().Sinks
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []SinkStatus
	for name, one := range e.sinks {
		if status := one.Status(); status.State != ExporterOff {
			out = append(out, SinkStatus{Name: name, Format: one.format(), ExporterStatus: status, SinkCounters: counters[name]})
		}
	}
	slices.SortFunc(out, func(a, b SinkStatus) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// target takes events. Its errors are *refusal, *setback, or the end of ctx.
type target interface {
	post(ctx context.Context, events []Event) (answer, error)
	name() string // for people: without secrets
	close()
}

// newTarget makes the target of a configuration. Files that it names are opened
// later: that they are not there may pass.
func newTarget(c SinkConfig, resource map[string]any) (target, error) {
	encode := encoders[cmp.Or(c.Format, FormatOTLP)]
	if encode == nil {
		return nil, fmt.Errorf("unknown format %q of telemetry sink %s", c.Format, c.Name)
	}
	if c.File != "" {
		if c.Format != FormatNDJSON && c.Format != FormatOCSF {
			return nil, fmt.Errorf("telemetry sink %s: a file cannot be in format %s", c.Name, c.Format)
		}
		return &fileTarget{path: c.File, resource: resource, encode: encode}, nil
	}
	return newReceiver(c, resource, encode)
}

// sinkNames lists the sinks that have a cursor.
func (s *Store) sinkNames() []string {
	var out []string
	for name := range s.in.ledgerCopy().sinks {
		out = append(out, name)
	}
	return out
}
