// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/otelcol/rig"
)

// awaitStatus asks for the status until it is as wanted.
func (m *machine) awaitStatus(what string, ok func(api.Status) bool) {
	m.t.Helper()
	deadline := after()
	for {
		s := m.status()
		if ok(s) {
			return
		}
		select {
		case <-deadline:
			m.t.Fatalf("waiting for %s: sinks are %+v", what, s.Sinks)
		default:
		}
	}
}

// Where events go changes with the requirements, while the daemon runs; what is
// secret goes nowhere.
func TestSinksFollowTheRequirements(t *testing.T) {
	m := started(t, base)
	if s := m.status(); len(s.Sinks) != 0 {
		t.Errorf("sinks without requirements: %+v", s.Sinks)
	}
	events, ocsf := m.path("sink.ndjson"), m.path("sink.ocsf")
	m.require(base + "\n[[paddock.telemetry.sinks]]\nname = \"lines\"\ntype = \"ndjson\"\nfile = \"" + events + "\"\n" +
		"[[paddock.telemetry.sinks]]\nname = \"lake\"\ntype = \"ocsf\"\nfile = \"" + ocsf + "\"\n")
	m.awaitStatus("two sinks", func(s api.Status) bool { return len(s.Sinks) == 2 })
	_, err := m.run("env true --password hunter2")
	must(t, err)
	m.awaitStatus("everything to be sent", func(s api.Status) bool {
		done := true
		for _, sink := range s.Sinks {
			data, _ := os.ReadFile(sink.Where)
			done = done && sink.Waiting == 0 && sink.State == "sending" && bytes.Contains(data, []byte("--password"))
		}
		return done
	})
	for file, wants := range map[string][]string{
		events: {`"paddock.process.exec"`, `"paddock.session.start"`, "[redacted:password:"},
		ocsf:   {`"class_uid":1007`, `"class_uid":5019`, "[redacted:password:"},
	} {
		data, err := os.ReadFile(file)
		must(t, err)
		for _, want := range wants {
			if !bytes.Contains(data, []byte(want)) {
				t.Errorf("%s has no %s", file, want)
			}
		}
		if bytes.Contains(data, []byte("hunter2")) {
			t.Errorf("%s has the password", file)
		}
	}
	m.require(strings.Replace(base, "\n", "\n\n", 1))
	m.awaitStatus("no sink", func(s api.Status) bool { return len(s.Sinks) == 0 })
}

// A sink that speaks Splunk's protocol has a wrong token: people are told so, and nothing is lost until it is put right.
func TestSplunkSinkWithAWrongToken(t *testing.T) {
	hec := rig.NewHEC(t)
	hec.Start()
	m := started(t, base)
	secrets := m.path("hec.headers")
	must(t, os.WriteFile(secrets, []byte("Authorization: "+rig.Authorization(false)+"\n"), 0o600))
	m.require(base + "\n[[paddock.telemetry.sinks]]\nname = \"siem\"\ntype = \"splunk_hec\"\nendpoint = \"" + hec.Endpoint() + "\"\nheaders_file = \"" + secrets + "\"\n")
	_, err := m.run("env true")
	must(t, err)
	failing := func(s api.Status) bool {
		return len(s.Sinks) == 1 && s.Sinks[0].State == api.SinkFailing && s.Sinks[0].Waiting > 0
	}
	m.awaitStatus("the token to be refused", failing)
	out, _, code := m.cli("status")
	if want := "events do not reach siem: 401 Unauthorized"; code != 3 || !strings.Contains(out, want) {
		t.Errorf("paddock status ends with %d, want %q in\n%s", code, want, out)
	}
	must(t, os.WriteFile(secrets, []byte("Authorization: "+rig.Authorization(true)+"\n"), 0o600))
	m.awaitStatus("everything to be sent", func(s api.Status) bool {
		return len(s.Sinks) == 1 && s.Sinks[0].State == "sending" && s.Sinks[0].Waiting == 0
	})
	text, errs, code := m.cli("events", "--json", "--limit", "0")
	if code != 0 {
		t.Fatalf("paddock events: %d, %s", code, errs)
	}
	there := map[string]bool{}
	for _, e := range hec.Events() {
		there[e.ID] = true
	}
	for line := range strings.Lines(text) {
		var e telemetry.Event
		must(t, json.Unmarshal([]byte(line), &e))
		if !there[e.ID] {
			t.Errorf("%s %s did not arrive", e.Name, e.ID)
		}
	}
}
