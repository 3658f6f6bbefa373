// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/api"
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
