// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

func (a *app) sessionsShowCommand() *cobra.Command {
	var p join.Page
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show SESSION",
		Short: "Show what a session did, by time",
		Long: `Show what a session did, by time: prompts, tool calls with what they ran and reached, and
what was kept from happening. SESSION is its ID, or the end of it. Of a long session the
newest part is shown; --before and the number at the end lead further back.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, fmt.Errorf("%s needs one session, got %d", cmd.CommandPath(), len(args)))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.Check(); err != nil {
				return usage(cmd, err)
			}
			account, err := a.client().Account(cmd.Context(), args[0], p)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), account)
			}
			return a.printTimeline(cmd.OutOrStdout(), account)
		},
	}
	f := cmd.Flags()
	f.Int64Var(&p.Before, "before", 0, "only what was recorded before the event with this number")
	f.IntVar(&p.Limit, "limit", 0, fmt.Sprintf("events to read; default %d, at most %d", join.DefaultShown, join.MaxShown))
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printTimeline tells a session to a person.
func (a *app) printTimeline(w io.Writer, account *join.Account) error {
	p := &pages{a: a}
	p.session(&account.Session)
	if account.More {
		p.part("Earlier")
		p.line("not shown: --before %d leads there", account.First)
	}
	for _, e := range account.Timeline() {
		p.entry(&e)
	}
	_, err := w.Write(p.Bytes())
	return err
}

// maxBrief is how much of a prompt or command a timeline shows, in bytes.
const maxBrief = 160

func brief(s string) string {
	if len(s) > maxBrief {
		return strings.ToValidUTF8(s[:maxBrief], "") + "…"
	}
	return s
}

func (p *pages) entry(e *join.Entry) {
	at := p.clock(e.At)
	switch {
	case e.Prompt != nil:
		p.part("Prompt")
		text := e.Prompt.Text
		if text == "" {
			text = fmt.Sprintf("(%d characters, not recorded)", e.Prompt.Length)
		}
		p.line("%s  %s", at, brief(text))
	case e.Call != nil:
		p.part("Tool call")
		p.line("%s  %s  %s", at, brief(e.Call.Title()), summary(e.Call))
		for i := range e.Call.Decisions {
			d := &e.Call.Decisions[i]
			if d.By != join.ByConfig {
				p.line("              %s", brief(decided(d)))
			}
		}
	case e.Process != nil:
		p.part("Ran")
		p.line("%s  %s  (%d%s)", at, brief(commandLine(e.Process.Args, maxCommand)), e.Process.PID, ending(e.Process))
	case e.Connection != nil:
		p.part("Reached")
		p.line("%s  %s: %s  %s", at, e.Connection.Program, e.Connection.To(), verdict(&e.Connection.Decision))
	case e.File != nil:
		p.part("File")
		p.line("%s  %s %s  %s", at, e.File.Operation, e.File.Path, verdict(&e.File.Decision))
	case e.Note != nil:
		label := "Note"
		if e.Note.Grave {
			label = "Attention"
		}
		p.part(label)
		p.line("%s  %s", at, e.Note.Text)
	}
}

// summary says how much a tool call did.
func summary(c *join.Call) string {
	text := fmt.Sprintf("(%s: %d processes, %d connections", c.ID, len(c.Processes), len(c.Network))
	if n := len(c.Files); n > 0 {
		text += fmt.Sprintf(", %d files", n)
	}
	if n := c.Stopped(); n > 0 {
		text += fmt.Sprintf(", %d STOPPED", n)
	}
	if r := c.Result; r != nil && r.Success != nil && !*r.Success {
		text += ", failed"
	}
	return text + ")"
}
