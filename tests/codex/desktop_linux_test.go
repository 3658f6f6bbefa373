// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
)

// developer is the user at the desktop.
const developer = 4711

// Ways to press the button that a person is to press.
// Each says "done" if it got through to where it can.
var presses = []struct{ name, script string }{
	{"the bus by its abstract name", `DBUS_SESSION_BUS_ADDRESS=unix:abstract=/tmp/pdk-bus $CALL && echo done`},
	{"the bus over TCP", `DBUS_SESSION_BUS_ADDRESS=tcp:host=127.0.0.1,port=4713,family=ipv4 $CALL && echo done`},
	{"the notification server", `$CALL && echo done`},
	{"the mouse", `xdotool mousemove 5 5 click 1 && echo done`},
	{"the mouse over TCP", `DISPLAY=127.0.0.1:7 xdotool mousemove 6 6 click 1 && echo done`},
	{"the display by its abstract name", `perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un("\0/tmp/.X11-unix/X7")) and print "done\n"'`},
	{"a keyboard of its own", `exec 7>/dev/uinput && echo done`},
	{"the keys that are typed", `exec 7</dev/input/event0 && echo done`},
	{"typing into tmux", `tmux send-keys -t person 'paddock approve' && echo done`},
	{"a program started by tmux", `tmux new-window -t person true && echo done`},
}

// TestGovernedDesktop is run by TestUnderPaddock in the guest, since no other machine
// has both a desktop and the hooks: a question is on the screen, and the agent whose
// question it is tries to answer it by the ways a person would.
func TestGovernedDesktop(t *testing.T) {
	if os.Getenv("PADDOCK_VM") == "" {
		return // not a skip: TestUnderPaddock runs it where it can run
	}
	d := newDesk(t)
	paddock := startPaddock(t, "[rules]\nprefix_rules = [{ pattern = [{ token = \"pdk-loot\" }], decision = \"prompt\" }]\n[paddock]\nmode = \"enforce\"\n[paddock.boundary]\n")
	companion := d.start("/usr/libexec/paddock/companion", "companion", "--debug")
	companion.says("following the daemon's questions")
	d.start(paddock, "run", "--", "sh", "-c", "pdk-loot /home/dev/project/loot; echo code-$?")
	companion.says("buttons=true")

	script := filepath.Join(d.dir, "attack")
	var text strings.Builder
	for _, p := range presses {
		fmt.Fprintf(&text, "echo '== %s'\n(%s) 2>&1\n", p.name, p.script)
	}
	write(t, script, text.String(), 0o755)
	attack := func(line ...string) map[string]string {
		t.Helper()
		cmd := d.command(append(line, "sh", script)...)
		cmd.Env = append(cmd.Env,
			"CALL=gdbus call --timeout 10 --session --dest org.freedesktop.Notifications --object-path /org/freedesktop/Notifications --method org.freedesktop.Notifications.GetServerInformation")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Logf("%v: %v", line, err)
		}
		said := map[string]string{}
		for part := range strings.SplitSeq(string(out), "== ") {
			name, rest, _ := strings.Cut(part, "\n")
			said[name] = rest
		}
		return said
	}

	governed := attack(paddock, "run", "--")
	if _, err := os.Stat("/home/dev/project/loot"); err == nil {
		t.Fatalf("the agent has answered itself: %q", governed)
	}
	var waits approval.Approval // one a line
	out, err := exec.Command(paddock, "approvals", "--json").Output()
	if err != nil || json.Unmarshal(out, &waits) != nil || waits.State != approval.Pending {
		t.Fatalf("what waits after the attacks: %v: %s; they said %q", err, out, governed)
	}
	free := attack("env") // somebody nobody governs
	for _, p := range presses {
		t.Run(p.name, func(t *testing.T) {
			if !strings.Contains(free[p.name], "done") {
				t.Errorf("it does not even work where nothing is governed: %q", free[p.name])
			}
			if text, tried := governed[p.name]; !tried || strings.Contains(text, "done") {
				t.Errorf("it worked: %v, %q", tried, text)
			}
		})
	}
}

// desk is a developer's desktop, with everything where it is on a real one.
type desk struct {
	t   *testing.T
	dir string
}

const deskBus = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=/run/user/4711/bus</listen>
  <listen>unix:abstract=/tmp/pdk-bus</listen>
  <listen>tcp:host=127.0.0.1,port=4713,family=ipv4</listen>
  <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>
`

// Whoever opens dunst's menu allows: a person would choose.
const deskDunst = "[global]\ndmenu = /home/dev/menu\n"

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, dir: "/home/dev"}
	// The guest's root is an overlay, where a file of the upper file system may have the number of one of the lower:
	// what may not be read in this home would be something else as well, also for the tests that come after.
	d.do("mount", "-t", "tmpfs", "-o", "mode=755", "homes", "/home")
	d.do("useradd", "--uid", fmt.Sprint(developer), "--create-home", "--home-dir", d.dir, "dev")
	d.do("groupadd", "--system", "paddock-ui")
	d.do("install", "-D", "-o", "root", "-g", "paddock-ui", "-m", "2755", binary(t), "/usr/libexec/paddock/companion")
	d.do("install", "-m", "0755", "/usr/bin/touch", "/usr/local/bin/pdk-loot")
	d.do("install", "-d", "-o", "dev", "-m", "0700", "/run/user/4711", d.dir+"/project")
	d.do("install", "-d", "-m", "1777", "/tmp/.X11-unix")
	d.do("modprobe", "-a", "uinput", "evdev", "dummy")
	// With loopback alone, glibc takes 127.0.0.1 for no address (AI_ADDRCONFIG).
	d.do("sh", "-c", "ip link add pdk0 type dummy && ip address add 192.0.2.9/24 dev pdk0 && ip link set pdk0 up")
	// Codex is run only where there is nothing else, and other tests run it.
	t.Cleanup(func() { d.do("ip", "link", "delete", "pdk0") })
	d.do("sh", "-c", "mkdir -p /dev/input; [ -e /dev/input/event0 ] || : >/dev/input/event0; chmod 666 /dev/uinput /dev/input/event0")
	write(t, d.dir+"/bus.conf", deskBus, 0o644)
	write(t, d.dir+"/dunstrc", deskDunst, 0o644)
	write(t, d.dir+"/menu", "#!/bin/sh\ngrep -F 'Allow once'\n", 0o755)
	d.do("setpriv", "--reuid", "dev", "--regid", "dev", "--clear-groups", "sh", "-c",
		"for d in :7 127.0.0.1:7; do xauth -f /home/dev/.Xauthority add $d . $(od -An -tx1 -N16 /proc/sys/kernel/random/uuid | tr -d ' \\n'); done 2>&1")
	d.start("dbus-daemon", "--config-file="+d.dir+"/bus.conf", "--nofork", "--nopidfile", "--print-address=1").says("unix:")
	d.start("Xvfb", ":7", "-displayfd", "1", "-screen", "0", "800x600x24", "-auth", "/home/dev/.Xauthority", "-listen", "tcp", "-noreset", "-s", "0").says("7")
	d.start("dunst", "-conf", d.dir+"/dunstrc", "-print")
	d.do("setpriv", "--reuid", "dev", "--regid", "dev", "--clear-groups", "tmux", "new-session", "-d", "-s", "person")
	d.do("setpriv", "--reuid", "dev", "--regid", "dev", "--clear-groups", "env", "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/4711/bus",
		"gdbus", "wait", "--session", "--timeout", "60", "org.freedesktop.Notifications")
	return d
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// do does something as root.
func (d *desk) do(line ...string) {
	d.t.Helper()
	if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
		d.t.Fatalf("%v: %v: %s", line, err, out)
	}
}

// command is one of the developer's.
func (d *desk) command(line ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.t.Context()), 4*time.Minute)
	d.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir = d.dir + "/project"
	cmd.Env = []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + d.dir, "XDG_RUNTIME_DIR=/run/user/4711", "DISPLAY=:7", "LANG=C.UTF-8", "TERM=xterm",
		"DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/4711/bus", "NO_AT_BRIDGE=1",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: developer, Gid: developer}, Setsid: true}
	return cmd
}

// running is a program of the developer's that runs until the test ends.
type running struct {
	*exec.Cmd
	t    *testing.T
	name string
	out  chan string
}

func (d *desk) start(line ...string) *running {
	d.t.Helper()
	r := &running{Cmd: d.command(line...), t: d.t, name: line[0], out: make(chan string, 1000)}
	read, write, err := os.Pipe()
	if err != nil {
		d.t.Fatal(err)
	}
	r.Stdout, r.Stderr = write, write
	if err := r.Start(); err != nil {
		d.t.Fatal(err)
	}
	write.Close()
	go func() {
		defer close(r.out)
		buf := make([]byte, 4096)
		for {
			n, err := read.Read(buf)
			if n > 0 {
				r.out <- string(buf[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	ended := make(chan struct{})
	go func() { _ = r.Wait(); close(ended) }()
	d.t.Cleanup(func() {
		_ = r.Process.Kill()
		<-ended
		read.Close()
	})
	return r
}

// says waits until the program has said something.
func (r *running) says(text string) {
	r.t.Helper()
	var all strings.Builder
	limit := time.After(2 * time.Minute)
	for !strings.Contains(all.String(), text) {
		select {
		case s, ok := <-r.out:
			if !ok {
				r.t.Fatalf("%s has ended and never said %q but %q", r.name, text, all.String())
			}
			all.WriteString(s)
		case <-limit:
			r.t.Fatalf("%s does not say %q but %q", r.name, text, all.String())
		}
	}
}
