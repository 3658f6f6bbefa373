// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/ebpf"
)

// Whoever could end the companion would keep its user from being asked.
func TestCompanionIsLeftAlone(t *testing.T) {
	// Without what keeps sessions from tracing anybody where people are asked.
	const requirements = lsForbidden + "[paddock.approvals]\nguard = false\n"
	m := newMachine(t, requirements)
	program := filepath.Join(m.dir, "companion")
	copyFile(t, "/bin/sleep", program)
	m.apply(requirements) // as when a package has brought it
	must(t, m.Prove(t.Context()))
	if m.canary.mechanism() == ebpf.None {
		t.Skip("neither LSM nor fmod_ret programs here: nothing keeps signals from other processes of the user")
	}
	start := func(program string) (*exec.Cmd, string) {
		cmd := exec.Command(program, "1000")
		must(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd, strconv.Itoa(cmd.Process.Pid)
	}
	companion, pid := start(program)
	for name, script := range map[string]string{
		"kill":  "kill -9 PID",
		"stop":  "kill -STOP PID",
		"trace": `perl -e 'exit 1 if syscall(101, 16, PID, 0, 0); waitpid PID, 0x40000000; kill "KILL", PID'`,
		// F_SETOWN and F_SETSIG: the kernel sends the signal when the pipe has something.
		"a signal of a file": `perl -e 'pipe R, W; fcntl(R, 8, PID) && fcntl(R, 10, 9) && fcntl(R, 4, 020000) or exit 1; syswrite W, "x"'`,
	} {
		t.Run(name, func(t *testing.T) {
			other, otherPID := start("/bin/sleep")
			out, err := m.run(strings.ReplaceAll(script, "PID", otherPID) + "; echo code $?")
			must(t, err)
			if !strings.Contains(out, "code 0") {
				t.Fatalf("the attack does not even work on another process: %q", out)
			}
			must(t, unix.Waitid(unix.P_PID, other.Process.Pid, nil, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil))
			out, err = m.run(strings.ReplaceAll(script, "PID", pid) + "; true")
			must(t, err)
			if status := signalled(t, companion.Process.Pid); status != "" {
				t.Errorf("the companion: %s, %q", status, out)
			}
		})
	}
	// What a session runs of the same file is no companion.
	if out, err := m.run("./companion 1000 & kill -9 $!; wait $!; echo code $?"); err != nil || !strings.Contains(out, "code 137") {
		t.Errorf("a session cannot end what it started: %q, %v", out, err)
	}
}

// signalled says what a signal or a tracer has done to a process that sleeps; empty: nothing, and none is
// on its way.
func signalled(t *testing.T, pid int) string {
	t.Helper()
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	must(t, err)
	var out []string
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		bad := false
		switch key {
		case "State":
			bad = strings.IndexAny(value, "TtZX") == 0 // it may wait for a disk
		case "SigPnd", "ShdPnd", "TracerPid":
			bad = strings.Trim(value, "0") != ""
		}
		if bad {
			out = append(out, key+" "+value)
		}
	}
	return strings.Join(out, ", ")
}
