// SPDX-License-Identifier: Apache-2.0

// Package claude runs the real Claude Code, from npm, against a model that follows a script. Nothing of it reaches a
// network: Run refuses where there is one. `make setup` installs it.
package claude

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/seed-649e9bbc/paddock/tests/claude/messages"
	"github.com/seed-649e9bbc/paddock/tests/codex"
)

// Options say what one run is to do. Dir is needed.
type Options struct {
	Dir    string // where Claude Code works
	Calls  []messages.Call
	Prompt string   // default "follow the script"
	Args   []string // more arguments
	Env    []string // "NAME=value", on top of a small environment of our own
}

// Result is what Claude Code did.
type Result struct {
	Results  map[string]messages.Result // what the model was told, by Call.ID
	Requests []messages.Request
	ExitCode int
	Output   string // stdout and stderr
	Version  string
	Took     time.Duration
}

// Run runs `claude -p` once. A Claude Code that fails is no error: see ExitCode.
func Run(ctx context.Context, o Options) (Result, error) {
	if err := codex.NoNetwork(); err != nil {
		return Result{}, fmt.Errorf("running Claude Code: %w", err)
	}
	install, err := Find()
	if err != nil {
		return Result{}, err
	}
	home, err := os.MkdirTemp("", "paddock-claude-")
	if err != nil {
		return Result{}, fmt.Errorf("running Claude Code: %w", err)
	}
	defer os.RemoveAll(home)
	model, err := messages.Start(messages.Script{Calls: o.Calls, Last: "done"})
	if err != nil {
		return Result{}, fmt.Errorf("running Claude Code: %w", err)
	}
	defer model.Close()

	prompt := o.Prompt
	if prompt == "" {
		prompt = "follow the script"
	}
	cmd := exec.CommandContext(ctx, install.Program, append([]string{"-p", prompt}, o.Args...)...)
	cmd.Dir = o.Dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + home,
		"TMPDIR=" + filepath.Join(home, "tmp"),
		"LANG=C.UTF-8",
		"ANTHROPIC_BASE_URL=" + model.BaseURL(),
		"ANTHROPIC_API_KEY=of-nobody",
		// Nobody is there to hear it. Not CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC alone: what each does changes.
		"DISABLE_TELEMETRY=1", "DISABLE_ERROR_REPORTING=1", "DISABLE_AUTOUPDATER=1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
	}, o.Env...)
	if err := os.Mkdir(filepath.Join(home, "tmp"), 0o700); err != nil {
		return Result{}, fmt.Errorf("running Claude Code: %w", err)
	}
	codex.OwnGroup(cmd)
	// A command that outlives it may hold its output open.
	cmd.WaitDelay = 5 * time.Second
	began := time.Now()
	output, err := cmd.CombinedOutput()
	result := Result{
		Results: model.Results(), Requests: model.Requests(), Output: string(output), Took: time.Since(began), ExitCode: codex.NoExit,
		Version: install.Version,
	}
	if cmd.ProcessState != nil {
		result.ExitCode = cmd.ProcessState.ExitCode()
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return result, fmt.Errorf("running Claude Code: %w after %v; it said:\n%s", ctx.Err(), result.Took.Round(time.Millisecond), output)
	case err != nil && !errors.As(err, &exit):
		return result, fmt.Errorf("running Claude Code: %w", err)
	}
	return result, nil
}
