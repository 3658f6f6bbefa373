// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSinks(t *testing.T) {
	req, err := Parse("f", []byte(`
[paddock.telemetry]
endpoint = "https://otel.example.com:4318"
headers_file = "/etc/paddock/otel.headers"
ca_file = "/etc/paddock/ca.pem"
cert_file = "/etc/paddock/cert.pem"
key_file = "/etc/paddock/key.pem"
prompts = "record"
commands = "omit"
secrets = "keep"
[[paddock.telemetry.sinks]]
name = "siem"
type = "splunk_hec"
endpoint = "https://splunk.example.com:8088"
headers.Authorization = "Splunk 1234"
[[paddock.telemetry.sinks]]
name = "lake"
type = "ocsf"
file = "/var/log/paddock/ocsf.ndjson"
`))
	if err != nil {
		t.Fatal(err)
	}
	wantFirst := TelemetrySink{
		Endpoint: "https://otel.example.com:4318", HeadersFile: "/etc/paddock/otel.headers", CAFile: "/etc/paddock/ca.pem",
		CertFile: "/etc/paddock/cert.pem", KeyFile: "/etc/paddock/key.pem",
	}
	if diff := cmp.Diff(wantFirst, req.Telemetry); diff != "" {
		t.Error(diff)
	}
	want := []TelemetrySink{
		{Name: "siem", Type: "splunk_hec", Endpoint: "https://splunk.example.com:8088", Headers: map[string]string{"Authorization": "Splunk 1234"}},
		{Name: "lake", Type: "ocsf", File: "/var/log/paddock/ocsf.ndjson"},
	}
	if diff := cmp.Diff(want, req.Sinks); diff != "" {
		t.Error(diff)
	}
	if !req.Records("prompts") || req.Records("commands") || !req.Records("outputs") || req.Records("environment") || req.Secrets != "keep" {
		t.Errorf("contents are %v, secrets %q", req.Contents, req.Secrets)
	}
}

// No layer makes another one tell more than it wants.
func TestWhatIsRecordedIsWhatEveryLayerAllows(t *testing.T) {
	layer := func(text string) *Requirements {
		r, err := Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	const record = "[paddock.telemetry]\nprompts = \"record\"\nsecrets = \"keep\"\n"
	const omit = "[paddock.telemetry]\nprompts = \"omit\"\noutputs = \"omit\"\nsecrets = \"redact\"\n"
	for _, layers := range [][]*Requirements{{layer(record), layer(omit)}, {layer(omit), layer(record)}} {
		if m := Merge(layers...); m.Records("prompts") || m.Records("outputs") || m.Secrets != "redact" {
			t.Errorf("contents are %v, secrets %q", m.Contents, m.Secrets)
		}
	}
	if m := Merge(layer(record), layer("")); !m.Records("prompts") || m.Secrets != "keep" {
		t.Errorf("contents are %v, secrets %q", m.Contents, m.Secrets)
	}
	codex := layer("otel.log_user_prompt = true\n")
	if m := Merge(codex); !m.Records("prompts") {
		t.Error("Codex's log_user_prompt is not heeded")
	}
	if m := Merge(codex, layer(omit)); m.Records("prompts") {
		t.Error("Codex's log_user_prompt undoes Paddock's own key")
	}
	if Merge().Records("prompts") {
		t.Error("without requirements, prompts are recorded")
	}
	people := layer(record).stricter(layer(""))
	if len(people.Contents) != 0 || people.Secrets != "" {
		t.Errorf("a cohort of people makes others tell more: %v, %q", people.Contents, people.Secrets)
	}
}

// The shortest heartbeat of all layers counts; a bad one is an error in its line.
func TestHeartbeat(t *testing.T) {
	parse := func(text string) *Requirements {
		t.Helper()
		r, err := Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	none, slow, fast := parse(""), parse("[paddock.telemetry]\nheartbeat = 900\n"), parse("[paddock.telemetry]\nheartbeat = 60\n")
	for _, c := range []struct {
		layers []*Requirements
		want   int
	}{{nil, 300}, {[]*Requirements{none}, 300}, {[]*Requirements{none, slow}, 900}, {[]*Requirements{fast, slow}, 60}} {
		if got := Merge(c.layers...).Heartbeat(); got != c.want {
			t.Errorf("%d layers: %d, want %d", len(c.layers), got, c.want)
		}
	}
	for _, bad := range []string{"0", "-1", "86401", "'60'", "1.5"} {
		if _, err := Parse("f", []byte("[paddock.telemetry]\nheartbeat = "+bad)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
