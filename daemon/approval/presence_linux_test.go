// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"bufio"
	"encoding/xml"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

// authority answers on a real bus as polkit's does, with what the test says.
type authority struct {
	result struct {
		Authorized, Challenge bool
		Details               map[string]string
	}
	fail  *dbus.Error
	calls chan authorityCall
}

type authorityCall struct {
	kind    string
	subject map[string]dbus.Variant
	action  string
	details map[string]string
	flags   uint32
}

type authoritySubject struct {
	Kind    string
	Details map[string]dbus.Variant
}

// CheckAuthorization is polkit's.
func (a *authority) CheckAuthorization(s authoritySubject, action string, details map[string]string, flags uint32, _ string) (struct {
	Authorized, Challenge bool
	Details               map[string]string
}, *dbus.Error,
) {
	a.calls <- authorityCall{s.Kind, s.Details, action, details, flags}
	return a.result, a.fail
}

// privateBus starts a bus of the test's own.
func privateBus(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("dbus-daemon", "--session", "--nofork", "--print-address")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting a bus: %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("starting a bus: %v", err)
	}
	return strings.TrimSpace(line)
}

func TestHighRiskNeedsPresence(t *testing.T) {
	bus := privateBus(t)
	people := &People{Bus: bus}
	who := Process{PID: os.Getpid(), UID: uint32(os.Getuid())}
	a := &Approval{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Kind: Command, Agent: "codex", Risk: "privilege", Subject: Subject{Argv: []string{"sudo", "$(id)\x1b[2J"}}}

	const onTerminal = "terminal pts/1"
	// Nobody has the name: a terminal is enough, nothing is not.
	if proof, err := people.Prove(t.Context(), who, a, onTerminal); err != nil || proof != onTerminal {
		t.Errorf("on a terminal, without polkit: %q, %v", proof, err)
	}
	if proof, err := people.Prove(t.Context(), who, a, ""); err == nil || !strings.Contains(err.Error(), "paddock approve "+a.ID) {
		t.Errorf("in a notification, without polkit: %q, %v", proof, err)
	}

	conn, err := dbus.Connect(bus)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	polkit := &authority{calls: make(chan authorityCall, 1)}
	if err := conn.Export(polkit, "/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.PolicyKit1.Authority"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName("org.freedesktop.PolicyKit1", dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name                  string
		authorized, challenge bool
		fail                  *dbus.Error
		terminal, want        string // want "": refused
	}{
		{"password given", true, false, nil, "", "polkit"},
		{"dismissed", false, false, nil, "", ""},
		{"dismissed, on a terminal", false, false, nil, onTerminal, ""},
		{"no agent to ask", false, true, nil, "", ""},
		{"no agent to ask, on a terminal", false, true, nil, onTerminal, onTerminal},
		{"the action is not installed", false, false, dbus.MakeFailedError(os.ErrNotExist), "", ""},
	} {
		polkit.result.Authorized, polkit.result.Challenge, polkit.fail = test.authorized, test.challenge, test.fail
		proof, err := people.Prove(t.Context(), who, a, test.terminal)
		if proof != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: %q, %v", test.name, proof, err)
		}
		c := <-polkit.calls
		if c.kind != "unix-process" || c.subject["pid"].Value() != uint32(who.PID) || c.subject["uid"].Value() != int32(who.UID) ||
			c.action != Action || c.flags != 1 || c.subject["start-time"].Value().(uint64) == 0 {
			t.Errorf("%s: asked %+v", test.name, c)
		}
		if text := c.details["polkit.message"]; !strings.Contains(text, "sudo") || strings.ContainsAny(text, "$\x1b") {
			t.Errorf("%s: the password is asked for with %q", test.name, text)
		}
	}
}

func TestPolkitPolicyNamesTheAction(t *testing.T) {
	var doc struct {
		Actions []struct {
			ID       string `xml:"id,attr"`
			Defaults struct {
				Any      string `xml:"allow_any"`
				Inactive string `xml:"allow_inactive"`
				Active   string `xml:"allow_active"`
			} `xml:"defaults"`
		} `xml:"action"`
	}
	if err := xml.Unmarshal([]byte(PolkitPolicy), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Actions) != 1 || doc.Actions[0].ID != Action {
		t.Fatalf("actions: %+v", doc.Actions)
	}
	if d := doc.Actions[0].Defaults; d.Any != "auth_self" || d.Inactive != "auth_self" || d.Active != "auth_self" {
		t.Errorf("somebody need not authenticate: %+v", d)
	}
}
