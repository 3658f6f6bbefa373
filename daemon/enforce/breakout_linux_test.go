// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/ebpf"
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
	attacks := map[string]string{
		"busybox under another name":     "cp -f /bin/busybox tool && bash -c 'exec -a ls ./tool box'",
		"busybox renamed to its applet":  "cp -f /bin/busybox ls && ./ls box",
		"the loader under another name":  "cp -f " + loaders[0] + " runner && ./runner /bin/ls box",
		"git by the loader's argv[0]":    loaders[0] + " --argv0 git-push $(command -v git) origin 2>&1 | sed s/fatal.*git.repository/marker-file/",
		"a loader as the interpreter":    "printf '#!" + loaders[0] + " --argv0\\n' >x && chmod +x x && ./x $(command -v git) push origin 2>&1 | sed s/fatal.*git.repository/marker-file/",
		"a link as the interpreter":      "ln -sf $(command -v git) git-push && printf '#!'$PWD/git-push >origin && chmod +x origin && ./origin 2>&1 | sed s/fatal.*git.repository/marker-file/",
		"git called busybox":             "ln -sf $(command -v git) busybox && bash -c 'exec -a git-push ./busybox origin 2>&1' | sed s/fatal.*git.repository/marker-file/",
		"busybox by busybox":             "/bin/busybox busybox ls box",
		"git by argv[0]":                 "bash -c 'exec -a git-push git origin 2>&1' | sed s/fatal.*git.repository/marker-file/",
		"git by a link":                  "ln -sf $(command -v git) git-push && ./git-push origin 2>&1 | sed s/fatal.*git.repository/marker-file/",
		"git by a copy of that name":     "rm -f git-push && cp $(command -v git) git-push && ./git-push origin 2>&1 | sed s/fatal.*git.repository/marker-file/",
		"a copy of git, once remembered": "cp -f $(command -v git) other && " + waitSettled + "other && for i in 1 2 3; do sh -c './other --version >/dev/null; true'; done; sh -c './other push origin 2>&1; true' | sed s/fatal.*git.repository/marker-file/",
	}
	if valgrind, err := exec.LookPath("valgrind.bin"); err == nil {
		attacks["git in an emulator"] = valgrind + " --tool=none -q $(command -v git) push origin 2>&1 | sed s/fatal.*git.repository/marker-file/"
		attacks["busybox in an emulator"] = valgrind + " --tool=none -q /bin/busybox ls box"
	}
	for name, script := range attacks {
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

// A wrapper with an interpreter's name, as version managers and Nix put them in
// the search path, is no agent. What it goes on as may be one, and may be held
// while the daemon looks at the wrapper.
func TestAgentBehindAWrapper(t *testing.T) {
	m := newMachine(t, gitPushForbidden)
	m.box()
	interpreter := m.agent + "-i"
	copyFile(t, "/bin/dash", interpreter)
	for _, dir := range []string{"shims", "scripts"} {
		must(t, os.Mkdir(filepath.Join(m.dir, dir), 0o755))
	}
	shim := filepath.Join(m.dir, "shims", filepath.Base(interpreter))
	script := filepath.Join(m.dir, "scripts", filepath.Base(m.agent))
	must(t, os.WriteFile(shim, []byte("#!/bin/sh\nexec "+interpreter+" \"$@\"\n"), 0o755))
	must(t, os.WriteFile(script, []byte("/bin/ls box\n"), 0o644))
	if out := m.free("sh " + script); !strings.Contains(out, "marker-file") {
		t.Fatalf("the agent does nothing even where nothing is governed: %q", out)
	}
	for range tries() {
		if out := m.free(shim + " " + script); strings.Contains(out, "marker-file") {
			t.Fatalf("the agent is not governed: %q", out)
		}
	}
	m.wait("session start", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameSessionStart && e.Attrs[telemetry.AttrAgent] == "test-agent"
	})
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

// A source route sends a packet first where its sender says, whatever its
// destination is. The kernel lets anybody set one.
func TestSourceRouteIsRefused(t *testing.T) {
	m := newMachine(t, `
[paddock]
mode = "enforce"
[paddock.network]
default = "deny"
[[paddock.network.rules]]
cidr = "127.0.0.2/32"
decision = "allow"
[[paddock.network.rules]]
cidr = "2001:db8::1/128"
decision = "allow"
`)
	must(t, m.Prove(t.Context()))
	if m.canary.mechanism() == ebpf.None && bestMechanism() == "" {
		t.Skip("neither LSM nor fmod_ret programs here: the gate is reported as not there")
	}
	python := `import socket, struct, sys
route = bytes([0x83, 7, 4]) + socket.inet_aton("127.0.0.1") + bytes(1)
segments = struct.pack("!BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + socket.inet_pton(10, "2001:db8::1") + socket.inet_pton(10, "::1")
how = sys.argv[1]
if how == "option":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(0, 4, route)
    s.sendto(b"secret", ("127.0.0.2", 9))
elif how == "option-connected":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(("127.0.0.2", 9))
    s.setsockopt(0, 4, route)
    s.send(b"secret")
elif how == "message":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendmsg([b"secret"], [(0, 7, route)], 0, ("127.0.0.2", 9))
elif how == "message-late":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(("127.0.0.2", 9))
    s.sendmsg([b"secret"], [(0, 1, struct.pack("i", 0)), (0, 7, route)])
elif how == "segments":
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.setsockopt(41, 57, segments)
elif how == "no-route":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendmsg([b"harmless"], [(0, 1, struct.pack("i", 0))], 0, ("127.0.0.2", 9))
print("sent")`
	script := func(how string) string { return "exec python3 -c '" + python + "' " + how + " 2>&1" }
	wire := watchLoopback(t)
	for _, how := range []string{"option", "option-connected", "message", "message-late"} {
		t.Run(how, func(t *testing.T) {
			if out := m.free(script(how)); !wire("secret") {
				t.Fatalf("the attack does not even work where nothing is governed: %q", out)
			}
			out, err := m.run(script(how))
			if err == nil || wire("secret") {
				t.Errorf("a packet went to the denied address: %q", out)
			}
		})
	}
	if out := m.free(script("segments")); strings.Contains(out, "sent") {
		if out, err := m.run(script("segments")); err == nil {
			t.Errorf("an IPv6 socket has a routing header: %q", out)
		}
	}
	if out, err := m.run(script("no-route")); err != nil {
		t.Errorf("another control message was refused: %q, %v", out, err)
	}
	m.wait("source route refused", func(e telemetry.Event) bool {
		reason, _ := e.Attrs[telemetry.AttrDecisionReason].(string)
		return e.Name == telemetry.NameNetworkDecision && strings.Contains(reason, "source routing")
	})
}

// watchLoopback returns a function that says whether a packet with some text
// went to 127.0.0.1 since it was last asked.
func watchLoopback(t *testing.T) func(text string) bool {
	t.Helper()
	const all = 0x0300 // ETH_P_ALL in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, all)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	lo, err := net.InterfaceByName("lo")
	must(t, err)
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: lo.Index}))
	return func(text string) bool {
		found := false
		buf := make([]byte, 65536)
		for {
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if err != nil {
				return found
			}
			packet := buf[:n]
			v4 := n >= 20 && packet[0]>>4 == 4
			found = found || v4 && netip.AddrFrom4([4]byte(packet[16:20])) == netip.MustParseAddr("127.0.0.1") &&
				strings.Contains(string(packet), text)
		}
	}
}

// On a file system of its own making a process decides what the kernel sees of a
// file: the one that was allowed may be another the next time.
func TestOwnFileSystemIsNotRemembered(t *testing.T) {
	m := newMachine(t, lsForbidden)
	m.box()
	waitInside := strings.ReplaceAll(waitSettled, "'", `"`) // within quotes, and it has no variable of the shell's
	script := `exec unshare -Urm sh -c '
mount -t tmpfs none box/mnt && cd box/mnt && mkdir lower upper work all &&
cp /bin/true upper/tool && mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr none all || { echo no overlay here; exit 3; }
` + waitInside + `all/tool
for i in 1 2 3; do sh -c "all/tool; true"; done
cat /bin/ls > upper/tool; cd ..
sh -c "mnt/all/tool; true"' 2>&1`
	must(t, os.Mkdir(filepath.Join(m.dir, "box", "mnt"), 0o755))
	out := m.free(script)
	if strings.Contains(out, "no overlay here") { // before 5.11 only root has them
		t.Logf("this kernel has no such way: %q", out)
		return
	}
	if !strings.Contains(out, "marker-file") {
		t.Fatalf("the attack does not even work where nothing is governed: %q", out)
	}
	if out, _ := m.run(script); strings.Contains(out, "marker-file") {
		t.Errorf("ls ran as the program it replaced: %q", out)
	}
}

// Who was at the BPF file system first must not own what keeps enforcement alive.
func TestPinDirectoryOfSomebodyElse(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"another owner": func(dir string) error { return os.Chown(dir, 65534, 65534) },
		"writable":      func(dir string) error { return os.Chmod(dir, 0o777) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("/sys/fs/bpf", "paddock-test-"+strings.ToLower(rand.Text()[:10]))
			must(t, os.Mkdir(dir, 0o700))
			t.Cleanup(func() { ebpf.Remove(dir) })
			must(t, spoil(dir))
			k, err := ebpf.Open(ebpf.Options{PinDir: dir, Cgroup: ebpf.FindCgroup()})
			if err == nil {
				k.Close()
				t.Fatal("it was taken")
			}
			if !strings.Contains(err.Error(), dir) {
				t.Errorf("the error does not name the directory: %v", err)
			}
		})
	}
}
