// SPDX-License-Identifier: Apache-2.0

package join

import (
	"strings"
	"testing"
	"time"
)

func TestAlerts(t *testing.T) {
	at := time.Date(2026, 11, 25, 12, 0, 4, 0, time.UTC)
	for name, c := range map[string]struct {
		alert string
		want  []Subject
	}{
		"OCSF": {
			`{"class_uid":2004,"time":1795608004000,"evidences":[{"process":{"pid":21,"cmd_line":"curl https://example.com/x"},"dst_endpoint":{"ip":"93.184.216.34"}}]}`,
			[]Subject{{Kind: KindPID, Value: "21", At: at}, {Kind: KindCommand, Value: "curl https://example.com/x", At: at}, {Kind: KindHost, Value: "93.184.216.34", At: at}},
		},
		"ECS, as Elastic wraps it": {
			`{"_source":{"@timestamp":"2026-11-25T12:00:04Z","process":{"pid":21},"file":{"path":"/etc/shadow"}}}`,
			[]Subject{{Kind: KindPID, Value: "21", At: at}, {Kind: KindFile, Value: "/etc/shadow", At: at}},
		},
		"Defender": {
			`{"Timestamp":"2026-11-25T12:00:04Z","InitiatingProcessId":21,"RemoteUrl":"https://example.com/x"}`,
			[]Subject{{Kind: KindPID, Value: "21", At: at}, {Kind: KindHost, Value: "example.com", At: at}},
		},
		"Falco": {
			`{"output_fields":{"evt.time":1795608004000000000,"proc.pid":21,"proc.cmdline":"curl x","fd.name":"10.0.0.1:1->1.2.3.4:443"}}`,
			[]Subject{{Kind: KindPID, Value: "21", At: at}, {Kind: KindCommand, Value: "curl x", At: at}},
		},
		"our own event": {
			`{"seq":5,"id":"01JZ0000000000000000000EVT","name":"paddock.process.exec","attributes":{"process.pid":21}}`,
			[]Subject{{Kind: KindEvent, Value: "01JZ0000000000000000000EVT"}, {Kind: KindPID, Value: "21"}},
		},
	} {
		got, err := ParseAlert([]byte(c.alert))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
			continue
		}
		for i := range got {
			if got[i].Kind != c.want[i].Kind || got[i].Value != c.want[i].Value || !got[i].At.Equal(c.want[i].At) {
				t.Errorf("%s: %v, want %v", name, got[i], c.want[i])
			}
		}
	}
	for _, bad := range []string{``, `{`, `[]`, `{"hello":"world"}`, strings.Repeat(`[`, 10_000), `{"process":{"pid":"no"}}`} {
		if got, err := ParseAlert([]byte(bad)); err == nil {
			t.Errorf("%.20q is an alert: %v", bad, got)
		}
	}
}

func TestAlertIsExplained(t *testing.T) {
	subjects, err := ParseAlert([]byte(`{"process":{"pid":99999,"command_line":"curl https://example.com/x"}}`))
	if err != nil {
		t.Fatal(err)
	}
	m := codex().memory
	story, err := ExplainFirst(func(s Subject) (*Story, error) { return Explain(t.Context(), m, s, everything) }, subjects)
	if err != nil || story.Call == nil || story.Call.ID != "call_1" || story.Subject.Kind != KindCommand {
		t.Errorf("%+v, %v", story, err)
	}
}

func FuzzParseAlert(f *testing.F) {
	f.Add([]byte(`{"process":{"pid":21},"@timestamp":"2026-11-25T12:00:04Z"}`))
	f.Add([]byte(`{"output_fields":{"evt.time":1e300}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		subjects, err := ParseAlert(data)
		if err == nil && len(subjects) == 0 {
			t.Error("an alert about nothing")
		}
		for _, s := range subjects {
			if err := s.Check(); err != nil && s.Kind != KindEvent {
				t.Error(err)
			}
		}
	})
}
