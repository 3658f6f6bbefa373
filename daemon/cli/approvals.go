// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/approval/show"
)

func (a *app) approvalsCommand() *cobra.Command {
	var asJSON, follow bool
	cmd := &cobra.Command{
		Use:   "approvals",
		Short: "Show what agents wait for, and answer",
		Long: `Show what agents wait for. On a terminal the list stays open and takes answers; elsewhere,
and with --json, what waits now is printed once (with --follow: and whatever changes).

What an agent wants is shown exactly as it would happen: arguments are quoted as a shell
reads them, control characters are never printed as they are. A question that nobody
answers in time is denied.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case asJSON:
				return a.approvalsJSON(cmd, follow)
			case terminal(cmd.InOrStdin()) && terminal(cmd.OutOrStdout()):
				return a.approvalsLive(cmd)
			}
			return a.approvalsPlain(cmd, follow)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one approval a line")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more")
	cmd.AddCommand(a.historyCommand(), a.revokeCommand())
	return cmd
}

// terminal reports whether a stream is a terminal.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

func (a *app) approvalsJSON(cmd *cobra.Command, follow bool) error {
	for c, err := range a.client().Approvals(cmd.Context(), follow) {
		if err != nil {
			return err
		}
		if c.Approval == nil {
			continue
		}
		data, err := json.Marshal(c.Approval)
		if err != nil {
			return fmt.Errorf("writing approval %s: %w", c.Approval.ID, err)
		}
		if _, err := cmd.OutOrStdout().Write(append(safeJSON(data), '\n')); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) approvalsPlain(cmd *cobra.Command, follow bool) error {
	w, any := cmd.OutOrStdout(), false
	for c, err := range a.client().Approvals(cmd.Context(), follow) {
		switch {
		case err != nil:
			return err
		case c.Synced && !any:
			err = printf(w, "Nothing waits for you.\n")
		case c.Approval != nil:
			any = true
			err = a.printApproval(w, "", c.Approval)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// printApproval writes what a person needs to answer, or the answer.
func (a *app) printApproval(w io.Writer, number string, q *api.Approval) error {
	if q.State != approval.Pending {
		return printf(w, "%s%s: %s\n", number, plain(q.ID), plain(outcome(q)))
	}
	agent := q.Agent
	if q.Surface != "" {
		agent += " (" + q.Surface + ")"
	}
	if q.User != "" {
		agent += " of " + q.User
	}
	rows := [][2]string{{"", subjectOf(q)}, {"why", q.Reason}}
	for _, row := range [][2]string{
		{"program", show.Exact(q.Program)},
		{"as user", show.Exact(q.RunsAs)},
		{"directory", show.Exact(q.Cwd)},
		{"project", show.Exact(q.Project)},
		{"tool call", q.ToolCall},
		{"prompt", show.Prose(q.Prompt)},
		{"risk", q.Risk},
	} {
		if row[1] != "" {
			rows = append(rows, row)
		}
	}
	if q.Merged > 1 {
		rows = append(rows, [2]string{"waits", fmt.Sprintf("%d times", q.Merged)})
	}
	if q.Always != "" {
		rows = append(rows, [2]string{"always", q.Always})
	} else if q.NotAlways != "" {
		rows = append(rows, [2]string{"not always", q.NotAlways})
	}
	if err := printf(w, "%s%s  %s wants to %s; %s left\n", number, plain(q.ID), plain(agent), verb(q), left(q)); err != nil {
		return err
	}
	for _, row := range rows {
		if err := printf(w, "    %-10s  %s\n", row[0], plain(row[1])); err != nil {
			return err
		}
	}
	return nil
}

func verb(q *api.Approval) string {
	switch q.Kind {
	case approval.Command:
		return "run"
	case approval.Connection:
		return "connect to"
	case approval.File:
		return "use"
	case approval.Tool:
		return "call " + plain(q.Tool)
	}
	return plain(string(q.Kind))
}

// subjectOf is exactly what is asked about, whole.
func subjectOf(q *api.Approval) string {
	switch q.Kind {
	case approval.Command:
		return show.Argv(q.Argv)
	case approval.Connection:
		return fmt.Sprintf("%s port %d (%s)", show.Exact(q.Host), q.Port, q.Protocol)
	case approval.File:
		return q.Access + " " + show.Argv([]string{q.Path})
	case approval.Tool:
		if len(q.Argv) > 0 {
			return show.Argv(q.Argv)
		}
		return show.Exact(q.Input)
	}
	return ""
}

func left(q *api.Approval) time.Duration {
	return max(0, time.Until(q.Deadline).Round(time.Second))
}

// outcome says what became of a question.
func outcome(q *api.Approval) string {
	text := string(q.State)
	a := q.Answer
	if a == nil {
		return text
	}
	if q.State == approval.Allowed && a.Scope != "" {
		text += " (" + string(a.Scope) + ")"
	}
	text += " by " + a.By
	if a.User != "" {
		text += " " + a.User
	}
	if a.Root {
		text += " for user " + fmt.Sprint(q.UID)
	}
	if a.Reason != "" {
		text += ": " + a.Reason
	}
	return text
}

func printf(w io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(w, format, args...)
	return err
}

// waiting returns what waits for the caller now.
func (a *app) waiting(ctx context.Context) ([]api.Approval, error) {
	var out []api.Approval
	for c, err := range a.client().Approvals(ctx, false) {
		if err != nil {
			return nil, err
		}
		if c.Approval != nil {
			out = append(out, *c.Approval)
		}
	}
	return out, nil
}
