// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// request is an OTLP export of events, in their order. Attributes are sorted by
// name: the same event is the same bytes on every delivery.
func request(res map[string]any, events []Event) *collector.ExportLogsServiceRequest {
	records := make([]*logs.LogRecord, len(events))
	for i := range events {
		records[i] = logRecord(&events[i])
	}
	version, _ := res["service.version"].(string)
	return &collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
		Resource:  &resource.Resource{Attributes: otlpAttributes(res)},
		SchemaUrl: SchemaURL,
		ScopeLogs: []*logs.ScopeLogs{{
			Scope:      &common.InstrumentationScope{Name: scope, Version: version},
			SchemaUrl:  SchemaURL,
			LogRecords: records,
		}},
	}}}
}

// logRecord follows OpenTelemetry's conventions for events: name and time set,
// a severity number but no text, no body.
func logRecord(e *Event) *logs.LogRecord {
	at := uint64(e.Time.UnixNano())
	own := map[string]any{AttrRecordUID: e.ID, AttrEventName: e.Name}
	if e.Session != "" {
		own[AttrSessionID] = e.Session
	}
	all := maps.Clone(e.Attrs)
	if all == nil {
		all = own
	} else {
		maps.Copy(all, own) // an attribute of the event's own cannot pose as its identity
	}
	return &logs.LogRecord{
		TimeUnixNano: at, ObservedTimeUnixNano: at, SeverityNumber: logs.SeverityNumber(e.Severity),
		EventName: e.Name, Attributes: otlpAttributes(all),
	}
}

func otlpAttributes(attrs map[string]any) []*common.KeyValue {
	out := make([]*common.KeyValue, 0, len(attrs))
	for _, key := range slices.Sorted(maps.Keys(attrs)) {
		out = append(out, &common.KeyValue{Key: key, Value: otlpValue(attrs[key])})
	}
	return out
}

func otlpValue(value any) *common.AnyValue {
	switch v := value.(type) {
	case string:
		return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: v}}
	case int64:
		return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: v}}
	case float64:
		return &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: v}}
	case bool:
		return &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: v}}
	case []string:
		list := make([]*common.AnyValue, len(v))
		for i, s := range v {
			list[i] = otlpValue(s)
		}
		return &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: list}}}
	}
	return &common.AnyValue{} // the store holds no other type
}

// What is written by hand is what the generated types say.
func TestOTLPIsAsTheGeneratedTypesHaveIt(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	res := map[string]any{"service.name": "paddock", "service.version": "1.2.3", "host.name": ""}
	events := []Event{
		execEvent(1, at), exitEvent(2, at),
		{ID: "x", Name: NameDaemonStart, Severity: Error, Time: at},
		{ID: "y", Name: "n", Severity: Warn, Session: "S", Time: at, Attrs: map[string]any{
			"empty": "", "zero": int64(0), "minus": int64(-1), "no": false, "half": 0.5, "nan": math.Inf(1), "none": []string{}, "two": []string{"", "ž"},
			AttrEventName: "another", AttrSessionID: "another", AttrRecordUID: "another",
		}},
	}
	for _, resource := range []map[string]any{res, {}, nil} {
		for n := range len(events) + 1 {
			body, err := encodeOTLP(resource, events[:n])
			if err != nil {
				t.Fatal(err)
			}
			var got collector.ExportLogsServiceRequest
			if err := proto.Unmarshal(body, &got); err != nil {
				t.Fatal(err)
			}
			if want := request(resource, events[:n]); !proto.Equal(want, &got) {
				t.Errorf("%d events: written is\n%v, want\n%v", n, &got, want)
			}
		}
	}
}

func BenchmarkEncodeOTLP(b *testing.B) {
	e := []Event{execEvent(1, time.Now())}
	b.ReportAllocs()
	for range b.N {
		if _, err := encodeOTLP(nil, e); err != nil {
			b.Fatal(err)
		}
	}
}
