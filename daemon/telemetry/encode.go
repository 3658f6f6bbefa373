// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// encoder writes a batch of events as a sink wants them.
type encoder func(resource map[string]any, events []Event) ([]byte, error)

var encoders = map[Format]encoder{
	FormatOTLP: encodeOTLP, FormatNDJSON: encodeNDJSON, FormatHEC: encodeHEC, FormatOCSF: encodeOCSF,
}

// encodeNDJSON writes what `paddock events --json` shows, and whose it is.
func encodeNDJSON(resource map[string]any, events []Event) ([]byte, error) {
	res := appendAttrs([]byte(`,"resource":`), resource)
	var out []byte
	for i := range events {
		line, err := events[i].MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("event %s cannot be written as JSON: %w", events[i].ID, err)
		}
		out = append(out, line[:len(line)-1]...)
		out = append(out, res...)
		out = append(out, '}', '\n')
	}
	return out, nil
}

// hecEvent follows "Format events for HTTP Event Collector" of Splunk's
// documentation.
type hecEvent struct {
	Time       json.RawMessage `json:"time"` // seconds since 1970
	Host       any             `json:"host,omitempty"`
	Source     string          `json:"source"`
	SourceType string          `json:"sourcetype"`
	Event      Event           `json:"event"`
	Fields     json.RawMessage `json:"fields,omitempty"` // indexed
}

func encodeHEC(resource map[string]any, events []Event) ([]byte, error) {
	var out []byte
	for i := range events {
		e := &events[i]
		fields := map[string]any{AttrRecordUID: e.ID, AttrEventName: e.Name}
		if e.Session != "" {
			fields[AttrSessionID] = e.Session
		}
		line, err := json.Marshal(hecEvent{
			Time: strconv.AppendFloat(nil, float64(e.Time.UnixMilli())/1000, 'f', 3, 64), Host: resource["host.name"],
			Source: "paddock", SourceType: "paddock:event", Event: *e, Fields: appendAttrs(nil, fields),
		})
		if err != nil {
			return nil, fmt.Errorf("event %s cannot be written for Splunk: %w", e.ID, err)
		}
		out = append(append(out, line...), '\n')
	}
	return out, nil
}
