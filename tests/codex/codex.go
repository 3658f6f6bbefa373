// SPDX-License-Identifier: Apache-2.0

// Package codex runs the real Codex, from npm, against a model that follows a script, so that tests see what a real
// agent's tool calls look like to the kernel, and what Codex itself lets through. Nothing of it reaches a network:
// Run refuses where there is one. `make setup` installs Codex.
//
// README.md tells what was measured with it: the processes of a tool call, and their environment.
package codex

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/seed-649e9bbc/paddock/tests/codex/responses"
)

// The longest that Codex 0.169.0 waits for a command before it reports it as still running: virtual machines are slow.
const yieldMillis = 30000

// Options say what one run of Codex is to do. Dir and Commands are needed.
type Options struct {
	Dir      string   // where Codex works, and all that its sandbox lets commands write to
	Commands []string // shell texts, each a tool call of its own, one after the other

	Tools  []responses.Call // calls of other tools, after the commands
	Prompt string           // what Codex is asked for; default "follow the script"

	// Together has the model ask for all of them at once; Codex then runs them at the same time. 17 calls take 0.9 s
	// instead of 5.7 s here, and in a virtual machine more than a minute less.
	Together bool

	Requirements string   // written to /etc/codex/requirements.toml for the run; ErrNotPrivate where /etc is the machine's
	ConfigTOML   string   // tables to append to Codex's config.toml
	Sandbox      string   // read-only, workspace-write or danger-full-access; default workspace-write
	Args         []string // more arguments of `codex exec`, before the prompt
	Env          []string // "NAME=value", on top of a small environment of our own
	Prefix       []string // a command to put before codex, for example paddock run --
	Native       bool     // run the native program, as brew and the installers without npm do
}

// Result is what Codex did.
type Result struct {
	Calls    []Call // as in Options.Commands, then as in Options.Tools
	ExitCode int    // of codex exec
	Output   string // of codex exec, stdout and stderr
	Requests []responses.Request
	Took     time.Duration
}

// CallID is the tool call id of Options.Commands[i].
func CallID(i int) string { return fmt.Sprintf("call_%03d", i) }

// Run runs `codex exec` once. A Codex that fails is no error: see ExitCode and Call.Answered. Errors are what kept it
// from running: ErrNetwork, ErrNotPrivate, no Codex, a context that ended.
func Run(ctx context.Context, o Options) (Result, error) {
	if err := NoNetwork(); err != nil {
		return Result{}, fmt.Errorf("running Codex: %w", err)
	}
	install, err := Find()
	if err != nil {
		return Result{}, err
	}
	if o.Requirements != "" {
		remove, err := require(o.Requirements)
		if err != nil {
			return Result{}, err
		}
		defer remove()
	}
	scratch, err := os.MkdirTemp("", "paddock-codex-")
	if err != nil {
		return Result{}, fmt.Errorf("running Codex: %w", err)
	}
	defer os.RemoveAll(scratch)

	script := responses.Script{Last: "done", Together: o.Together}
	for i, command := range o.Commands {
		script.Calls = append(script.Calls, responses.ExecCommand(CallID(i), command, yieldMillis))
	}
	script.Calls = append(script.Calls, o.Tools...)
	model, err := responses.Start(script)
	if err != nil {
		return Result{}, fmt.Errorf("running Codex: %w", err)
	}
	defer model.Close()
	home, err := home(scratch, model.BaseURL(), o.ConfigTOML)
	if err != nil {
		return Result{}, err
	}

	result, err := start(ctx, o, install, home)
	result.Requests = model.Requests()
	outputs := model.Outputs()
	for i, command := range o.Commands {
		call := Call{ID: CallID(i), Command: command, ExitCode: NoExit}
		if report, found := outputs[call.ID]; found {
			call.read(report)
		}
		result.Calls = append(result.Calls, call)
	}
	for _, tool := range o.Tools {
		output, found := outputs[tool.ID]
		result.Calls = append(result.Calls, Call{ID: tool.ID, Answered: found, Output: output, ExitCode: NoExit})
	}
	return result, err
}

// start runs the program and waits for it.
func start(ctx context.Context, o Options, install Install, home string) (Result, error) {
	program := install.Script
	if o.Native {
		program = install.Native
	}
	sandbox := o.Sandbox
	if sandbox == "" {
		sandbox = "workspace-write"
	}
	argv := append(append([]string{}, o.Prefix...), program, "exec", "--skip-git-repo-check", "--sandbox", sandbox)
	prompt := o.Prompt
	if prompt == "" {
		prompt = "follow the script"
	}
	argv = append(append(argv, o.Args...), prompt)

	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = o.Dir
	cmd.Env = environment(home, o.Env)
	OwnGroup(cmd)
	// A command that outlives Codex may hold its output open.
	cmd.WaitDelay = 5 * time.Second
	began := time.Now()
	output, err := cmd.CombinedOutput()
	result := Result{Output: string(output), Took: time.Since(began), ExitCode: NoExit}
	if cmd.ProcessState != nil {
		result.ExitCode = cmd.ProcessState.ExitCode()
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return result, fmt.Errorf("running Codex: %w after %v; it said:\n%s", ctx.Err(), result.Took.Round(time.Millisecond), output)
	case err != nil && !errors.As(err, &exit):
		return result, fmt.Errorf("running Codex: %w", err)
	}
	return result, nil
}

// require puts requirements where Codex looks for them.
func require(text string) (remove func(), err error) {
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("requirements not written: looking whose /etc it is: %w", err)
	}
	if !private(string(mountinfo)) {
		return nil, ErrNotPrivate
	}
	const path = "/etc/codex/requirements.toml"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("writing requirements for Codex: %w", err)
	}
	before, err := os.ReadFile(path)
	existed := err == nil
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return nil, fmt.Errorf("writing requirements for Codex: %w", err)
	}
	return func() {
		if !existed {
			_ = os.Remove(path)
			return
		}
		_ = os.WriteFile(path, before, 0o644) // the file system itself is gone soon
	}, nil
}
