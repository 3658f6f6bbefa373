// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"strings"
	"testing"

	logsservice "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	metricsservice "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	traceservice "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	trace "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

func dial(t *testing.T, b *bench) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(b.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// The real gRPC client, which is what the exporters of most agents are made of.
func TestRealGRPCClient(t *testing.T) {
	b := start(t, Limits{})
	conn := dial(t, b)
	logsOut := &logsservice.ExportLogsServiceResponse{}
	in := records(map[string]string{"event.name": "codex.user_prompt", "prompt": "hello", "conversation.id": "c"})
	for _, options := range [][]grpc.CallOption{nil, {grpc.UseCompressor(gzip.Name)}} {
		err := conn.Invoke(t.Context(), "/opentelemetry.proto.collector.logs.v1.LogsService/Export", in, logsOut, options...)
		if err != nil {
			t.Fatal(err)
		}
	}
	err := conn.Invoke(t.Context(), "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", someMetrics(), &metricsservice.ExportMetricsServiceResponse{})
	if err != nil {
		t.Fatal(err)
	}
	err = conn.Invoke(t.Context(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export", someSpans(), &traceservice.ExportTraceServiceResponse{})
	if err != nil {
		t.Fatal(err)
	}
	if prompts := b.events(telemetry.NameAgentPrompt); len(prompts) != 2 || prompts[0].Attrs[telemetry.AttrPrompt] != "hello" {
		t.Errorf("prompts: %v", prompts)
	}
	points := b.events(telemetry.NameAgentMetric)
	if len(points) != 3 {
		t.Fatalf("%d data points", len(points))
	}
	if p := points[0].Attrs; p[telemetry.AttrMetricName] != "codex.tool.call" || p[telemetry.AttrMetricValue] != 3.0 || p[telemetry.RecordPrefix+"tool"] != "exec_command" {
		t.Errorf("counter: %v", p)
	}
	if p := points[2].Attrs; p[telemetry.AttrMetricValue] != 120.5 || p[telemetry.AttrMetricCount] != int64(4) || p[telemetry.AttrMetricUnit] != "ms" {
		t.Errorf("histogram: %v", p)
	}
	spans := b.events(telemetry.NameAgentSpan)
	if len(spans) != 1 {
		t.Fatalf("%d spans", len(spans))
	}
	if s := spans[0].Attrs; s[telemetry.AttrToolCallID] != "call_1" || s[telemetry.AttrDurationMS] != int64(2) || s[telemetry.AttrRecordName] != "exec_command" || s[telemetry.AttrParentSpanID] != "0909090909090909" {
		t.Errorf("span: %v", s)
	}
}

func TestGRPCRefuses(t *testing.T) {
	b := start(t, Limits{Packed: 1 << 20})
	large := records(map[string]string{"event.name": "codex.tool_result", "output": strings.Repeat("x", 2<<20)})
	out := &logsservice.ExportLogsServiceResponse{}
	const method = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
	err := dial(t, b).Invoke(t.Context(), method, large, out)
	if s := grpcstatus.Convert(err); s.Code() != codes.InvalidArgument || !strings.Contains(s.Message(), "send smaller batches") {
		t.Errorf("too large: %v", err)
	}
	b.from(Sender{})
	err = dial(t, b).Invoke(t.Context(), method, records(map[string]string{"event.name": "x.y"}), out)
	if s := grpcstatus.Convert(err); s.Code() != codes.PermissionDenied {
		t.Errorf("not governed: %v", err)
	}
	for _, cause := range []string{telemetry.RefusedSize, telemetry.RefusedSender} {
		if n, _ := b.refusedFor(cause); n != 1 {
			t.Errorf("%s: %d are told of", cause, n)
		}
	}
}

func attribute(key, value string) []*common.KeyValue {
	return []*common.KeyValue{{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}}
}

func someMetrics() *metricsservice.ExportMetricsServiceRequest {
	sum := 120.5
	return &metricsservice.ExportMetricsServiceRequest{ResourceMetrics: []*metrics.ResourceMetrics{{ScopeMetrics: []*metrics.ScopeMetrics{{Metrics: []*metrics.Metric{
		{Name: "codex.tool.call", Data: &metrics.Metric_Sum{Sum: &metrics.Sum{DataPoints: []*metrics.NumberDataPoint{
			{Attributes: attribute("tool", "exec_command"), Value: &metrics.NumberDataPoint_AsInt{AsInt: 3}},
		}}}},
		{Name: "codex.gauge", Data: &metrics.Metric_Gauge{Gauge: &metrics.Gauge{DataPoints: []*metrics.NumberDataPoint{
			{Value: &metrics.NumberDataPoint_AsDouble{AsDouble: 0.5}},
		}}}},
		{Name: "codex.turn.ttft.duration_ms", Unit: "ms", Data: &metrics.Metric_Histogram{Histogram: &metrics.Histogram{DataPoints: []*metrics.HistogramDataPoint{
			{Count: 4, Sum: &sum},
		}}}},
	}}}}}}
}

func someSpans() *traceservice.ExportTraceServiceRequest {
	return &traceservice.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{ScopeSpans: []*trace.ScopeSpans{{Spans: []*trace.Span{{
		Name: "exec_command", TraceId: []byte(strings.Repeat("\x07", 16)), SpanId: []byte(strings.Repeat("\x08", 8)), ParentSpanId: []byte(strings.Repeat("\x09", 8)),
		StartTimeUnixNano: 1_000_000, EndTimeUnixNano: 3_000_000, Attributes: attribute("call_id", "call_1"),
	}}}}}}}
}

// nested is a value inside a value, and so on.
func nested(depth int) *logsservice.ExportLogsServiceRequest {
	v := &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: true}}
	for range depth {
		v = &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: []*common.AnyValue{v}}}}
	}
	out := records(map[string]string{"event.name": "x.y"})
	out.ResourceLogs[0].ScopeLogs[0].LogRecords[0].Body = v
	return out
}
