// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/tests/pty"
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

// startPolkit starts polkitd with the actions and the rules in dir.
func startPolkit(t *testing.T, bus, dir string) {
	t.Helper()
	const polkitd = "/usr/lib/polkit-1/polkitd"
	if _, err := os.Stat(polkitd); err != nil {
		t.Fatalf("make setup installs it: %v", err)
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
	if err := conn.AddMatchSignal(dbus.WithMatchInterface("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, "org.freedesktop.PolicyKit1")); err != nil {
		t.Fatal(err)
	}
	owners := make(chan *dbus.Signal, 16)
	conn.Signal(owners)
	// After that was asked for, so that it cannot come in between.
	var owned bool
	if err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, "org.freedesktop.PolicyKit1").Store(&owned); err != nil {
		t.Fatal(err)
	}
	if owned {
		return
	}
	for late := time.After(30 * time.Second); ; {
		select {
		case s := <-owners:
			if s.Name == "org.freedesktop.DBus.NameOwnerChanged" {
				return
			}
		case <-late:
			t.Fatal("polkitd does not come up")
		}
	}
}

// The real polkit, on a bus of its own, knows the action, understands what it is asked,
// and answers by its rules.
func TestPresenceByPolkit(t *testing.T) {
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
	startPolkit(t, bus, dir)
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

// polkit's own agent, on a terminal of the user's: whoever knows the password is the
// user, and nobody else is.
func TestPasswordIsAskedFor(t *testing.T) {
	bus := privateBus(t)
	dir := openDir(t)
	hash, err := exec.Command("perl", "-e", `print crypt("correct horse", "\$6\$saltsalt")`).Output()
	if err != nil {
		t.Fatal(err)
	}
	const user, uid = "games", 5
	if err := errors.Join(os.Mkdir(dir+"/actions", 0o755), os.Mkdir(dir+"/rules", 0o755),
		os.WriteFile(dir+"/actions/dev.paddock.policy", []byte(PolkitPolicy), 0o644),
		os.WriteFile(dir+"/shadow", fmt.Appendf(nil, "root:*:19000:0:99999:7:::\n%s:%s:19000:0:99999:7:::\n", user, hash), 0o600)); err != nil {
		t.Fatal(err)
	}
	startPolkit(t, bus, dir)
	for _, test := range []struct {
		name, types, want string
	}{
		{"the password", "correct horse\n", "polkit"},
		{"another one", "correct horst\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			answers := exec.Command("sleep", "60") // the process that answers the question
			answers.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
			if err := answers.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = answers.Process.Kill(); _ = answers.Wait() }()
			says, typing := passwordAgent(t, bus, dir, user, answers.Process.Pid)
			a := &Approval{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Kind: Command, Agent: "codex", Risk: "privilege", Subject: Subject{Argv: []string{"sudo", "reboot"}}}
			typed := make(chan error, 1)
			go func() {
				err := says("Password:")
				if err == nil {
					err = silent(t.Context(), typing)
				}
				if err == nil {
					_, err = typing.WriteString(test.types)
				}
				typed <- err
			}()
			proof, err := (&People{Bus: bus}).Prove(t.Context(), Process{PID: answers.Process.Pid, UID: uid}, a, "")
			if proof != test.want || (err == nil) != (test.want != "") {
				t.Errorf("%q, %v", proof, err)
			}
			if err := <-typed; err != nil {
				t.Error(err)
			}
		})
	}
}

// silent waits until a terminal shows no more what is typed. The agent throws away what came before that, and
// nothing but the terminal says when it is.
func silent(ctx context.Context, terminal *os.File) error {
	raw, err := terminal.SyscallConn()
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		var is *unix.Termios
		var failed error
		if err := raw.Control(func(fd uintptr) { is, failed = unix.IoctlGetTermios(int(fd), unix.TCGETS) }); err != nil {
			return err
		}
		if failed != nil {
			return failed
		}
		if is.Lflag&unix.ECHO == 0 {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return ctx.Err()
}

// passwordAgent starts pkttyagent for a process, on a terminal of a user whose password
// dir's shadow has, and waits until polkit knows it. says waits for text on the terminal.
func passwordAgent(t *testing.T, bus, dir, user string, pid int) (says func(string) error, typing *os.File) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	ready, registered, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// polkit's helper is setuid and takes nothing from the environment: it finds the
	// test's bus and password where the machine's would be.
	cmd := exec.Command("/bin/sh", "-ec", fmt.Sprintf(`mount --bind %[1]s/shadow /etc/shadow
mount -t tmpfs tmpfs /run
mkdir /run/dbus
ln -s %[2]s /run/dbus/system_bus_socket
exec setpriv --reuid %[3]s --regid %[3]s --clear-groups env DBUS_SYSTEM_BUS_ADDRESS=%[4]s pkttyagent --process %[5]d --notify-fd 3`,
		dir, strings.TrimPrefix(strings.SplitN(bus, ",", 2)[0], "unix:path="), user, bus, pid))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.ExtraFiles = []*os.File{registered}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	registered.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		master.Close()
		ready.Close()
	})
	if _, err := io.ReadAll(ready); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	return func(text string) error {
		buf := make([]byte, 4096)
		for !strings.Contains(all.String(), text) {
			n, err := master.Read(buf)
			all.Write(buf[:n])
			if err != nil {
				return fmt.Errorf("the terminal never said %q but %q: %w", text, all.String(), err)
			}
		}
		if !strings.Contains(all.String(), "sudo reboot") {
			return fmt.Errorf("it is not said what the password is for: %q", all.String())
		}
		return nil
	}, master
}
