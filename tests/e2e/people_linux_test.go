// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"io"
	"strings"
	"testing"
)

const pilot = `
[[paddock.cohort]]
name = "pilot"
groups = ["nogroup"]
[paddock.cohort.requirements.paddock]
mode = "enforce"
[[paddock.cohort.requirements.rules.prefix_rules]]
pattern = [{ token = "ls" }]
decision = "forbidden"
justification = "for the pilot"
`

// nobodys is an agent of somebody who is in the group.
func (m *machine) nobodys(script string) (*process, io.Writer) {
	m.t.Helper()
	agent := as(65534, m.agent, "-c", script)
	agent.cmd.Dir = m.dir
	in, err := agent.cmd.StdinPipe()
	must(m.t, err)
	agent.start(m.t)
	return agent, in
}

// Where commands are held, a cohort of people is in force from the first command of
// the first agent that one of them starts: before that, for nobody, and from then on
// for everybody.
func TestCohortOfPeople(t *testing.T) {
	m := started(t, "[paddock]\nmode = \"enforce\"\n"+pilot)
	if out, err := m.run("/bin/ls box; /bin/true"); err != nil || !strings.Contains(out, listed) {
		t.Errorf("root, before anybody of the cohort came: %q, %v", out, err)
	}
	if s := m.status(); s.Policy.Rules != 0 {
		t.Errorf("status: %+v", s.Policy)
	}
	agent, _ := m.nobodys("/bin/ls box; /bin/echo end")
	agent.wait(t)
	if out := agent.out.String(); strings.Contains(out, listed) || !strings.Contains(out, "for the pilot") || !strings.HasSuffix(out, "end\n") {
		t.Errorf("somebody of the cohort: %q, %v", out, agent.err)
	}
	if s := m.status(); s.Policy.Rules != 1 || len(s.Policy.Incidents) > 0 {
		t.Errorf("status: %+v", s.Policy)
	}
	if out, _ := m.run("/bin/ls box"); strings.Contains(out, listed) {
		t.Errorf("root, since then: %q", out)
	}
}

// Also the mode may be that of a cohort of people, and another daemon knows who was
// there.
func TestCohortOfPeopleEnforces(t *testing.T) {
	m := started(t, "[paddock]\nmode = \"observe\"\n"+pilot)
	if out, err := m.run("/bin/ls box; /bin/true"); err != nil || !strings.Contains(out, listed) {
		t.Errorf("root, before anybody of the cohort came: %q, %v", out, err)
	}
	applied := m.events.applied(0)
	agent, in := m.nobodys("read line; /bin/ls box; /bin/echo end")
	m.events.applied(applied)
	_, err := in.Write([]byte("\n"))
	must(t, err)
	agent.wait(t)
	if out := agent.out.String(); strings.Contains(out, listed) || !strings.HasSuffix(out, "end\n") {
		t.Errorf("somebody of the cohort: %q", out)
	}
	m.stop()
	m.start()
	if s := m.status(); s.Mode != "enforce" || s.Policy.Rules != 1 {
		t.Errorf("after a restart: %s, %+v", s.Mode, s.Policy)
	}
}
