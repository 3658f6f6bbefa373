// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"howett.net/plist"
)

// systemd itself reads the unit.
func TestCompanionUnit(t *testing.T) {
	text, err := CompanionUnit("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "paddock-companion.service")
	if err := os.WriteFile(name, text, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("systemd-analyze", "verify", "--user", "--man=no", "--recursive-errors=no", name)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "paddock") {
		t.Errorf("%v\n%s\n%s", err, out, text)
	}
	if !strings.Contains(string(text), "\nExecStart=/bin/true companion\n") || !strings.Contains(string(text), "\nNoNewPrivileges=no\n") {
		t.Errorf("%s", text)
	}
}

// What administrators read is what packages install.
func TestDocsHaveTheUnit(t *testing.T) {
	docs, err := os.ReadFile("../docs/approvals.md")
	if err != nil {
		t.Fatal(err)
	}
	unit, err := CompanionUnit("/usr/libexec/paddock/companion")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(docs), "```ini\n"+string(unit)+"```\n") {
		t.Errorf("docs/approvals.md does not have the unit as it is:\n%s", unit)
	}
}

func TestCompanionAgent(t *testing.T) {
	text, err := CompanionAgent("/Library/Paddock/companion")
	if err != nil {
		t.Fatal(err)
	}
	var got launchAgent
	if _, err := plist.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if strings.Join(got.ProgramArguments, " ") != "/Library/Paddock/companion companion" || !got.RunAtLoad || !got.KeepAlive || got.LimitLoadToSessionType != "Aqua" || got.Label != CompanionLabel {
		t.Errorf("%+v\n%s", got, text)
	}
}

func TestProgramThatWouldBeSomethingElse(t *testing.T) {
	for _, program := range []string{"", "companion", "/a b", "/a;b", "/a\nExecStart=/b", `/a"b`, "/$HOME/x"} {
		if text, err := CompanionUnit(program); err == nil {
			t.Errorf("%q: %s", program, text)
		}
		if text, err := CompanionAgent(program); err == nil {
			t.Errorf("%q: %s", program, text)
		}
		if text, err := DaemonUnit(program); err == nil {
			t.Errorf("%q: %s", program, text)
		}
	}
}
