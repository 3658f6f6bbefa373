// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"bufio"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var openSpans = []NetSpan{{First: 0, Last: 65535, Protocols: TCP | UDP, Allow: true, Rule: -1}}

// openNet lets everything through.
var openNet = []NetEntry{
	{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Spans: openSpans},
	{Prefix: netip.MustParsePrefix("::/0"), Spans: openSpans},
}

// open gives a test its own kernel side: own pins, own maps, and connect hooks
// only below a cgroup of its own.
func open(t testing.TB, pins string) *Kernel {
	t.Helper()
	k, err := Open(Options{PinDir: pins, Cgroup: FindCgroup()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func pinDir(t testing.TB) string {
	dir := filepath.Join("/sys/fs/bpf", "paddock-test-"+strings.ReplaceAll(t.Name(), "/", "-"))
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func enforcing(t *testing.T) *Kernel {
	k := open(t, pinDir(t))
	must(t, k.SetPolicy(Generation{Number: 1, Enforce: true, Net: openNet}))
	must(t, k.SetDaemon(os.Getpid(), true))
	must(t, k.Attach())
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// waitingShell starts a shell that is past its own exec, under which Start returns, and runs script once it is told to.
func waitingShell(t *testing.T, script string) (cmd *exec.Cmd, out *bufio.Reader, tell func()) {
	t.Helper()
	cmd = exec.Command("/bin/sh", "-c", "echo ready; read go; "+script)
	in, err := cmd.StdinPipe()
	must(t, err)
	pipe, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill() })
	out = bufio.NewReader(pipe)
	_, err = out.ReadString('\n')
	must(t, err)
	return cmd, out, func() {
		t.Helper()
		_, err := in.Write([]byte("go\n"))
		must(t, err)
	}
}

// mark puts a process into session 7.
func mark(t *testing.T, k *Kernel, cmd *exec.Cmd) {
	t.Helper()
	must(t, k.NewSession(7))
	must(t, k.Mark(cmd.Process.Pid, Proc{Session: 7}))
}

// governedShell starts a shell that waits for its mark before it runs script.
func governedShell(t *testing.T, k *Kernel, script string) *exec.Cmd {
	t.Helper()
	cmd, _, tell := waitingShell(t, script)
	mark(t, k, cmd)
	tell()
	return cmd
}

func next[T Record](t *testing.T, k *Kernel, r *Reader) T {
	t.Helper()
	r.ring.SetDeadline(time.Now().Add(20 * time.Second))
	for {
		rec, err := r.Read()
		must(t, err)
		if want, ok := rec.(T); ok {
			return want
		}
	}
}

func reader(t *testing.T, k *Kernel, r Ring) *Reader {
	t.Helper()
	rd, err := k.Reader(r)
	must(t, err)
	return rd
}

func TestHeldProcessRunsOnlyWhenReleased(t *testing.T) {
	k := enforcing(t)
	holds, volume := reader(t, k, Holds), reader(t, k, Volume)
	out := filepath.Join(t.TempDir(), "out")
	cmd := governedShell(t, k, "/bin/echo one two > "+out)

	e := next[*Exec](t, k, holds)
	if got := strings.Join(e.Args(), "|"); got != "/bin/echo|one|two" || e.Name != "echo" || e.Path != "/bin/echo" {
		t.Errorf("record says argv %q, name %q, path %q", got, e.Name, e.Path)
	}
	if e.Action != ExecHeld || e.Session != 7 || e.PPID != cmd.Process.Pid {
		t.Errorf("record: %+v", e)
	}
	if b, _ := os.ReadFile(out); len(b) > 0 {
		t.Error("the program wrote before it was released")
	}
	h, err := k.Hold(e)
	must(t, err)
	defer h.Close()
	must(t, h.Release())
	if x := next[*Exit](t, k, volume); x.PID != e.PID || x.Code != 0 || x.Remaining != 1 {
		t.Errorf("exit record %+v", x)
	}
	must(t, cmd.Wait())
	if b, _ := os.ReadFile(out); string(b) != "one two\n" {
		t.Errorf("released program wrote %q", b)
	}
	if err := h.Release(); !errors.Is(err, ErrNotHeld) {
		t.Errorf("second release: %v, want ErrNotHeld", err)
	}
}

func TestKilledProcessNeverRan(t *testing.T) {
	k := enforcing(t)
	holds := reader(t, k, Holds)
	out := filepath.Join(t.TempDir(), "out")
	cmd := governedShell(t, k, "exec /usr/bin/touch "+out)
	h, err := k.Hold(next[*Exec](t, k, holds))
	must(t, err)
	defer h.Close()
	must(t, h.Kill())
	_ = cmd.Wait()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
		t.Errorf("ended with %v, want SIGKILL", ws)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("the killed program ran")
	}
}

// eachWatch does a test under each of the watches on what must not go on, where it can be had.
func eachWatch(t *testing.T, test func(t *testing.T, k *Kernel)) {
	for name, watch := range map[string]func(*Kernel) error{
		"fexit":     (*Kernel).WatchWoken,
		"sys_enter": func(k *Kernel) error { return k.WatchSyscalls(true) },
	} {
		t.Run(name, func(t *testing.T) {
			k := enforcing(t)
			if watches(t, watch(k)) {
				test(t, k)
			}
		})
	}
}

// watches says whether there is a watch; only where it cannot be relied upon there may be none.
func watches(t *testing.T, err error) bool {
	t.Helper()
	if kernel := os.Getenv("PADDOCK_VM"); errors.Is(err, ErrNoReturn) && (kernel == "" || strings.HasPrefix(kernel, "5.10")) {
		t.Log(err) // not a skip: there, at its first system call is all that can be had
		return false
	}
	must(t, err)
	return true
}

// Somebody wakes the held process: it must die, whatever watches.
func TestWokenProcessDies(t *testing.T) {
	eachWatch(t, func(t *testing.T, k *Kernel) {
		holds, security := reader(t, k, Holds), reader(t, k, Security)
		out := filepath.Join(t.TempDir(), "out")
		cmd := governedShell(t, k, "exec /usr/bin/touch "+out)
		e := next[*Exec](t, k, holds)
		must(t, unix.Kill(e.PID, unix.SIGCONT))
		if r := next[*Killed](t, k, security); r.Reason.String() != "it ran before it was released" || r.PID != e.PID {
			t.Errorf("killed record %+v", r)
		}
		_ = cmd.Wait()
		if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
			t.Errorf("ended with %v, want SIGKILL", ws)
		}
		if _, err := os.Stat(out); err == nil {
			t.Error("the woken program ran")
		}
	})
}

func TestNobodyToAskKills(t *testing.T) {
	k := enforcing(t)
	must(t, k.SetDaemon(0, false))
	security := reader(t, k, Security)
	cmd := governedShell(t, k, "exec /bin/true")
	if e := next[*Exec](t, k, security); e.Action != ExecKilled || e.Reason.String() != "the daemon was not running" {
		t.Errorf("record %+v", e)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("an exec nobody judged ran")
	}
}

func TestCachedDecisionIsNotAskedAgain(t *testing.T) {
	k := enforcing(t)
	holds, volume := reader(t, k, Holds), reader(t, k, Volume)
	cmd := governedShell(t, k, "/bin/echo a >/dev/null; /bin/echo a >/dev/null; /bin/echo b >/dev/null")
	first := next[*Exec](t, k, holds)
	must(t, k.CacheCommand(first))
	h, err := k.Hold(first)
	must(t, err)
	must(t, h.Release())
	h.Close()
	if e := next[*Exec](t, k, volume); e.Action != ExecAllowed || e.Args()[1] != "a" {
		t.Errorf("second exec of the same command: %+v", e)
	}
	other := next[*Exec](t, k, holds)
	if other.Args()[1] != "b" {
		t.Errorf("asked about %q, want the other command", other.Args())
	}
	h, err = k.Hold(other)
	must(t, err)
	must(t, h.Release())
	h.Close()
	must(t, cmd.Wait())
}

func TestConnectVerdicts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	k := enforcing(t)
	must(t, k.SetPolicy(Generation{Number: 2, Enforce: true, Net: append([]NetEntry{
		{Prefix: netip.MustParsePrefix("127.0.0.1/32"), Spans: []NetSpan{
			{First: 0, Last: uint16(port), Protocols: TCP | UDP, Rule: 5},
			{First: uint16(port) + 1, Last: 65535, Protocols: TCP | UDP, Allow: true, Rule: -1},
		}},
	}, openNet...)}))
	must(t, k.NewSession(9))
	security := reader(t, k, Security)
	dial := func() error {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			c.Close()
		}
		return err
	}
	must(t, dial()) // not governed
	must(t, k.Mark(os.Getpid(), Proc{Session: 9, Flags: CanaryChild}))
	err = dial()
	must(t, k.Unmark(os.Getpid()))
	if !errors.Is(err, unix.EPERM) {
		t.Fatalf("a denied connection: %v, want EPERM", err)
	}
	c := next[*Connect](t, k, security)
	if c.Destination.Port() != uint16(port) || c.Allowed || c.Rule != 5 || c.Generation != 2 || c.Protocol != TCP {
		t.Errorf("record %+v", c)
	}
}

func TestIdentifyAgreesWithTheExecHook(t *testing.T) {
	k := enforcing(t)
	holds := reader(t, k, Holds)
	f, err := os.Open("/bin/true")
	must(t, err)
	defer f.Close()
	ids, err := k.Identify()
	must(t, err)
	governedShell(t, k, "exec /bin/true")
	e := next[*Exec](t, k, holds)
	if ids[int(f.Fd())] != e.Exe {
		t.Errorf("iterator says %+v, the hook %+v", ids[int(f.Fd())], e.Exe)
	}
}

// What a daemon leaves pinned goes on: its successor finds marks and policy.
func TestTakeover(t *testing.T) {
	dir := pinDir(t)
	k := open(t, dir)
	must(t, k.SetPolicy(Generation{Number: 3, Enforce: true, Net: openNet}))
	must(t, k.Attach())
	cmd := governedShell(t, k, "read wait; exec /bin/true")
	pid := cmd.Process.Pid
	must(t, k.Close())

	next := open(t, dir)
	if !next.TookOver() {
		t.Fatal("the pinned state was not found")
	}
	if p, err := next.Lookup(pid); err != nil || p.Session != 7 {
		t.Errorf("mark after takeover: %+v, %v", p, err)
	}
	must(t, next.Attach())
	counts, err := next.CountProcs()
	must(t, err)
	if counts[7] != 1 {
		t.Errorf("processes counted after takeover: %v", counts)
	}
}

// Whoever comes and goes, the brake on fork bombs counts what is there.
func TestMarksAreCounted(t *testing.T) {
	k := enforcing(t)
	count := func() (n int64) {
		must(t, k.maps[kernelMapProcCount].Lookup(uint32(0), &n))
		return n
	}
	volume := reader(t, k, Volume)
	for range 3 {
		cmd := governedShell(t, k, "(exit 3); (exit 3); true")
		must(t, cmd.Wait())
		for range 3 {
			next[*Exit](t, k, volume)
		}
	}
	if n := count(); n != 0 {
		t.Errorf("%d processes counted after all have ended", n)
	}
	cmd := governedShell(t, k, "(read a; exit 3); exit 0")
	must(t, k.Unmark(cmd.Process.Pid))
	if _, err := k.Lookup(cmd.Process.Pid); !errors.Is(err, ErrNoProcess) {
		t.Errorf("a process that was let go: %v", err)
	}
	if all, err := k.Procs(); err != nil || len(all) > 1 {
		t.Errorf("marked: %v, %v", all, err)
	}
}

func TestRecordsFailOnTooLittle(t *testing.T) {
	for n := range 64 {
		raw := make([]byte, n)
		if n > 0 {
			raw[0] = byte(kernelRecordTypeRECORD_EXEC)
		}
		if _, err := decode(raw); err == nil {
			t.Errorf("%d bytes were taken for a record", n)
		}
	}
}

// mayBe says whether programs would look for a process's mark.
func mayBe(t *testing.T, k *Kernel, pid int) (may bool) {
	t.Helper()
	must(t, k.eachMarked(0, k.numbers(), func(all []byte) { may = all[pid] != 0 }))
	return may
}

// Who ends leaves a number that nobody looks for.
func TestWhoMayBeMarked(t *testing.T) {
	k := enforcing(t)
	volume := reader(t, k, Volume)
	cmd := governedShell(t, k, "(exit 3); read end")
	child := next[*Exit](t, k, volume)
	if mayBe(t, k, child.PID) {
		t.Errorf("child %d has ended, and its mark is looked for", child.PID)
	}
	if !mayBe(t, k, cmd.Process.Pid) || mayBe(t, k, os.Getpid()) {
		t.Errorf("looked for: the session %v, the test %v", mayBe(t, k, cmd.Process.Pid), mayBe(t, k, os.Getpid()))
	}
	must(t, cmd.Process.Kill())
	next[*Exit](t, k, volume)
	if mayBe(t, k, cmd.Process.Pid) {
		t.Error("the session has ended, and its mark is looked for")
	}
}

// A version that did not say whom it marked has nobody forgotten by the next one, and is itself forgotten with time.
func TestTakeoverFromBeforeNumbersWereTold(t *testing.T) {
	dir := pinDir(t)
	k := open(t, dir)
	must(t, k.SetPolicy(Generation{Number: 3, Enforce: true, Net: openNet}))
	must(t, k.Attach())
	cmd, _, tell := waitingShell(t, "while :; do (exit 5); done") // of some, the end is told to the other version as long as it is there
	mark(t, k, cmd)
	must(t, os.Rename(k.pinned(""), filepath.Join(dir, "0123456789abcdef")))
	must(t, os.Remove(filepath.Join(dir, "0123456789abcdef", "maps", kernelMapMarked)))
	must(t, k.Close())

	// Once it is cut short, and by then its programs had forgotten some.
	k = open(t, dir)
	must(t, k.eachMarked(0, k.numbers(), func(all []byte) { clear(all) }))
	must(t, k.Close())

	k = open(t, dir)
	must(t, k.SetPolicy(Generation{Number: 1, Enforce: true, Net: openNet}))
	must(t, k.SetDaemon(os.Getpid(), true))
	must(t, k.Attach())
	must(t, k.DropOthers())
	volume := reader(t, k, Volume)
	tell()
	if child := next[*Exit](t, k, volume); child.Session != 7 {
		t.Errorf("a child of the process that was taken over: %+v", child)
	}
	stranger := exec.Command("/bin/true")
	must(t, stranger.Run())
	if mayBe(t, k, stranger.Process.Pid) {
		t.Error("what has ended without a mark is still looked for")
	}
}
