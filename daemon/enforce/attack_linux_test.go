// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Ways out of a hold and off the leash, tried by governed processes. Each
// attack would show the marker, or what it was denied, if it worked.

// box is a directory whose listing gives an attack away.
func (m *machine) box() {
	must(m.t, os.MkdirAll(filepath.Join(m.dir, "box"), 0o755))
	must(m.t, os.WriteFile(filepath.Join(m.dir, "box", "marker-file"), nil, 0o644))
}

// tries is how often a race is run: an emulated machine is slow, and there are
// several of them.
func tries() int {
	if os.Getenv("PADDOCK_VM") != "" {
		return 8
	}
	return 40
}

// free runs a script in a shell that nobody governs.
func (m *machine) free(script string) string {
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Dir = m.dir
	out, _ := cmd.CombinedOutput()
	return string(out)
}

func TestHoldCannotBeEscaped(t *testing.T) {
	m := newMachine(t, "")
	// About its arguments, so that it comes to a hold also where a program that is
	// forbidden whatever its arguments would be refused before.
	m.apply(fmt.Sprintf(`rules = { prefix_rules = [{ pattern = [{ token = "ls" }, { any_of = ["box", %q, %q] }], decision = "forbidden" }] }
paddock = { mode = "enforce" }`, m.dir+"/box", m.dir+"/handled"))
	must(t, m.Prove(t.Context())) // with every mechanism the kernel has
	m.box()
	must(t, os.WriteFile(filepath.Join(m.dir, "code"), listsBox(), 0o644))
	must(t, os.WriteFile(filepath.Join(m.dir, "evil.so"), library(listsBox()), 0o755))
	self, err := os.Executable()
	must(t, err)
	for name, script := range map[string]string{
		"a sibling sends SIGCONT": `perl -e 'for (1..TRIES) { $p = fork; if (!$p) { exec "/bin/ls", "box"; exit }
			kill "CONT", $p for 1..300; waitpid $p, 0 }'`,
		"SIGCONT to the whole group": `perl -e 'for (1..TRIES) { $p = fork; if (!$p) { setpgrp; exec "/bin/ls", "box"; exit }
			kill "CONT", -$p for 1..300; waitpid $p, 0 }'`,
		"the group is orphaned, SIGHUP ignored": `perl -e '$SIG{HUP} = "IGNORE"; for (1..TRIES) { $p = fork; if (!$p) { setpgrp;
			$q = fork; if (!$q) { exec "/bin/ls", "box" } exit 0 } waitpid $p, 0 } select undef, undef, undef, 0.3'`,
		"SIGCONT when the parent dies": `perl -e 'for (1..TRIES) { $p = fork; if (!$p) { $q = fork; if (!$q) {
			syscall(157, 1, 18); exec "/bin/ls", "box" } select undef, undef, undef, 0.0003; exit 0 } waitpid $p, 0 }'`,
		"a tracer from the start": `perl -e 'for (1..TRIES) { $p = fork; if (!$p) { syscall(101, 0, 0, 0, 0);
			exec "/bin/ls", "box"; exit } while (waitpid($p, 0) > 0) { syscall(101, 7, $p, 0, 0) } }'`,
		"a tracer that comes later": `perl -e 'for (1..TRIES) { $p = fork; if (!$p) { exec "/bin/ls", "box"; exit }
			until (waitpid($p, 1) < 0) { syscall(101, 0x4206, $p, 0, 0); syscall(101, 7, $p, 0, 0) } }'`,
		"the main thread is gone":            self + " attack-mainexit /bin/ls box",
		"a file without a name":              self + " attack-memfd /bin/ls box",
		"a file by descriptor":               self + " attack-execveat /bin/ls box",
		"a pid namespace":                    "unshare -p -f ls box",
		"a new session and cgroup namespace": "setsid -w unshare -C ls box",
		"another root":                       "chroot / /bin/ls " + m.dir + "/box",
		"by the root of a process":           "/proc/self/root/bin/../bin//ls box",
		"another program's place":            "unshare -Urm sh -c 'mount --bind /bin/ls /bin/true && /bin/true box'",
		"a false name for itself":            `perl -e '$n = $0 = "harmless"; syscall(157, 15, $n); exec {"/bin/ls"} "harmless", "box"'`,
		"a library put before another":       "LD_PRELOAD=./evil.so /bin/true",
		"a library that watches the loader":  "LD_AUDIT=./evil.so /bin/true",
		"a library that knows an encoding":   `printf 'module PDK// INTERNAL evil 1\nmodule INTERNAL PDK// evil 1\n' >gconv-modules; echo x | GCONV_PATH=. iconv -f PDK -t UTF-8`,
		"a variable that git obeys":          `GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=alias.x GIT_CONFIG_VALUE_0='!ls box' git x`,
		"a variable that a shell obeys":      `echo 'ls box' >start; BASH_ENV=./start bash -c :`,
		"a variable that python obeys":       `mkdir -p lib; echo 'import os; os.system("ls box")' >lib/sitecustomize.py; PYTHONPATH=lib python3 -c pass`,
		"code without a file": `python3 -c 'import ctypes, mmap
m = mmap.mmap(-1, 4096, prot=7); m.write(open("code", "rb").read())
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()'`,
		"a handler of a format": handledFormat,
		"a set-user-id program": `cp -f /bin/dash su && chmod 4755 su && perl -e '$) = $( = 65534; $> = $< = 65534; exec "./su", "-p", "-c", "ls box"'`,
		"another user":          "perl -e '$) = $( = 65534; $> = $< = 65534; exec \"/bin/ls\", \"box\"'",
	} {
		script = strings.ReplaceAll(script, "TRIES", strconv.Itoa(tries()))
		t.Run(name, func(t *testing.T) {
			if out := m.free(script); !strings.Contains(out, "marker-file") {
				t.Fatalf("the attack does not even work where nothing is governed: %.500q", out)
			}
			out, _ := m.run("chmod 755 . ; " + script + " 2>&1 | grep -v 'paddock: blocked'; true")
			if strings.Contains(out, "marker-file") {
				t.Errorf("ls ran: %.500q", out)
			}
		})
	}
}

// A process somebody else woke out of its hold dies, and every such death is on
// record. Whether a wake-up comes in time is a race, which ebpf's tests decide;
// here it counts that none of those that did goes missing.
func TestEscapeIsRecorded(t *testing.T) {
	// a rule about its arguments keeps sort from being remembered whatever they are
	m := newMachine(t, `rules = { prefix_rules = [{ pattern = [{ token = "sort" }, { token = "-x" }], decision = "forbidden" }] }
paddock = { mode = "enforce" }`)
	out, err := m.run(`perl -e 'for (1..100) { $p = fork; if (!$p) { open STDOUT, ">/dev/null"; exec "/usr/bin/sort", "--version", "$_"; exit 1 }
		kill "CONT", $p for 1..1000; waitpid $p, 0; if ($?) { print "$p $?\n" } }' 2>/dev/null`)
	must(t, err)
	for _, line := range strings.Fields(strings.ReplaceAll(out, " 9\n", "\n")) {
		pid, err := strconv.ParseInt(line, 10, 64)
		if err != nil {
			t.Fatalf("ended by something else than SIGKILL: %q", out)
		}
		m.wait("process "+line+" ran before it was released", func(e telemetry.Event) bool {
			return e.Name == telemetry.NameHoldKilled && e.Attrs[telemetry.AttrProcessPID] == pid &&
				e.Attrs[telemetry.AttrKillReason] == "it ran before it was released"
		})
	}
	t.Logf("%d of 100 were woken", strings.Count(out, "\n"))
}

func TestDeniedDestinationCannotBeReached(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	accepted := make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c.RemoteAddr().String()
			c.Close()
		}
	}()
	u, err := net.ListenPacket("udp", l.Addr().String())
	must(t, err)
	defer u.Close()
	go func() {
		buf := make([]byte, 64)
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			accepted <- "udp " + from.String() + " " + string(buf[:n])
		}
	}()
	m := newMachine(t, `
[paddock]
mode = "enforce"
[paddock.network]
default = "allow"
[[paddock.network.rules]]
cidr = "127.0.0.1/32"
decision = "deny"
`)
	self, err := os.Executable()
	must(t, err)
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	for _, how := range []string{
		"connect", "mapped", "zero", "zero6", "fastopen", "uring", "uring-async", "udp", "udp-connected", "udp-mapped", "sendmsg", "sendmmsg", "mptcp", "sctp", "dccp", "icmp", "raw", "raw6",
	} {
		t.Run(how, func(t *testing.T) {
			if out := m.free(self + " attack-net " + how + " " + port + " && echo through"); !strings.Contains(out, "through") {
				t.Logf("this kernel has no such way, governed or not: %.200q", out)
			}
			for len(accepted) > 0 {
				<-accepted
			}
			out, err := m.run("exec " + self + " attack-net " + how + " " + port)
			if err == nil {
				t.Errorf("it got through: %q", out)
			}
			t.Logf("%.200q", out)
		})
	}
	select {
	case from := <-accepted:
		t.Errorf("the listener was reached: %s", from)
	default:
	}
}

// attack is what a governed attacker runs; it returns 0 if it got through.
func attack(name string, args []string) int {
	var err error
	switch name {
	case "attack-mainexit":
		go func() {
			// by now the main thread may be gone; what is left must not be free
			for try := 0; try < 50; try++ {
				_ = unix.Nanosleep(&unix.Timespec{Nsec: 2e6}, nil)
			}
			err := unix.Exec(args[0], args, os.Environ())
			fmt.Println("exec:", err)
			os.Exit(1)
		}()
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
	case "attack-memfd":
		var fd int
		if fd, err = memfdOf(args[0]); err == nil {
			err = unix.Exec("/proc/self/fd/"+strconv.Itoa(fd), args, os.Environ())
		}
	case "attack-execveat":
		var fd int
		if fd, err = unix.Open(args[0], unix.O_PATH, 0); err == nil {
			empty := []byte{0}
			argv := []*byte{bytePtr("harmless"), bytePtr(args[1]), nil}
			_, _, e := unix.Syscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
				uintptr(unsafe.Pointer(&argv[0])), 0, unix.AT_EMPTY_PATH, 0)
			err = e
		}
	case "attack-noargs":
		path := bytePtr(args[0])
		argv := []*byte{nil}
		_, _, e := unix.Syscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&argv[0])), 0)
		err = e
	case "attack-uring":
		if err = uringFile(args[0], strings.Join(args[1:], "")); err == nil {
			fmt.Println("done")
		}
	case "attack-lent":
		if err = uringLent(args[0], args[1]); err == nil {
			fmt.Println("done")
		}
	case "attack-net":
		err = attackNet(args[0], args[1])
	default:
		return 2
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func bytePtr(s string) *byte {
	p, err := unix.BytePtrFromString(s)
	if err != nil {
		panic(err)
	}
	return p
}

func memfdOf(path string) (int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return -1, err
	}
	fd, err := unix.MemfdCreate("harmless", 0)
	if err != nil {
		return -1, err
	}
	_, err = unix.Write(fd, data)
	return fd, err
}

func attackNet(how, port string) error {
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	four := &unix.SockaddrInet4{Port: n, Addr: [4]byte{127, 0, 0, 1}}
	mapped := &unix.SockaddrInet6{Port: n, Addr: [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}}
	open := func(family, kind, protocol int) int {
		var fd int
		if fd, err = unix.Socket(family, kind, protocol); err != nil {
			fmt.Println("socket:", err)
			os.Exit(1)
		}
		return fd
	}
	stream, dgram := unix.SOCK_STREAM, unix.SOCK_DGRAM
	hello := []byte("hello")
	switch how {
	case "connect":
		return unix.Connect(open(unix.AF_INET, stream, 0), four)
	case "mapped":
		return unix.Connect(open(unix.AF_INET6, stream, 0), mapped)
	case "zero":
		return unix.Connect(open(unix.AF_INET, stream, 0), &unix.SockaddrInet4{Port: n})
	case "zero6":
		return unix.Connect(open(unix.AF_INET6, stream, 0), &unix.SockaddrInet6{Port: n, Addr: [16]byte{10: 0xff, 11: 0xff}})
	case "fastopen":
		return unix.Sendto(open(unix.AF_INET, stream, 0), hello, unix.MSG_FASTOPEN, four)
	case "uring":
		return uringConnect(open(unix.AF_INET, stream, 0), four.Addr, n, 0)
	case "uring-async": // IOSQE_ASYNC: in a thread of the kernel's own
		return uringConnect(open(unix.AF_INET, stream, 0), four.Addr, n, 1<<4)
	case "udp":
		return unix.Sendto(open(unix.AF_INET, dgram, 0), hello, 0, four)
	case "udp-mapped":
		return unix.Sendto(open(unix.AF_INET6, dgram, 0), hello, 0, mapped)
	case "udp-connected":
		return unix.Connect(open(unix.AF_INET, dgram, 0), four)
	case "sendmsg":
		return unix.Sendmsg(open(unix.AF_INET, dgram, 0), hello, nil, four, 0)
	case "sendmmsg":
		// an unconnected socket that was connected once elsewhere and let go
		fd := open(unix.AF_INET, dgram, 0)
		_ = unix.Connect(fd, &unix.SockaddrInet4{Port: n, Addr: [4]byte{127, 0, 0, 2}})
		return unix.Sendto(fd, hello, 0, four)
	case "mptcp":
		return unix.Connect(open(unix.AF_INET, stream, unix.IPPROTO_MPTCP), four)
	case "sctp":
		return unix.Connect(open(unix.AF_INET, stream, unix.IPPROTO_SCTP), four)
	case "dccp":
		return unix.Connect(open(unix.AF_INET, 6, unix.IPPROTO_DCCP), four)
	case "icmp":
		return unix.Sendto(open(unix.AF_INET, dgram, unix.IPPROTO_ICMP), []byte{8, 0, 0, 0, 0, 0, 0, 0}, 0, four)
	case "raw":
		return unix.Sendto(open(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP), hello, 0, four)
	case "raw6":
		open(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_TCP)
		return nil
	}
	return fmt.Errorf("unknown way %q", how)
}
