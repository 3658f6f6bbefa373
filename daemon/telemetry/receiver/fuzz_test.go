// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	logsservice "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
)

// FuzzDecode: whatever comes, it is an error or records that become events.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("../../../tests/samples/codex-otel/exec-hello.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no samples", err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		f.Fatal(err)
	}
	data = data[:min(len(data), 1<<20)]
	f.Add(data, true, byte(0))
	in := &logsservice.ExportLogsServiceRequest{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, in); err != nil {
		f.Fatal(err)
	}
	packed, err := proto.Marshal(in)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed, false, byte(0))
	for i, m := range []proto.Message{someMetrics(), someSpans()} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, false, byte(i+1))
	}
	r := New(Config{})
	f.Fuzz(func(t *testing.T, body []byte, asJSON bool, which byte) {
		all := signals()
		records, err := all[int(which)%len(all)].decode(body, asJSON, 10_000)
		if err != nil {
			return
		}
		events, rejected := r.admit(agentA, records)
		if int64(len(events))+rejected.count() != int64(len(records)) {
			t.Errorf("%d records: %d events, %d rejected", len(records), len(events), rejected.count())
		}
		for _, e := range events {
			if e.Session != sessionA || e.Name == "" || e.Time.IsZero() {
				t.Errorf("an event of nobody: %+v", e)
			}
		}
	})
}
