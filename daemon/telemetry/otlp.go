// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// SchemaURL is the version of OpenTelemetry's semantic conventions that the
// names of attributes follow.
const SchemaURL = "https://opentelemetry.io/schemas/1.38.0"

// scope is the instrumentation scope of every event.
const scope = "paddock"

// Numbers of fields in OTLP 1.9: opentelemetry/proto/{collector/logs,logs,common,resource}/v1.
const (
	requestResourceLogs = 1

	resourceLogsResource  = 1
	resourceLogsScopeLogs = 2
	resourceLogsSchemaURL = 3

	resourceAttributes = 1

	scopeLogsScope     = 1
	scopeLogsRecords   = 2
	scopeLogsSchemaURL = 3

	scopeName    = 1
	scopeVersion = 2

	recordTime         = 1
	recordSeverity     = 2
	recordAttributes   = 6
	recordObservedTime = 11
	recordEventName    = 12

	keyValueKey   = 1
	keyValueValue = 2

	anyString = 1
	anyBool   = 2
	anyInt    = 3
	anyDouble = 4
	anyArray  = 5

	arrayValues = 1
)

// encodeOTLP writes an OTLP export of events, in their order. Attributes are
// sorted by name: the same event is the same bytes on every delivery.
//
// It is written by hand, since the generated types want three objects for each
// attribute; a test holds it to them.
func encodeOTLP(resource map[string]any, events []Event) ([]byte, error) {
	var w otlpWriter
	var res []byte
	res = w.attributes(res, resourceAttributes, resource, nil)
	version, _ := resource["service.version"].(string)
	inScope := stringField(stringField(nil, scopeName, scope), scopeVersion, version)

	scoped := bytesField(make([]byte, 0, 1024*len(events)), scopeLogsScope, inScope)
	var record []byte
	for i := range events {
		record = w.record(record[:0], &events[i])
		scoped = bytesField(scoped, scopeLogsRecords, record)
	}
	scoped = stringField(scoped, scopeLogsSchemaURL, SchemaURL)

	logs := bytesField(make([]byte, 0, len(scoped)+len(res)+256), resourceLogsResource, res)
	logs = stringField(bytesField(logs, resourceLogsScopeLogs, scoped), resourceLogsSchemaURL, SchemaURL)
	return bytesField(make([]byte, 0, len(logs)+16), requestResourceLogs, logs), nil
}

// otlpWriter keeps what one event is written with for the next one.
type otlpWriter struct {
	list  []pair
	value []byte
	array []byte
	entry []byte
}

// record follows OpenTelemetry's conventions for events: name and time set, a
// severity number but no text, no body.
func (w *otlpWriter) record(b []byte, e *Event) []byte {
	at := uint64(e.Time.UnixNano())
	b = protowire.AppendFixed64(protowire.AppendTag(b, recordTime, protowire.Fixed64Type), at)
	b = protowire.AppendVarint(protowire.AppendTag(b, recordSeverity, protowire.VarintType), uint64(e.Severity))
	own := [3]pair{{AttrEventName, e.Name}, {AttrRecordUID, e.ID}, {AttrSessionID, e.Session}}
	n := len(own)
	if e.Session == "" {
		n--
	}
	b = w.attributes(b, recordAttributes, e.Attrs, own[:n])
	b = protowire.AppendFixed64(protowire.AppendTag(b, recordObservedTime, protowire.Fixed64Type), at)
	return stringField(b, recordEventName, e.Name)
}

// attributes writes attrs and own, sorted; an attribute of the event's own cannot
// pose as its identity.
func (w *otlpWriter) attributes(b []byte, field protowire.Number, attrs map[string]any, own []pair) []byte {
	w.list = append(w.list[:0], own...)
	for key, value := range attrs {
		if !slices.ContainsFunc(own, func(p pair) bool { return p.key == key }) {
			w.list = append(w.list, pair{key, value})
		}
	}
	slices.SortFunc(w.list, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	for _, p := range w.list {
		w.value = w.any(w.value[:0], p.value)
		w.entry = bytesField(stringField(w.entry[:0], keyValueKey, p.key), keyValueValue, w.value)
		b = bytesField(b, field, w.entry)
	}
	return b
}

// any writes an AnyValue, in which what is empty is written too.
func (w *otlpWriter) any(b []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		return protowire.AppendString(protowire.AppendTag(b, anyString, protowire.BytesType), v)
	case int64:
		return protowire.AppendVarint(protowire.AppendTag(b, anyInt, protowire.VarintType), uint64(v))
	case float64:
		return protowire.AppendFixed64(protowire.AppendTag(b, anyDouble, protowire.Fixed64Type), math.Float64bits(v))
	case bool:
		return protowire.AppendVarint(protowire.AppendTag(b, anyBool, protowire.VarintType), protowire.EncodeBool(v))
	case []string:
		w.array = w.array[:0]
		for _, s := range v {
			size := protowire.SizeTag(anyString) + protowire.SizeBytes(len(s))
			w.array = protowire.AppendVarint(protowire.AppendTag(w.array, arrayValues, protowire.BytesType), uint64(size))
			w.array = protowire.AppendString(protowire.AppendTag(w.array, anyString, protowire.BytesType), s)
		}
		return bytesField(b, anyArray, w.array)
	}
	return b // the store holds no other type
}

func bytesField(b []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), value)
}

// stringField writes a string that, when it is empty, is as good as left out.
func stringField(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}
