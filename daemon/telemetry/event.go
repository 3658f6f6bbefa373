// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"fmt"
	"time"
)

// Event is one telemetry record: something that happened, at a time, of a kind
// that its name says.
type Event struct {
	ID       string         // ULID; Record makes one when it is empty. The same on every delivery
	Seq      int64          // place in the store, from 1 without holes; set when it is stored, 0 before
	Time     time.Time      // when it happened; Record takes the present when it is zero
	Name     string         // one of the Name constants
	Severity Severity       //
	Session  string         // ID of the session, empty if none
	Attrs    map[string]any // string, int64, float64, bool, []string; see Record for other types
	Owed     bool           // Store.Owe has counted it already; not stored
}

// Severity says how much an event matters to who watches.
type Severity int

// Severities, as OpenTelemetry's logs data model counts them. The zero value
// stands for Info.
const (
	Info  Severity = 9
	Warn  Severity = 13
	Error Severity = 17
)

// String returns info, warn or error.
func (s Severity) String() string {
	switch s {
	case 0, Info:
		return "info"
	case Warn:
		return "warn"
	case Error:
		return "error"
	}
	return fmt.Sprintf("severity(%d)", int(s))
}

// ParseSeverity is the reverse of String.
func ParseSeverity(s string) (Severity, error) {
	for _, severity := range []Severity{Info, Warn, Error} {
		if severity.String() == s {
			return severity, nil
		}
	}
	return 0, fmt.Errorf("unknown severity %q (one of info, warn, error)", s)
}

func (s Severity) check() error {
	switch s {
	case 0, Info, Warn, Error:
		return nil
	}
	return fmt.Errorf("unknown severity %d (one of %d, %d, %d)", int(s), int(Info), int(Warn), int(Error))
}

// eventJSON is the form of an event outside of Go: API, `paddock events --json`.
type eventJSON struct {
	Seq        int64           `json:"seq"`
	ID         string          `json:"id"`
	Time       time.Time       `json:"time"`
	Name       string          `json:"name"`
	Severity   string          `json:"severity"`
	Session    string          `json:"session,omitempty"`
	Attributes json.RawMessage `json:"attributes,omitempty"`
}

// MarshalJSON writes an object of seq, id, time (RFC 3339, UTC), name,
// severity, session and attributes. A float64 keeps its decimal point, so that
// UnmarshalJSON gives the same types back.
func (e Event) MarshalJSON() ([]byte, error) {
	out := eventJSON{
		Seq: e.Seq, ID: e.ID, Time: e.Time.UTC(), Name: e.Name, Severity: e.Severity.String(), Session: e.Session,
	}
	if len(e.Attrs) > 0 {
		out.Attributes = appendAttrs(nil, e.Attrs)
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *Event) UnmarshalJSON(b []byte) error {
	var in eventJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return fmt.Errorf("reading an event: %w", err)
	}
	severity, err := ParseSeverity(in.Severity)
	if err != nil {
		return fmt.Errorf("reading event %s: %w", in.ID, err)
	}
	attrs, err := parseAttrs(in.Attributes)
	if err != nil {
		return fmt.Errorf("reading event %s: %w", in.ID, err)
	}
	*e = Event{
		Seq: in.Seq, ID: in.ID, Time: in.Time, Name: in.Name, Severity: severity, Session: in.Session, Attrs: attrs,
	}
	return nil
}
