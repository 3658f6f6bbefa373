// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
)

func (a *app) approveCommand() *cobra.Command {
	var session, always bool
	var reason string
	cmd := &cobra.Command{
		Use:   "approve ID [--session|--always]",
		Short: "Allow what an agent waits for",
		Long: `Allow what an agent waits for: this once, or with --session the same again until the agent
ends, or with --always what the rule shown by paddock approvals says, until it is revoked.
The end of an ID is enough. The daemon refuses an answer that was not typed by a person:
from an agent's own process, from a terminal an agent is on, from none.`,
		Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := approval.Reply{Allow: true, Scope: approval.Once, Reason: reason}
			switch {
			case session && always:
				return usage(cmd, errors.New("--session and --always exclude each other"))
			case session:
				r.Scope = approval.Session
			case always:
				r.Scope = approval.Always
			}
			return a.reply(cmd, args[0], r)
		},
	}
	cmd.Flags().BoolVar(&session, "session", false, "the same again in this session of the agent")
	cmd.Flags().BoolVar(&always, "always", false, "what the rule says that is shown, until it is revoked")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the history")
	return cmd
}

func (a *app) denyCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "deny ID [--reason TEXT]",
		Short: "Refuse what an agent waits for",
		Long: `Refuse what an agent waits for. The agent is told the reason. If it asks for the same again
within a minute, that is refused without asking. The end of an ID is enough.`,
		Args: oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.reply(cmd, args[0], approval.Reply{Reason: reason})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the agent and the history")
	return cmd
}

func oneID(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(cmd, fmt.Errorf("%s takes one ID; paddock approvals shows them", cmd.CommandPath()))
	}
	return nil
}

// minID is the least of an ID, in characters, that may stand for it.
const minID = 4

// wholeID finds the one ID that ends in text.
func wholeID(text string, ids []string) (string, error) {
	text = strings.ToUpper(text)
	if len(text) < minID {
		return "", fmt.Errorf("%q: give the ID or at least its last %d characters", text, minID)
	}
	found := ""
	for _, id := range ids {
		if !strings.HasSuffix(id, text) {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("%q: %s and %s end so, give more of it", text, found, id)
		}
		found = id
	}
	if found == "" {
		return "", fmt.Errorf("nothing with the ID %q waits for you", text)
	}
	return found, nil
}

func (a *app) reply(cmd *cobra.Command, id string, r approval.Reply) error {
	if err := approval.Protect(); err != nil {
		return err
	}
	waiting, err := a.waiting(cmd.Context())
	if err != nil {
		return err
	}
	ids := make([]string, len(waiting))
	for i := range waiting {
		ids[i] = waiting[i].ID
	}
	if id, err = wholeID(id, ids); err != nil {
		return err
	}
	done, err := a.client().AnswerApproval(cmd.Context(), id, r)
	if err != nil {
		return err
	}
	return a.printApproval(cmd.OutOrStdout(), "", &done)
}

func (a *app) historyCommand() *cobra.Command {
	var asJSON bool
	limit := 50
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show what was asked and answered",
		Long: `Show what was asked and answered, the newest first, and how: by a person on a terminal or in
a notification, by automatic review, by time. Root sees everybody's.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usage(cmd, fmt.Errorf("--limit %d: must not be negative", limit))
			}
			all, err := a.client().ApprovalHistory(cmd.Context(), limit)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), all)
			}
			rows := [][]string{{"ASKED", "ID", "AGENT", "WHAT", "ANSWER"}}
			for i := range all {
				q := &all[i]
				rows = append(rows, []string{q.Asked.In(a.zone).Format(timeFormat), q.ID, q.Agent, shorten(verb(q) + " " + subjectOf(q)), outcome(q)})
			}
			return printTable(cmd.OutOrStdout(), "", rows)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().IntVar(&limit, "limit", limit, "at most so many; 0: all that are kept")
	return cmd
}

// shorten keeps a table readable; --json has it whole.
func shorten(s string) string {
	if r := []rune(s); len(r) > maxCommand {
		return string(r[:maxCommand]) + "…"
	}
	return s
}

func (a *app) revokeCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "revoke [ID]",
		Short: "List the answers that hold on, or end one",
		Long: `Without an ID: list the answers that hold on, of the scopes session and always, with what
exactly each allows. With one (its end is enough): end it. What it has allowed, it has.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(cmd, errors.New("one ID at a time"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			grants, err := a.client().Grants(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 0 && asJSON {
				return printJSON(cmd.OutOrStdout(), grants)
			}
			rows := [][]string{{"ID", "SCOPE", "GIVEN", "USED", "ALLOWS"}}
			ids := make([]string, len(grants))
			for i, g := range grants {
				ids[i] = g.ID
				rows = append(rows, []string{g.ID, string(g.Scope), g.Given.In(a.zone).Format(timeFormat), fmt.Sprint(g.Used), g.Rule})
			}
			if len(args) == 0 {
				return printTable(cmd.OutOrStdout(), "", rows)
			}
			id, err := wholeID(args[0], ids)
			if err != nil {
				return err
			}
			if err := a.client().RevokeGrant(cmd.Context(), id); err != nil {
				return err
			}
			return printf(cmd.OutOrStdout(), "%s is revoked.\n", plain(id))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
