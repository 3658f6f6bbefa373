// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// rejections are the records of one request that are not taken, by cause.
type rejections map[string]refusal

func (r rejections) count() int64 {
	n := int64(0)
	for _, one := range r {
		n += one.count
	}
	return n
}

func (r rejections) why() string {
	var causes []string
	for _, one := range r {
		causes = append(causes, one.detail)
	}
	return strings.Join(causes, "; ")
}

func (r rejections) add(one refusal) {
	if before, ok := r[one.cause+one.claim]; ok {
		one.count += before.count
	}
	r[one.cause+one.claim] = one
}

// maxText bounds what is repeated of a sender's own words, in bytes.
const maxText = 200

// admit makes events of the records that the session may have.
func (r *Receiver) admit(sender Sender, records []record) ([]telemetry.Event, rejections) {
	events := make([]telemetry.Event, 0, len(records))
	rejected := rejections{}
	for i := range records {
		e, dropped := r.event(sender, &records[i])
		one := refusal{sender: sender, count: 1}
		claimed, _ := e.Attrs[telemetry.RecordPrefix+telemetry.AttrSessionID].(string)
		thread, _ := e.Attrs[telemetry.AttrThreadID].(string)
		switch {
		case claimed != "" && claimed != sender.Session:
			one.cause, one.claim = telemetry.RefusedSession, claimed
			one.detail = "it says that it is of session " + cut(claimed)
		default:
			name, _ := e.Attrs[telemetry.AttrRecordName].(string)
			if one.cause = r.sessions.admit(sender.Session, e.Name+" "+name, thread, weight(e.Attrs)); one.cause == telemetry.RefusedThread {
				one.claim = thread
			}
			one.detail = details[one.cause]
		}
		if one.cause != "" {
			one.claim = cut(one.claim)
			rejected.add(one)
			continue
		}
		if dropped > 0 {
			e.Attrs[telemetry.AttrRecordDropped] = int64(dropped)
		}
		events = append(events, e)
	}
	return events, rejected
}

// weight is about how many bytes attributes take on the disk.
func weight(attrs map[string]any) int {
	n := 0
	for key, v := range attrs {
		n += len(key) + size(v)
	}
	return n
}

var details = map[string]string{
	telemetry.RefusedThread:      "it is of a conversation that another session has",
	telemetry.RefusedRate:        "more records, or bytes of them, than a session may send in this time",
	telemetry.RefusedCardinality: "more names of records than a session may use",
}

func cut(s string) string {
	if len(s) > maxText {
		return strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}
