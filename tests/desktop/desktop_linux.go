// SPDX-License-Identifier: Apache-2.0

package desktop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// patience is how long anything here may take on a busy machine.
const patience = 60 * time.Second

// Desktop is a bus and a screen.
type Desktop struct {
	Bus     string // address
	Display string // ":7"
	dir     string
	t       *testing.T
}

// Start starts a desktop that lasts as long as the test.
func Start(t *testing.T) *Desktop {
	t.Helper()
	d := &Desktop{dir: t.TempDir(), t: t}
	d.startBus()
	d.startScreen()
	return d
}

// StartBus starts one without a screen.
func StartBus(t *testing.T) *Desktop {
	t.Helper()
	d := &Desktop{dir: t.TempDir(), t: t}
	d.startBus()
	return d
}

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=%s/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
`

func (d *Desktop) startBus() {
	d.t.Helper()
	config := filepath.Join(d.dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, d.dir), 0o644); err != nil {
		d.t.Fatal(err)
	}
	out := d.run("dbus-daemon", "--config-file="+config, "--nofork", "--nopidfile", "--print-address=1")
	d.Bus = "unix:path=" + d.dir + "/bus"
	if line := firstLine(d.t, out); !strings.HasPrefix(line, "unix:") {
		d.t.Fatalf("the bus says %q", line)
	}
}

func (d *Desktop) startScreen() {
	d.t.Helper()
	// -displayfd 1: Xvfb says which display it found free once it answers.
	out := d.run("Xvfb", "-displayfd", "1", "-screen", "0", "800x600x24", "-fbdir", d.dir, "-nolisten", "tcp", "-noreset", "-s", "0")
	d.Display = ":" + strings.TrimSpace(firstLine(d.t, out))
}

// Env is the environment of a program on this desktop.
func (d *Desktop) Env() []string {
	return []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + d.dir, "XDG_RUNTIME_DIR=" + d.dir, "XDG_CONFIG_HOME=" + d.dir,
		"DBUS_SESSION_BUS_ADDRESS=" + d.Bus, "DISPLAY=" + d.Display, "LANG=C.UTF-8", "NO_AT_BRIDGE=1", "GTK_A11Y=none",
	}
}

// Process is a program the desktop started.
type Process struct {
	*exec.Cmd
	ended chan struct{}
}

// run starts a program until the end of the test and returns its standard output.
func (d *Desktop) run(name string, args ...string) *os.File {
	d.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { read.Close() })
	d.start(write, name, args...)
	write.Close()
	return read
}

func (d *Desktop) start(stdout *os.File, name string, args ...string) *Process {
	d.t.Helper()
	p := &Process{Cmd: exec.CommandContext(context.WithoutCancel(d.t.Context()), name, args...), ended: make(chan struct{})}
	p.Env = d.Env()
	p.Dir = d.dir
	p.Stdout = stdout
	if testing.Verbose() {
		p.Stderr = os.Stderr
	}
	if err := p.Start(); err != nil {
		d.t.Fatalf("starting %s: %v (make setup installs it)", name, err)
	}
	go func() {
		_ = p.Wait()
		close(p.ended)
	}()
	d.t.Cleanup(p.Kill)
	return p
}

// Kill ends the process and waits for it. It may be called again.
func (p *Process) Kill() {
	_ = p.Process.Kill()
	<-p.ended
}

// Pause stops the process until Resume.
func (p *Process) Pause(t *testing.T) { p.signal(t, unix.SIGSTOP) }

// Resume undoes Pause.
func (p *Process) Resume(t *testing.T) { p.signal(t, unix.SIGCONT) }

func (p *Process) signal(t *testing.T, s unix.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Servers are notification servers that Debian has, of different make.
var Servers = map[string][]string{
	// Draws a window with buttons.
	"notification-daemon": {"/usr/lib/notification-daemon/notification-daemon"},
	// Draws no buttons: what it offers is in a menu.
	"dunst": {"dunst"},
}

// Serve starts a notification server and waits until it has the name.
func (d *Desktop) Serve(server string) *Process {
	d.t.Helper()
	argv := Servers[server]
	owned := d.nameOwned()
	if server == "dunst" {
		config := filepath.Join(d.dir, "dunstrc")
		if err := errors.Join(os.WriteFile(config, fmt.Appendf(nil, dunstrc, d.dir), 0o644),
			os.WriteFile(filepath.Join(d.dir, "menu"), fmt.Appendf(nil, menu, d.dir), 0o755)); err != nil {
			d.t.Fatal(err)
		}
		argv = append(slices.Clone(argv), "-conf", config)
	}
	p := d.start(nil, argv[0], argv[1:]...)
	select {
	case <-owned:
	case <-p.ended:
		d.t.Fatalf("%s has ended: %v", server, p.ProcessState)
	case <-time.After(patience):
		d.t.Fatalf("%s does not come up", server)
	}
	return p
}

// dunst offers actions in a menu of another program, which here takes the entry that a
// file names.
const dunstrc = `[global]
font = Monospace 9
width = 500
height = 400
origin = top-right
mouse_left_click = do_action, close_current
mouse_right_click = context
dmenu = %[1]s/menu
`

const menu = `#!/bin/sh
grep -F "$(cat %[1]s/choice)"
`

// Choose says which entry is taken the next time dunst shows its menu.
func (d *Desktop) Choose(label string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, "choice"), []byte(label), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

// Connect joins the bus, as any program of the user can.
func (d *Desktop) Connect() *dbus.Conn {
	d.t.Helper()
	conn, err := dbus.Connect(d.Bus)
	if err != nil {
		d.t.Fatalf("joining the bus: %v", err)
	}
	d.t.Cleanup(func() { conn.Close() })
	return conn
}

// nameOwned is closed when somebody new owns the name of notification servers.
func (d *Desktop) nameOwned() <-chan struct{} {
	conn := d.Connect()
	signals := make(chan *dbus.Signal, 16)
	conn.Signal(signals)
	if err := conn.AddMatchSignal(dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, "org.freedesktop.Notifications")); err != nil {
		d.t.Fatal(err)
	}
	owned := make(chan struct{})
	go func() {
		for s := range signals {
			if len(s.Body) == 3 && s.Body[0] == "org.freedesktop.Notifications" && s.Body[2] != "" {
				close(owned)
				return
			}
		}
	}()
	return owned
}

func firstLine(t *testing.T, from *os.File) string {
	t.Helper()
	if err := from.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(from).ReadString('\n')
	if err != nil {
		t.Fatalf("it does not come up: %v", err)
	}
	return line
}
