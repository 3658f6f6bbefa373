// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"encoding/xml"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon"
	"github.com/seed-649e9bbc/paddock/daemon/approval"
)

// systemd itself reads the unit.
func TestDaemonUnit(t *testing.T) {
	text, err := DaemonUnit("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "paddock.service")
	if err := os.WriteFile(name, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", name).CombinedOutput(); err != nil || strings.Contains(string(out), "paddock") {
		t.Errorf("%v\n%s\n%s", err, out, text)
	}
	for _, line := range []string{"ExecStart=/bin/true daemon", "Type=notify", "KillMode=process"} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
}

// What is installed is where the daemon looks for it, and nobody but root changes it.
func TestLinuxFiles(t *testing.T) {
	files, err := LinuxFiles()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]File{}
	for _, f := range files {
		at[f.Path] = f
		if f.Mode.Perm()&0o022 != 0 || !filepath.IsAbs(f.Path) {
			t.Errorf("%s, mode %v", f.Path, f.Mode)
		}
	}
	c, ok := at[daemon.DefaultCompanion]
	if !ok || c.Mode&fs.ModeSetgid == 0 || c.Group != CompanionGroup {
		t.Errorf("the companion: %+v", c)
	}
	for path, f := range at {
		if f.Mode&fs.ModeSetgid != 0 && path != daemon.DefaultCompanion {
			t.Errorf("%s speaks for people too", path)
		}
	}
	var policy struct {
		Actions []struct {
			ID string `xml:"id,attr"`
		} `xml:"action"`
	}
	if err := xml.Unmarshal(at["/usr/share/polkit-1/actions/dev.paddock.policy"].Text, &policy); err != nil || len(policy.Actions) != 1 || policy.Actions[0].ID != approval.Action {
		t.Errorf("polkit's actions: %+v, %v", policy, err)
	}
	conf := filepath.Join(t.TempDir(), "paddock.conf")
	if err := os.WriteFile(conf, at["/usr/lib/sysusers.d/paddock.conf"].Text, 0o644); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-sysusers", "--root="+root, conf).CombinedOutput(); err != nil {
		t.Fatalf("systemd-sysusers: %v: %s", err, out)
	}
	if group, err := os.ReadFile(filepath.Join(root, "etc/group")); err != nil || !strings.Contains(string(group), CompanionGroup+":") {
		t.Errorf("%v: %s", err, group)
	}
}
