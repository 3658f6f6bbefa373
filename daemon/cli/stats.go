// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

func (a *app) statsCommand() *cobra.Command {
	var days int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Tell how agents were used, in numbers (root)",
		Long: `Tell how agents were used on this machine, in numbers: sessions by agent, version and
surface, tool calls, MCP servers, approvals and how long an answer took, what was blocked
by which rule, how the requirements changed. Counted hour by hour as it happens, so it
reaches back further than the events that are kept.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			const most = 3650
			if days < 1 || days > most {
				return usage(cmd, fmt.Errorf("--days %d: must be 1 to %d", days, most))
			}
			to := time.Now().Add(time.Hour) // the hour under way
			stats, err := a.client().Stats(cmd.Context(), to.AddDate(0, 0, -days), to)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), stats)
			}
			return a.printStats(cmd.OutOrStdout(), stats)
		},
	}
	cmd.Flags().IntVar(&days, "days", 30, "how many days")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// maxRows is how many rows of one kind are printed for people.
const maxRows = 20

func (a *app) printStats(w io.Writer, s *join.Stats) error {
	fmt.Fprintf(w, "%d events since %s\n", s.Events, s.From.In(a.zone).Format(timeFormat))
	for _, part := range []struct {
		title string
		rows  []join.Row
	}{
		{"Sessions", s.Sessions},
		{"Programs started, by decision", s.Programs},
		{"Blocked", s.Blocks},
		{"Would have been blocked (mode observe)", s.WouldBlock},
		{"Tool calls, as the agents say", s.ToolCalls},
		{"MCP servers", s.MCPServers},
		{"The agents' own decisions", s.Decisions},
		{"The agents' own proxies and sandboxes", s.AgentBlocks},
		{"Asked", s.Asked},
		{"Answers", s.Answered},
		{"Requirements", s.Requirements},
		{"Telemetry refused", s.Refused},
		{"Telemetry missing", s.Missing},
	} {
		if len(part.rows) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", part.title)
		var rows [][]string
		for i, r := range part.rows {
			if i == maxRows {
				rows = append(rows, []string{"", fmt.Sprintf("and %d more: --json", len(part.rows)-maxRows)})
				break
			}
			var of []string
			for _, key := range slices.Sorted(maps.Keys(r.Of)) {
				of = append(of, key+" "+r.Of[key])
			}
			rows = append(rows, []string{strconv.FormatInt(r.Count, 10), strings.Join(of, ", ")})
		}
		if err := printTable(w, "  ", rows); err != nil {
			return err
		}
	}
	if d := s.Answer; d != nil {
		fmt.Fprintf(w, "\nTime to answer: median %.1f s, 95%% within %.1f s, longest %.1f s (of %d)\n", d.Median, d.P95, d.Max, d.Count)
	}
	if len(s.Uncounted) > 0 {
		fmt.Fprintf(w, "\nWith more different values in an hour than are told apart: %s\n", plain(strings.Join(s.Uncounted, ", ")))
	}
	return nil
}

// selectEvents prints the rows of a SELECT.
func (a *app) selectEvents(cmd *cobra.Command, statement string) error {
	out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
	for row, err := range a.client().Select(cmd.Context(), statement) {
		if err == nil {
			_, err = out.Write(append(safeJSON(row), '\n'))
		}
		if err != nil {
			_ = out.Flush() // what came before it; the error says that it is not all
			return err
		}
	}
	return out.Flush()
}
