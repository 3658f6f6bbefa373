// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/report"
)

func (a *app) reportCommand() *cobra.Command {
	var session, output string
	cmd := &cobra.Command{
		Use:   "report --session ID",
		Short: "Write a session as one HTML page",
		Long: `Write what a session did, and why, as one HTML page to attach to a ticket. It loads
nothing and needs no script. Prompts, commands and outputs are in it as far as they are
stored. Of a very long session it holds the newest 20,000 events, and says so.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if session == "" {
				return usage(cmd, errors.New("--session is missing: paddock sessions --all lists them"))
			}
			account, err := a.client().Account(cmd.Context(), session, join.Page{Limit: join.MaxShown})
			if err != nil {
				return err
			}
			host, _ := os.Hostname() // a label
			options := report.Options{Now: time.Now(), Zone: a.zone, Version: cmd.Root().Version, Host: host}
			if output == "" || output == "-" {
				return report.Write(cmd.OutOrStdout(), account, options)
			}
			return writeReport(output, func(w io.Writer) error { return report.Write(w, account, options) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&session, "session", "", "the session's ID, or the end of it")
	f.StringVarP(&output, "output", "o", "", "the file to write, which only you can read; default: standard output")
	return cmd
}

// writeReport makes a file for its owner only: prompts are in it.
func writeReport(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return fmt.Errorf("writing the report %s: %w", path, err)
	}
	return nil
}
