// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/sandbox"
)

func TestRun(t *testing.T) {
	var asked []api.RunRequest
	socket := serve(t, &fake{adopt: func(p api.Peer, r api.RunRequest) error {
		if p.PID != os.Getpid() {
			t.Errorf("process %d asks, want %d", p.PID, os.Getpid())
		}
		asked = append(asked, r)
		return nil
	}})
	_, stderr, code, run := paddock(t, socket, "run", "--agent", "codex", "--", "sh", "-c", "exit 3", "--agent", "x")
	if run == nil || code != 0 && stderr == "" {
		t.Fatalf("not executed: code %d, %s", code, stderr)
	}
	argv := []string{"sh", "-c", "exit 3", "--agent", "x"}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(executed{sh, argv}, *run, cmp.AllowUnexported(executed{})); diff != "" {
		t.Errorf("executed:\n%s", diff)
	}
	_, _, _, run = paddock(t, socket, "run", "sh", "--agent", "theirs", "-x")
	if diff := cmp.Diff(&executed{sh, []string{"sh", "--agent", "theirs", "-x"}}, run, cmp.AllowUnexported(executed{})); diff != "" {
		t.Errorf("options after the command are its own:\n%s", diff)
	}
	asked = asked[:1]
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]api.RunRequest{{Agent: "codex", Argv: argv, Cwd: cwd}}, asked); diff != "" {
		t.Errorf("asked:\n%s", diff)
	}
}

// The command is the process that asked: same pid, its own exit code.
func TestRunBecomesTheCommand(t *testing.T) {
	adopted := make(chan int, 1)
	socket := serve(t, &fake{adopt: func(p api.Peer, _ api.RunRequest) error { adopted <- p.PID; return nil }})
	cmd := exec.CommandContext(t.Context(), os.Args[0], "run", "--", "sh", "-c", "echo out; echo err >&2; exit 42")
	cmd.Env = append(os.Environ(), mainEnv+"=1", "PADDOCK_SOCKET="+socket)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 42 || string(stdout) != "out\n" || stderr.String() != "err\n" {
		t.Fatalf("%v, %q, %q", err, stdout, stderr.String())
	}
	if pid := <-adopted; pid != exit.Pid() {
		t.Errorf("process %d was adopted, %d ran", pid, exit.Pid())
	}
}

func TestRunFailsClosed(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.sock")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		socket string
		args   []string
		code   int
		want   string
	}{
		{"no daemon", none, []string{"true"}, ExitRunFailed, "true was not started, for it would not be governed: the Paddock daemon cannot be reached: nothing listens on " + none},
		{"the daemon refuses", serve(t, &fake{}), []string{"true"}, ExitRunFailed, "nobody is adopted here"},
		{"a sandbox that cannot be entered", serve(t, &fake{
			adopt: func(api.Peer, api.RunRequest) error { return nil }, sandbox: &sandbox.Ruleset{Reading: true, Read: []string{"/\x00"}},
		}), []string{"true"}, ExitRunFailed, "entering the sandbox"},
		{"governed already", serve(t, &fake{governed: true}), []string{"true"}, ExitRunFailed, "is governed"},
		{"no such command", none, []string{"no-such-command"}, ExitRunNotFound, "executing no-such-command: executable file not found"},
		{"no such file", none, []string{dir + "/none"}, ExitRunNotFound, "no such file"},
		{"not executable", none, []string{dir + "/data"}, ExitRunNoExec, "permission denied"},
		{"no command", none, nil, ExitUsage, "no command to run (see paddock run --help)"},
		{"not our option", none, []string{"--agnt", "x", "true"}, ExitUsage, "--agnt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, stderr, code, run := paddock(t, c.socket, append([]string{"run"}, c.args...)...)
			if run != nil {
				t.Errorf("executed %+v", *run)
			}
			if code != c.code || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 || stdout != "" {
				t.Errorf("code %d, %q, %q; want %d and one line with %q", code, stdout, stderr, c.code, c.want)
			}
		})
	}
}

// A file that cannot be executed shows only when it is: the session ends with us.
func TestRunOfWhatCannotBeExecuted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("\x7fELF nonsense"), 0o755); err != nil {
		t.Fatal(err)
	}
	socket := serve(t, &fake{adopt: func(api.Peer, api.RunRequest) error { return nil }})
	cmd := exec.CommandContext(t.Context(), os.Args[0], "run", file)
	cmd.Env = append(os.Environ(), mainEnv+"=1", "PADDOCK_SOCKET="+socket)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != ExitRunNoExec || !strings.Contains(string(out), "exec format error") {
		t.Errorf("%v, %s", err, out)
	}
}

func TestCommandLines(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.sock")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"status"}, ExitError, "cannot be reached"},
		{[]string{"sessions"}, ExitError, "cannot be reached"},
		{[]string{"events"}, ExitError, "cannot be reached"},
		{[]string{"status", "now"}, ExitUsage, "no argument"},
		{[]string{"events", "--limit", "-1"}, ExitUsage, "negative"},
		{[]string{"events", "--limit", "x"}, ExitUsage, "--limit"},
		{[]string{"--nonsense"}, ExitUsage, "--nonsense"},
		{[]string{"nonsense"}, ExitUsage, "nonsense"},
	} {
		_, stderr, code, _ := paddock(t, none, c.args...)
		if code != c.code || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: code %d, %q; want %d, %q", c.args, code, stderr, c.code, c.want)
		}
	}
	if stdout, _, code, _ := paddock(t, none); code != 0 || !strings.Contains(stdout, "sessions") {
		t.Errorf("without a command: %d, %q; want the help", code, stdout)
	}
}
