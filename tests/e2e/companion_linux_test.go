// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/companion"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/desktop"
)

// installCompanion installs the companion's program as an administrator does.
func installCompanion(t *testing.T, m *machine) string {
	t.Helper()
	const group = 60123
	path := m.path("companion")
	copyFile(t, shared.paddock, path)
	must(t, os.Chown(path, 0, group))
	must(t, os.Chmod(path, 0o755|os.ModeSetgid))
	return path
}

// companion runs it where it finds the daemon and the bus in their usual places: as the
// installed program it looks nowhere else.
func (m *machine) companion(d *desktop.Desktop, program string) *process {
	m.t.Helper()
	p := newProcess("unshare", "--mount", "--propagation", "private", "sh", "-ec", fmt.Sprintf(`
mount -t tmpfs tmpfs /run
mkdir -p /run/paddock /run/user/%d
mount --bind %s /run/paddock
mount --bind %s /run/user/%d
exec %s companion --debug`, os.Getuid(), m.path("run"), filepath.Dir(strings.TrimPrefix(d.Bus, "unix:path=")), os.Getuid(), program))
	p.start(m.t)
	p.says(m.t, "following the daemon's questions")
	return p
}

// A held command, a real notification, a real click: and an agent that tries to do
// without the click.
func TestCompanion(t *testing.T) {
	if emulated() {
		return // the screen is not what differs there
	}
	m := newMachine(t, askRules)
	m.tool()
	program := installCompanion(t, m)
	m.more = append(m.more, "--companion", program)
	m.start()
	d := desktop.Start(t)
	server := d.Serve("notification-daemon")
	c := m.companion(d, program)
	s := m.terminal()

	press := func(button int) {
		t.Helper()
		c.says(t, "buttons=true")
		buttons := d.Buttons(3)
		time.Sleep(companion.DefaultReadTime) // a person reads
		d.Click(buttons[button], 1)
	}
	s.ask("clicked")
	id := m.question("clicked")
	if m.exists("clicked") {
		t.Error("it ran before anybody answered")
	}
	press(1)
	s.wants("code-0")
	session := m.events.named(telemetry.NameSessionStart, "").Session
	e := m.events.exec(session, "pdk-tool", "clicked")
	if text(e, telemetry.AttrApprovalID) != id || text(e, telemetry.AttrApprovalBy) != "companion" || text(e, telemetry.AttrApprovalScope) != "once" {
		t.Errorf("the exec's event: %v", e.Attrs)
	}

	s.ask("denied")
	m.question("denied")
	press(0)
	if line := s.line(); line != "Killed" && line != "code-137" {
		t.Errorf("the refused process: %q", line)
	} else if line == "Killed" {
		s.wants("code-137")
	}

	// The agent forges the server's signals, on the bus of its user.
	other := m.terminal()
	other.ask("forged")
	m.question("forged")
	c.says(t, "buttons=true")
	d.Buttons(3)
	for id := range 8 {
		for _, member := range []string{"ActionInvoked uint32:%d string:once", "ActionInvoked uint32:%d string:session", "NotificationClosed uint32:%d uint32:2"} {
			out, code := s.do(fmt.Sprintf("DBUS_SESSION_BUS_ADDRESS=%s dbus-send --session --type=signal /org/freedesktop/Notifications org.freedesktop.Notifications."+member, d.Bus, id))
			if code != 0 {
				t.Fatalf("dbus-send: %d, %s", code, out)
			}
		}
	}
	// And it runs a server of its own, which would press what it likes.
	server.Kill()
	c.says(t, "the notification server has ended")
	s.send(fmt.Sprintf("DISPLAY=%s DBUS_SESSION_BUS_ADDRESS=%s HOME=/nowhere dunst >/dev/null 2>&1 & echo started", d.Display, d.Bus))
	s.wants("started")
	c.says(t, "belongs to an agent")
	if m.exists("forged") {
		t.Error("the agent has answered itself")
	}
	if all := m.pending(); len(all) != 1 || all[0].Argv[1] != "forged" {
		t.Errorf("what waits: %+v", all)
	}
	// A real server again, and the person.
	s.do("kill $!")
	d.Serve("notification-daemon")
	buttons := d.Buttons(3)
	time.Sleep(companion.DefaultReadTime)
	d.Click(buttons[1], 1)
	other.wants("code-0")
	m.balanced(m.status())
}
