// SPDX-License-Identifier: Apache-2.0

package rig

import (
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Record is all that a receiver sees of an event.
type Record struct {
	Name          string
	Time, Seen    uint64
	Severity      int32
	SeverityText  string
	Body          string
	Attributes    map[string]any
	Resource      map[string]any
	Scope, Schema string
}

// Form is a record that arrived.
func Form(r Arrived) Record {
	return Record{
		Name: r.GetEventName(), Time: r.GetTimeUnixNano(), Seen: r.GetObservedTimeUnixNano(),
		Severity: int32(r.GetSeverityNumber()), SeverityText: r.GetSeverityText(), Body: r.GetBody().GetStringValue(),
		Attributes: Values(r.GetAttributes()), Resource: Values(r.resource.GetAttributes()), Scope: r.scope, Schema: r.schema,
	}
}

// Expected is how an event, as the store has it, must arrive from a machine with this resource.
func Expected(e telemetry.Event, resource map[string]any) Record {
	attrs := map[string]any{telemetry.AttrRecordUID: e.ID, telemetry.AttrEventName: e.Name}
	if e.Session != "" {
		attrs[telemetry.AttrSessionID] = e.Session
	}
	for key, value := range e.Attrs {
		attrs[key] = value
	}
	at := uint64(e.Time.UnixNano())
	return Record{
		Name: e.Name, Time: at, Seen: at, Severity: int32(e.Severity), Attributes: attrs,
		Resource: resource,
		Scope:    "paddock", Schema: telemetry.SchemaURL,
	}
}

// Values are attributes in the forms that an Event has.
func Values(attributes []*common.KeyValue) map[string]any {
	out := map[string]any{}
	for _, a := range attributes {
		out[a.GetKey()] = value(a.GetValue())
	}
	return out
}

func value(v *common.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_IntValue:
		return v.IntValue
	case *common.AnyValue_DoubleValue:
		return v.DoubleValue
	case *common.AnyValue_BoolValue:
		return v.BoolValue
	case *common.AnyValue_ArrayValue:
		list := []string{}
		for _, element := range v.ArrayValue.GetValues() {
			list = append(list, element.GetStringValue())
		}
		return list
	}
	return v
}
