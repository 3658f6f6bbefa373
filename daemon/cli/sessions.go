// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/session"
)

func (a *app) sessionsCommand() *cobra.Command {
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List sessions",
		Long: `List the sessions that are live; with --all those as well that ended lately. Root sees
all of them, another user those of that user.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sessions, err := a.client().Sessions(cmd.Context())
			if err != nil {
				return err
			}
			if !all {
				sessions = live(sessions)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), sessions)
			}
			return a.printSessions(cmd.OutOrStdout(), sessions)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also those that ended")
	cmd.AddCommand(a.sessionsShowCommand())
	return cmd
}

func live(all []session.Session) []session.Session {
	out := []session.Session{} // [] in JSON, not null
	for i := range all {
		if all[i].Live() {
			out = append(out, all[i])
		}
	}
	return out
}

// maxCommand is how much of a command is printed for people, in bytes.
const maxCommand = 300

func (a *app) printSessions(w io.Writer, sessions []session.Session) error {
	rows := [][]string{{"SESSION", "AGENT", "SURFACE", "USER", "PID", "STARTED", "ENDED", "EXECS", "DENIED", "CONNECTS", "NET-DENIED", "COMMAND"}}
	for i := range sessions {
		s := &sessions[i]
		agent, user, ended := s.Agent, s.User, "live"
		if s.Version != "" {
			agent += " " + s.Version
		}
		if user == "" {
			user = strconv.FormatUint(uint64(s.UID), 10)
		}
		if !s.Live() {
			ended = s.Ended.In(a.zone).Format(timeFormat)
		}
		command := commandLine(s.Root.Args, maxCommand)
		if command == "" {
			command = word(s.Root.Exe)
		}
		c := s.Counters
		rows = append(rows, []string{
			s.ID, agent, s.Surface, user, strconv.Itoa(s.Root.PID), s.Started.In(a.zone).Format(timeFormat), ended,
			fmt.Sprint(c.Execs), fmt.Sprint(c.Denied), fmt.Sprint(c.Connects), fmt.Sprint(c.NetDenied), command,
		})
	}
	return printTable(w, "", rows)
}

// timeFormat is how people are told a time of day.
const timeFormat = "2006-01-02 15:04:05"

// printTable aligns rows. Every cell is made plain here: what agents choose is
// among them.
func printTable(w io.Writer, indent string, rows [][]string) error {
	var out bytes.Buffer
	tw := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(tw, "\t")
			}
			fmt.Fprint(tw, plain(cell))
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(out.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(indent+line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	_, err = w.Write(append(safeJSON(data), '\n'))
	return err
}
