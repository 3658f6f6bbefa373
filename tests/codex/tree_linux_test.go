// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// ancestor is a process on the way from a command up to the test.
type ancestor struct {
	pid, parent int
	comm, exe   string
	argv        []string
	env         map[string]string
}

// TestProcessTree pins who is between Codex and a command, and which of them carry the tool call's id: Paddock joins
// what ran with why by it.
func TestProcessTree(t *testing.T) {
	Isolated(t, func(t *testing.T) {
		for _, test := range []struct {
			sandbox string
			native  bool
			want    []string // comm, from Codex down to the command
		}{
			{"workspace-write", false, []string{"node", "codex", "codex-linux-san", "bwrap", "codex-linux-san", "bash", "cat"}},
			{"danger-full-access", false, []string{"node", "codex", "bash", "cat"}},
			{"danger-full-access", true, []string{"codex", "bash", "cat"}},
		} {
			t.Run(fmt.Sprintf("%s,native=%v", test.sandbox, test.native), func(t *testing.T) {
				chain := ancestors(t, Options{Sandbox: test.sandbox, Native: test.native})
				var got []string
				for _, a := range chain {
					got = append(got, a.comm)
					t.Logf("%-15s exe %s\n%s", a.comm, a.exe, a.summary())
				}
				if strings.Join(got, " ") != strings.Join(test.want, " ") {
					t.Errorf("processes %v, want %v", got, test.want)
				}
				inCall := false
				for _, a := range chain {
					// From the first process below Codex itself.
					if inCall && (a.env["CODEX_TOOL_CALL_ID"] != CallID(0) || a.env["CODEX_THREAD_ID"] == "") {
						t.Errorf("%s (pid %d) does not carry the ids of its call: %v", a.comm, a.pid, a.env)
					}
					if !inCall && a.env["CODEX_TOOL_CALL_ID"]+a.env["CODEX_THREAD_ID"] != "" {
						t.Errorf("%s (pid %d) carries ids of a call: %v", a.comm, a.pid, a.env)
					}
					inCall = inCall || a.comm == "codex"
				}
			})
		}
	})
}

// ancestors runs a command that waits until it was looked at.
func ancestors(t *testing.T, o Options) []ancestor {
	t.Helper()
	o.Dir = t.TempDir()
	fifo := filepath.Join(o.Dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	o.Commands = []string{"cat fifo; true"} // the last command of a shell would take the place of the shell
	looked := make(chan []ancestor, 1)
	go func() {
		writer, err := os.OpenFile(fifo, os.O_WRONLY, 0) // returns when cat has opened it
		if err != nil {
			looked <- nil
			return
		}
		defer writer.Close()
		looked <- chainOf("cat\x00fifo\x00")
	}()
	result, err := Run(t.Context(), o)
	// Had cat never come, the goroutine would wait for ever.
	if reader, openErr := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0); openErr == nil {
		defer reader.Close()
	}
	chain := <-looked
	if err != nil || result.ExitCode != 0 || len(chain) == 0 {
		t.Fatalf("no command to look at: %v\n%s", err, result.Output)
	}
	return chain
}

// chainOf returns the process with this command line and those above it, up to this one, which is left out; outermost first.
func chainOf(cmdline string) []ancestor {
	matches, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well-formed
	for _, match := range matches {
		text, err := os.ReadFile(match)
		if err != nil || string(text) != cmdline {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(match)))
		if err != nil {
			continue
		}
		var chain []ancestor
		for pid > 1 && pid != os.Getpid() {
			a := look(pid)
			chain = append([]ancestor{a}, chain...)
			pid = a.parent
		}
		return chain
	}
	return nil
}

func look(pid int) ancestor {
	proc := fmt.Sprintf("/proc/%d/", pid)
	a := ancestor{pid: pid, env: map[string]string{}}
	read := func(name string) []byte {
		text, _ := os.ReadFile(proc + name) // what is missing fails the comparison
		return text
	}
	a.comm = string(bytes.TrimSpace(read("comm")))
	a.exe, _ = os.Readlink(proc + "exe")
	a.argv = strings.Split(strings.TrimSuffix(string(read("cmdline")), "\x00"), "\x00")
	for pair := range strings.SplitSeq(string(read("environ")), "\x00") {
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "CODEX_") {
			a.env[name] = value
		}
	}
	for line := range strings.Lines(string(read("status"))) {
		if value, found := strings.CutPrefix(line, "PPid:"); found {
			a.parent, _ = strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return a
}

func (a ancestor) summary() string {
	argv := make([]string, len(a.argv))
	for i, arg := range a.argv {
		argv[i] = fmt.Sprintf("%.60q", arg)
	}
	return fmt.Sprintf("  argv %s\n  env  %v", strings.Join(argv, " "), a.env)
}
