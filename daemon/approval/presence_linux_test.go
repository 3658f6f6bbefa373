// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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

// openDir is a directory that polkitd, which is another user, can enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// privateBus starts a bus of the test's own.
func privateBus(t *testing.T) string {
	t.Helper()
	dir := openDir(t)
	config := filepath.Join(dir, "bus.conf")
	text := `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=` + dir + `/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/></policy></busconfig>`
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dbus-daemon", "--config-file", config, "--nofork", "--print-address")
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

// The real polkit, on a bus of its own, knows the action, understands what it is asked,
// and answers by its rules.
func TestPresenceByPolkit(t *testing.T) {
	const polkitd = "/usr/lib/polkit-1/polkitd"
	if _, err := os.Stat(polkitd); err != nil {
		t.Fatalf("make setup installs it: %v", err)
	}
	bus := privateBus(t)
	dir := openDir(t)
	rule := `polkit.addRule(function(action, subject) {
	if (action.id != "` + Action + `") return polkit.Result.NOT_HANDLED;
	if (subject.user == "daemon") return polkit.Result.YES;
	if (subject.user == "bin") return polkit.Result.NO;
});`
	if err := errors.Join(os.Mkdir(dir+"/actions", 0o755), os.Mkdir(dir+"/rules", 0o755),
		os.WriteFile(dir+"/actions/dev.paddock.policy", []byte(PolkitPolicy), 0o644), os.WriteFile(dir+"/rules/1.rules", []byte(rule), 0o644)); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command("/bin/sh", "-c", "mount --bind "+dir+"/actions /usr/share/polkit-1/actions && mount --bind "+dir+"/rules /etc/polkit-1/rules.d && exec "+polkitd)
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+bus)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("polkitd said:\n%s", &said)
		}
	})
	conn, err := dbus.Connect(bus)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var owned bool
		if err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, "org.freedesktop.PolicyKit1").Store(&owned); err == nil && owned {
			break
		}
		if time.Now().After(end) {
			t.Fatal("polkitd does not come up")
		}
	}
	people := &People{Bus: bus}
	for _, test := range []struct {
		name     string
		uid      uint32
		terminal string
		want     string // proof; "": refused
	}{
		{"whom the rules let", 1, "", "polkit"},
		{"whom the rules refuse", 2, "terminal pts/1", ""},
		{"who has nobody to ask for a password", 65534, "", ""},
		{"who has none, on a terminal", 65534, "terminal pts/1", "terminal pts/1"},
	} {
		sleeper := exec.Command("sleep", "60")
		sleeper.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: test.uid, Gid: test.uid}}
		if err := sleeper.Start(); err != nil {
			t.Fatal(err)
		}
		a := &Approval{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Kind: Command, Agent: "codex", Risk: "privilege", Subject: Subject{Argv: []string{"sudo", "ls"}}}
		proof, err := people.Prove(t.Context(), Process{PID: sleeper.Process.Pid, UID: test.uid}, a, test.terminal)
		if proof != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: %q, %v", test.name, proof, err)
		}
		_ = sleeper.Process.Kill()
		_ = sleeper.Wait()
	}
}
