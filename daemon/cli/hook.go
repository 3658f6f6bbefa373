// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/hook"
)

// hookLimit is below the shortest time that an agent gives a hook by itself: Claude
// Code's used to be 60 s.
const hookLimit = 55 * time.Second

func (a *app) hookCommand() *cobra.Command {
	h := hookRun{app: a}
	cmd := &cobra.Command{
		Use:   "hook AGENT [--limit TIME] [--permissions agent|paddock]",
		Short: "Answer an agent's hook (started by the agent)",
		Long: `Read what an agent tells its hook on the standard input, ask the daemon, and answer in the
agent's own words, so that it shows a proper refusal instead of a killed process. AGENT is
one of ` + strings.Join(hook.Agents(), ", ") + `.

Before a tool call (PreToolUse) the command in it is judged by the rules: what is forbidden
is denied with the reason, what needs approval is asked of a person, and to the rest nothing
is said. When the agent wants permission itself (PermissionRequest), it asks its user, or,
with --permissions paddock, Paddock does. Every other event is recorded.

Whatever goes wrong, a tool call is denied: the daemon is away, the input cannot be read,
nobody answers within --limit. Give the hook a longer time than that in the agent's own
configuration; see docs/approvals.md. What runs is judged by the kernel side all the same.

Exit codes: 0 answered; 1 an event could not be recorded; 2 blocked, for reasons on the
standard error.`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) != 1:
				return usage(cmd, fmt.Errorf("give one agent: %s", strings.Join(hook.Agents(), ", ")))
			case !slices.Contains(hook.Agents(), args[0]):
				return usage(cmd, fmt.Errorf("unknown agent %q (one of %s)", args[0], strings.Join(hook.Agents(), ", ")))
			case h.permissions != "agent" && h.permissions != "paddock":
				return usage(cmd, fmt.Errorf("--permissions %q: must be agent or paddock", h.permissions))
			case h.limit <= 0:
				return usage(cmd, errors.New("--limit must be more than 0"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), h.limit)
			defer cancel()
			return h.run(ctx, args[0], cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().DurationVar(&h.limit, "limit", hookLimit, "how long a person may take to answer; then it is denied")
	cmd.Flags().StringVar(&h.permissions, "permissions", "agent", "who is asked when the agent wants permission: its user by the `agent`, or by paddock")
	return cmd
}

// hookRun answers one hook.
type hookRun struct {
	app         *app
	limit       time.Duration
	permissions string
}

// run answers. A usage error ends with the exit code that blocks, and so does what is
// returned here with exitBlock.
func (h *hookRun) run(ctx context.Context, agent string, in io.Reader, out io.Writer) error {
	e, err := readEvent(ctx, agent, in)
	if err != nil && e.Name == "" {
		return blocked(err)
	}
	if !e.Gate() {
		if err == nil {
			err = h.app.client().RecordHook(ctx, recorded(&e))
		}
		if err != nil {
			return fmt.Errorf("%s is not recorded: %w", e.Name, err)
		}
		return nil
	}
	var answer []byte
	if err == nil {
		answer, err = h.decide(ctx, &e)
	}
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("nobody answered within %v", h.limit)
		}
		answer = e.Deny("paddock: denied: " + plain(err.Error()))
	}
	if _, err := out.Write(answer); err != nil {
		return blocked(fmt.Errorf("the answer cannot be written: %w", err))
	}
	return nil
}

// blocked is an error that keeps the agent from going on, whatever it was about.
func blocked(err error) error { return &exitError{hook.ExitBlock, fmt.Errorf("denied: %w", err)} }

// readEvent reads the event. An agent that does not end its input is not waited for.
func readEvent(ctx context.Context, agent string, in io.Reader) (hook.Event, error) {
	type read struct {
		data []byte
		err  error
	}
	done := make(chan read, 1)
	go func() {
		data, err := io.ReadAll(io.LimitReader(in, hook.MaxInput+1))
		done <- read{data, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return hook.Event{}, fmt.Errorf("reading what %s tells its hook: %w", agent, r.err)
		}
		return hook.Parse(agent, r.data)
	case <-ctx.Done():
		return hook.Event{}, fmt.Errorf("reading what %s tells its hook: it does not end", agent)
	}
}

// maxHookText bounds what a person may be shown of a tool's input, in bytes.
const maxHookText = 32 << 10

// decide returns what is to be written for a tool call; nothing is "no opinion".
func (h *hookRun) decide(ctx context.Context, e *hook.Event) ([]byte, error) {
	client := h.app.client()
	if e.Name == hook.PermissionRequest && h.permissions == "agent" {
		// Before the call itself the rules were asked, and what they forbid was denied.
		return nil, client.RecordHook(ctx, recorded(e))
	}
	req := api.ToolRequest{
		Tool: e.Tool, Command: e.Command, Argv: e.Argv, Cwd: e.Cwd, ToolCall: e.ToolCall, Ask: e.Name == hook.PermissionRequest,
	}
	if !e.Shell {
		if req.Input = e.Input; len(req.Input) > maxHookText {
			// An answer that holds on holds for the very same input.
			req.Input = req.Input[:maxHookText] + fmt.Sprintf("... (%d bytes more, SHA-256 of all %x)", len(req.Input)-maxHookText, sha256.Sum256([]byte(req.Input)))
		}
	}
	answer, err := client.RequestTool(ctx, req)
	switch {
	case err != nil:
		return nil, err
	case answer.Decision == api.ToolDeny:
		return e.Deny("paddock: " + plain(answer.Reason)), nil
	case answer.Decision == api.ToolAllow && answer.Approval != "":
		return e.Allow(), nil // a person was asked just now
	}
	// What a rule allows needs no question of ours, but does not leave the agent's own
	// sandbox by that.
	return nil, nil
}

func recorded(e *hook.Event) api.HookEvent {
	return api.HookEvent{
		Agent: e.Agent, Event: e.Name, Thread: e.Thread, Turn: e.Turn, Cwd: e.Cwd, Model: e.Model, Mode: e.Mode, Tool: e.Tool,
		ToolCall: e.ToolCall, Input: e.Input, Result: e.Result, Prompt: e.Prompt, Message: e.Message, Detail: e.Detail,
	}
}
