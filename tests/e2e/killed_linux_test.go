// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// steady has a terminal run one program after another until the file "enough" is there, and then say how many it ran.
func (s *terminal) steady(pause string) {
	s.send("n=0; while [ ! -e enough ]; do /bin/true; n=$((n+1)); " + pause + "done; echo ran $n")
}

// enough ends that and returns the number.
func (m *machine) enough(s *terminal) int {
	m.t.Helper()
	must(m.t, os.WriteFile(m.dir+"/enough", nil, 0o644))
	for {
		if text, ok := strings.CutPrefix(s.line(), "ran "); ok { // the shell also says what was killed
			n, err := strconv.Atoi(text)
			must(m.t, err)
			return n
		}
	}
}

// books are what events tell of programs, and of what is missing.
type books struct {
	execs, exits, missing int64
	unknown               []telemetry.Event // gaps without a number
}

func (b *books) add(e telemetry.Event) {
	switch e.Name {
	case telemetry.NameProcessExec, telemetry.NameHoldKilled:
		if text(e, telemetry.AttrProcessExecutableName) == "true" {
			b.execs++
		}
	case telemetry.NameProcessExit:
		b.exits++
	case telemetry.NameTelemetryGap:
		n, known := e.Attrs[telemetry.AttrGapCount].(int64)
		if !known {
			b.unknown = append(b.unknown, e)
		}
		b.missing += n
	}
}

// Killed at any moment, the daemon loses what it had in memory, and its successor tells how much that was: to the last
// event.
func TestWhatAKillCostsIsTold(t *testing.T) {
	m := newMachine(t, base)
	m.detach = false
	m.start()
	s := m.terminal()
	s.do("/bin/true") // remembered from now on
	m.events.exec(m.events.named(telemetry.NameSessionStart, "").Session, "true")
	s.steady("")
	for i := range 3 {
		// After so many more were stored: some are always on their way.
		seen, wanted := 0, 40+37*i
		m.events.wait("programs", func(e telemetry.Event) bool {
			if e.Name == telemetry.NameProcessExec {
				seen++
			}
			return seen >= wanted
		})
		m.kill()
		m.start()
	}
	n := int64(m.enough(s) + 1)
	m.stop()
	m.start() // what was in the rings is read; of the shell, which still lives, there is no exit
	var b books
	for _, e := range m.allEvents() {
		b.add(e)
	}
	t.Logf("%d programs: %d execs and %d exits are stored, %d are told to be missing", n, b.execs, b.exits, b.missing)
	if b.execs+b.exits+b.missing != 2*n || len(b.unknown) > 0 {
		t.Errorf("%d programs ran and ended: %d execs, %d exits, %d missing; without a number %v", n, b.execs, b.exits, b.missing, b.unknown)
	}
	if b.missing == 0 {
		t.Error("nothing was lost: the test is too kind")
	}
	m.balanced(m.status())
}

// allEvents returns every stored event.
func (m *machine) allEvents() []telemetry.Event {
	m.t.Helper()
	var out []telemetry.Event
	text, errs, code := m.cli("events", "--json", "--limit", "0")
	if code != 0 {
		m.t.Fatalf("paddock events: %d, %s", code, errs)
	}
	for line := range strings.Lines(text) {
		var e telemetry.Event
		must(m.t, e.UnmarshalJSON([]byte(line)))
		out = append(out, e)
	}
	return out
}
