// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	logsservice "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	metricsservice "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	traceservice "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// signal is one of OTLP's: where it comes to, and how it is read.
type signal struct {
	path   string // over HTTP
	method string // over gRPC
	decode func(body []byte, asJSON bool, objects int) ([]record, error)
	answer func(rejected int64, why string) proto.Message
}

// record is a log record, a data point or a span, as it came.
type record struct {
	event    string // the name it gets; empty: a log record, whose own name decides
	name     string // of the metric or span; of a log record, the field of OTLP 1.5
	times    [2]uint64
	severity int32
	body     *common.AnyValue
	service  string
	version  string
	scope    string
	trace    []byte
	span     []byte
	parent   []byte
	attrs    []*common.KeyValue
	more     map[string]any // what only a metric or a span has
}

func signals() []signal {
	return []signal{
		{
			"/v1/logs", "/opentelemetry.proto.collector.logs.v1.LogsService/Export", decodeLogs,
			func(n int64, why string) proto.Message {
				out := &logsservice.ExportLogsServiceResponse{}
				if n > 0 {
					out.PartialSuccess = &logsservice.ExportLogsPartialSuccess{RejectedLogRecords: n, ErrorMessage: why}
				}
				return out
			},
		},
		{
			"/v1/metrics", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", decodeMetrics,
			func(n int64, why string) proto.Message {
				out := &metricsservice.ExportMetricsServiceResponse{}
				if n > 0 {
					out.PartialSuccess = &metricsservice.ExportMetricsPartialSuccess{RejectedDataPoints: n, ErrorMessage: why}
				}
				return out
			},
		},
		{
			"/v1/traces", "/opentelemetry.proto.collector.trace.v1.TraceService/Export", decodeTraces,
			func(n int64, why string) proto.Message {
				out := &traceservice.ExportTraceServiceResponse{}
				if n > 0 {
					out.PartialSuccess = &traceservice.ExportTracePartialSuccess{RejectedSpans: n, ErrorMessage: why}
				}
				return out
			},
		},
	}
}

// origin fills in whose a record is.
func origin(r record, res *resource.Resource, scope *common.InstrumentationScope) record {
	runtime := ""
	for _, a := range res.GetAttributes() {
		switch a.GetKey() {
		case "service.name":
			r.service = a.GetValue().GetStringValue()
		case "service.version":
			r.version = a.GetValue().GetStringValue()
		case "process.runtime.version":
			runtime = a.GetValue().GetStringValue()
		}
	}
	if runtime != "" && r.version == "v"+runtime {
		r.version = "" // Gemini CLI says the version of its node there
	}
	r.scope = scope.GetName()
	return r
}

func decodeLogs(body []byte, asJSON bool, objects int) ([]record, error) {
	in := &logsservice.ExportLogsServiceRequest{}
	if err := unmarshal(body, asJSON, objects, in); err != nil {
		return nil, err
	}
	var out []record
	for _, rl := range in.GetResourceLogs() {
		for _, sl := range rl.GetScopeLogs() {
			from := origin(record{}, rl.GetResource(), sl.GetScope())
			for _, l := range sl.GetLogRecords() {
				r := from
				r.name, r.body, r.severity, r.attrs = l.GetEventName(), l.GetBody(), int32(l.GetSeverityNumber()), l.GetAttributes()
				r.times = [2]uint64{l.GetTimeUnixNano(), l.GetObservedTimeUnixNano()}
				r.trace, r.span = l.GetTraceId(), l.GetSpanId()
				out = append(out, r)
			}
		}
	}
	return out, nil
}

func decodeTraces(body []byte, asJSON bool, objects int) ([]record, error) {
	in := &traceservice.ExportTraceServiceRequest{}
	if err := unmarshal(body, asJSON, objects, in); err != nil {
		return nil, err
	}
	var out []record
	for _, rs := range in.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			from := origin(record{event: telemetry.NameAgentSpan}, rs.GetResource(), ss.GetScope())
			for _, s := range ss.GetSpans() {
				r := from
				r.name, r.attrs, r.trace, r.span, r.parent = s.GetName(), s.GetAttributes(), s.GetTraceId(), s.GetSpanId(), s.GetParentSpanId()
				r.times[0] = s.GetStartTimeUnixNano()
				r.more = map[string]any{}
				if end := s.GetEndTimeUnixNano(); end >= s.GetStartTimeUnixNano() {
					r.more[telemetry.AttrDurationMS] = int64((end - s.GetStartTimeUnixNano()) / 1e6)
				}
				if why := s.GetStatus().GetMessage(); why != "" {
					r.more[telemetry.AttrErrorMessage] = why
				}
				out = append(out, r)
			}
		}
	}
	return out, nil
}

func decodeMetrics(body []byte, asJSON bool, objects int) ([]record, error) {
	in := &metricsservice.ExportMetricsServiceRequest{}
	if err := unmarshal(body, asJSON, objects, in); err != nil {
		return nil, err
	}
	var out []record
	for _, rm := range in.GetResourceMetrics() {
		for _, sm := range rm.GetScopeMetrics() {
			from := origin(record{event: telemetry.NameAgentMetric}, rm.GetResource(), sm.GetScope())
			for _, m := range sm.GetMetrics() {
				from.name = m.GetName()
				out = append(out, points(from, m)...)
			}
		}
	}
	return out, nil
}

// points makes a record of each data point. Of a histogram, sum and count are
// kept: the buckets say nothing about why something ran.
func points(from record, m *metrics.Metric) []record {
	var out []record
	add := func(at uint64, attrs []*common.KeyValue, value float64, count uint64) {
		r := from
		r.times[0], r.attrs = at, attrs
		r.more = map[string]any{telemetry.AttrMetricName: m.GetName(), telemetry.AttrMetricValue: value}
		if m.GetUnit() != "" {
			r.more[telemetry.AttrMetricUnit] = m.GetUnit()
		}
		if count > 0 {
			r.more[telemetry.AttrMetricCount] = count
		}
		out = append(out, r)
	}
	numbers := append(m.GetGauge().GetDataPoints(), m.GetSum().GetDataPoints()...)
	for _, p := range numbers {
		value := p.GetAsDouble()
		if _, whole := p.GetValue().(*metrics.NumberDataPoint_AsInt); whole {
			value = float64(p.GetAsInt())
		}
		add(p.GetTimeUnixNano(), p.GetAttributes(), value, 0)
	}
	for _, p := range m.GetHistogram().GetDataPoints() {
		add(p.GetTimeUnixNano(), p.GetAttributes(), p.GetSum(), p.GetCount())
	}
	for _, p := range m.GetExponentialHistogram().GetDataPoints() {
		add(p.GetTimeUnixNano(), p.GetAttributes(), p.GetSum(), p.GetCount())
	}
	for _, p := range m.GetSummary().GetDataPoints() {
		add(p.GetTimeUnixNano(), p.GetAttributes(), p.GetSum(), p.GetCount())
	}
	return out
}
