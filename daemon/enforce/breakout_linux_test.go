// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Ways round the rules that need no changed program: another name, another
// argv[0], another way to the same address.

const gitPushForbidden = `
rules = { prefix_rules = [
  { pattern = [{ token = "git" }, { token = "push" }], decision = "forbidden" },
  { pattern = [{ token = "ls" }, { token = "box" }], decision = "forbidden" },
] }
paddock = { mode = "enforce" }`

// waitSettled lets a governed script go on when an answer about a file may be
// remembered.
const waitSettled = `perl -e 'for (@ARGV) { select undef, undef, undef, 0.05 while time - (stat)[10] < 4 }' `

// Programs are many in one file without being called busybox, and the loader
// need not be called ld.so: a copy under another name stays what it is.
func TestProgramsOfManyNames(t *testing.T) {
	m := newMachine(t, gitPushForbidden)
	m.box()
	loaders, _ := filepath.Glob("/lib64/ld-linux*")
	if len(loaders) == 0 {
		loaders, _ = filepath.Glob("/lib/ld-linux*")
	}
	for name, script := range map[string]string{
		"busybox under another name":     "cp -f /bin/busybox tool && bash -c 'exec -a ls ./tool box'",
		"busybox renamed to its applet":  "cp -f /bin/busybox ls && ./ls box",
		"the loader under another name":  "cp -f " + loaders[0] + " runner && ./runner /bin/ls box",
		"git by argv[0]":                 "bash -c 'exec -a git-push git origin 2>&1' | sed s/fatal.*git.repository/marker-file/",
		"git by a link":                  "ln -sf $(command -v git) git-push && ./git-push origin 2>&1 | sed s/fatal.*git.repository/marker-file/",
		"git by a copy of that name":     "rm -f git-push && cp $(command -v git) git-push && ./git-push origin 2>&1 | sed s/fatal.*git.repository/marker-file/",
		"a copy of git, once remembered": "cp -f $(command -v git) other && " + waitSettled + "other && for i in 1 2 3; do sh -c './other --version >/dev/null; true'; done; sh -c './other push origin 2>&1; true' | sed s/fatal.*git.repository/marker-file/",
	} {
		t.Run(name, func(t *testing.T) {
			if out := m.free(script); !strings.Contains(out, "marker-file") {
				t.Fatalf("the attack does not even work where nothing is governed: %.500q", out)
			}
			if out, _ := m.run(script + "; true"); strings.Contains(out, "marker-file") {
				t.Errorf("it ran: %.500q", out)
			}
		})
	}
}

// The reason goes to a descriptor the blocked process chose. If that is a socket
// of a service which asks the kernel who speaks, it must not hear the daemon.
func TestReasonIsNotSaidInTheDaemonsName(t *testing.T) {
	m := newMachine(t, gitPushForbidden)
	for _, kind := range []string{"unixgram", "unix"} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(m.dir, kind+".sock")
			service := listenWithCredentials(t, kind, path)
			python := `import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if sys.argv[1] == "unixgram" else socket.SOCK_STREAM)
s.connect(sys.argv[2])
os.dup2(s.fileno(), 2)
os.execvp("git", ["git", "push", "x\nWATCHDOG=trigger\n"])`
			if out, err := m.run("exec python3 -c '" + python + "' " + kind + " " + path); err == nil {
				t.Fatalf("git push ran: %q", out)
			}
			text, pid, uid := service()
			t.Logf("pid %d, uid %d: %q", pid, uid, text)
			if pid == os.Getpid() {
				t.Errorf("the service heard the daemon (pid %d, user %d) say %q", pid, uid, text)
			}
			if strings.Count(text, "\n") > 1 {
				t.Errorf("the reason has lines that the process wrote: %q", text)
			}
		})
	}
}

// listenWithCredentials returns a function that reads one message and who, by
// the kernel's word, sent it; nothing at all is also an answer.
func listenWithCredentials(t *testing.T, kind, path string) func() (text string, pid int, uid uint32) {
	t.Helper()
	how := unix.SOCK_DGRAM
	if kind == "unix" {
		how = unix.SOCK_STREAM
	}
	fd, err := unix.Socket(unix.AF_UNIX, how|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1))
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	must(t, os.Chmod(path, 0o777))
	if kind == "unix" {
		must(t, unix.Listen(fd, 5))
	}
	return func() (string, int, uint32) {
		from := fd
		if kind == "unix" { // accepted sockets inherit SO_PASSCRED
			from, _, err = unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			must(t, err)
			defer unix.Close(from)
		}
		buf, oob := make([]byte, 4096), make([]byte, 256)
		n, oobn, _, _, err := unix.Recvmsg(from, buf, oob, 0)
		if err != nil || n == 0 {
			return "", 0, 0
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		must(t, err)
		for i := range messages {
			if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
				return string(buf[:n]), int(cred.Pid), cred.Uid
			}
		}
		t.Fatalf("no credentials came with %q", buf[:n])
		return "", 0, 0
	}
}

// A child that is killed while the daemon looks at it must not leave its mark
// behind: its number will be somebody else's, and the session would never end.
func TestKilledWhileJudgedLeavesNoMark(t *testing.T) {
	m := newMachine(t, gitPushForbidden)
	out, err := m.run(`exec perl -e 'for my $n (1..400) { my @p; for (1..4) { my $p = fork; if (!$p) { $ENV{PDK_TOOL_CALL} = "call_$n"; open STDOUT, ">/dev/null";
		exec "/bin/true", $n; exit } push @p, $p } select undef, undef, undef, rand(0.003); kill "KILL", $_ for @p; waitpid $_, 0 for @p }'`)
	if err != nil {
		t.Fatalf("%q, %v", out, err)
	}
	m.wait("session end", func(e telemetry.Event) bool { return e.Name == telemetry.NameSessionEnd })
	procs, err := m.Kernel.Procs()
	must(t, err)
	for pid, p := range procs {
		t.Errorf("process %d, which has ended, is still marked as of session %d", pid, p.Session)
	}
}

// An IPv6 socket bound to a v4-mapped address reaches 127.0.0.1 by way of "::".
func TestUnspecifiedAddressReachesBothLoopbacks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	m := newMachine(t, `
[paddock]
mode = "enforce"
[paddock.network]
default = "allow"
[[paddock.network.rules]]
cidr = "127.0.0.1/32"
decision = "deny"
`)
	script := fmt.Sprintf(`exec python3 -c 'import socket
s = socket.socket(socket.AF_INET6); s.setsockopt(41, 26, 0)
s.bind(("::ffff:127.0.0.1", 0)); s.connect(("::", %s)); print("through to", s.getpeername())' 2>&1`, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	if out := m.free(script); !strings.Contains(out, "through to") {
		t.Fatalf("the attack does not even work where nothing is governed: %q", out)
	}
	if out, _ := m.run(script); strings.Contains(out, "through to") {
		t.Errorf("the denied address was reached: %q", out)
	}
}
