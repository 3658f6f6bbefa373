// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

func (a *app) eventsCommand() *cobra.Command {
	var q telemetry.Query
	var follow, asJSON bool
	var statement string
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened",
		Long: `Show what happened, oldest first: time, session (the end of its ID), decision, what was
done, and why it was decided so. A decision in brackets was not enforced (mode observe).

Arguments are quoted as a shell reads them; control characters are never printed as
they are. With --json: one event a line, with everything that is known of it.

With --sql: one SELECT, read only, over the view event: seq, id, time, name, severity,
session, call, pid, command, path, host, address, attributes (JSON). All from session on
have an index, name as well, but for process.exec and process.exit.

Without --limit the newest 100 are shown, with --follow the newest 10; with --session,
--after or --json all of them.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if q.After < 0 || q.Limit < 0 {
				return usage(cmd, fmt.Errorf("--after %d --limit %d: must not be negative", q.After, q.Limit))
			}
			given := cmd.Flags().Changed
			if given("sql") {
				for _, other := range []string{"session", "name", "after", "limit", "follow"} {
					if given(other) {
						return usage(cmd, fmt.Errorf("--sql does not go with --%s: say it in the SELECT", other))
					}
				}
				return a.selectEvents(cmd, statement)
			}
			for _, name := range q.Names {
				if !slices.Contains(telemetry.Names(), name) {
					return usage(cmd, errors.New(unknownEvent(name)))
				}
			}
			if !given("limit") && q.Session == "" && !given("after") && !asJSON {
				q.Limit = 100
				if follow {
					q.Limit = 10
				}
			}
			q.Newest = q.Limit > 0 && !given("after")
			return a.events(cmd, q, follow, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&statement, "sql", "", "answer this SELECT over the view \"event\" instead, a JSON object a row (root)")
	f.StringVar(&q.Session, "session", "", "only of this session: its ID, or the end of it")
	f.StringSliceVar(&q.Names, "name", nil, "only events of this name (may be repeated)")
	f.Int64Var(&q.After, "after", 0, "only events with a higher sequence number; --limit counts from there")
	f.IntVar(&q.Limit, "limit", 0, "at most so many, the newest; 0: all")
	f.BoolVarP(&follow, "follow", "f", false, "wait for more")
	f.BoolVar(&asJSON, "json", false, "print JSON, one event a line")
	cmd.AddCommand(a.eventsSchemaCommand())
	return cmd
}

func (a *app) eventsSchemaCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Describe every event and attribute (Markdown, as in docs/events.md)",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text := telemetry.SchemaMarkdown()
			if asJSON {
				data, err := telemetry.SchemaJSON()
				if err != nil {
					return err
				}
				text = string(data) + "\n"
			}
			_, err := io.WriteString(cmd.OutOrStdout(), text)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// unknownEvent says what may have been meant by a name that no event has.
func unknownEvent(name string) string {
	const most = 8
	var part []string
	for _, n := range telemetry.Names() {
		if strings.Contains("."+n+".", "."+name+".") {
			part = append(part, n)
		}
	}
	text := fmt.Sprintf("no event is called %q", name)
	if len(part) > 0 && len(part) <= most {
		return text + "; did you mean " + strings.Join(part, " or ") + "?"
	}
	for _, bad := range []string{name, "paddock." + name} {
		if meant, ok := document.Nearest(bad, telemetry.Names()); ok {
			return text + "; did you mean " + meant + "?"
		}
	}
	return text + ": paddock events schema has their names"
}

func (a *app) events(cmd *cobra.Command, q telemetry.Query, follow, asJSON bool) error {
	out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
	write, header := a.writeEvent, eventsHeader+"\n"
	if asJSON {
		header = ""
		write = func(w io.Writer, e *telemetry.Event) error {
			data, err := json.Marshal(e)
			if err != nil {
				return fmt.Errorf("writing event %s: %w", e.ID, err)
			}
			_, err = w.Write(append(safeJSON(data), '\n'))
			return err
		}
	}
	for e, err := range a.client().Events(cmd.Context(), q, follow) {
		if err == nil {
			_, _ = out.WriteString(header)
			header = ""
			err = write(out, &e)
		}
		if err == nil && follow {
			err = out.Flush()
		}
		if err != nil {
			_ = out.Flush() // what came before it; the error says that it is not all
			return err
		}
	}
	_, _ = out.WriteString(header) // nothing happened: that is an answer, and no error
	return out.Flush()
}
