// SPDX-License-Identifier: Apache-2.0

// Package cli is Paddock on the command line: it parses, asks the daemon and
// prints. What is true is for the daemon to say.
package cli

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/api"
)

// Exit codes. `paddock run` ends with that of its command, so its own are those
// env and timeout use as well.
const (
	ExitError       = 1   // what was asked could not be done
	ExitUsage       = 2   // the command line is wrong
	ExitProblems    = 3   // paddock status: something is not as it should be
	ExitRunFailed   = 125 // paddock run: the command was not started, for it would not be governed
	ExitRunNoExec   = 126 // paddock run: the command cannot be executed
	ExitRunNotFound = 127 // paddock run: there is no such command
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error // nil: everything is said already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// app is what the commands share.
type app struct {
	socket  string
	zone    *time.Location // of the times people read
	execute func(path string, argv, env []string) error
}

func (a *app) client() *api.Client { return api.NewClient(a.socket) }

// New makes the paddock command, with commands added to those that ask the
// daemon.
func New(version string, commands ...*cobra.Command) *cobra.Command {
	return newRoot(&app{zone: time.Local, execute: syscall.Exec}, version, commands...)
}

func newRoot(a *app, version string, commands ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "paddock",
		Short: "Keeps AI coding agents inside what your organisation allows",
		Long: `Paddock keeps AI coding agents inside what your organisation allows, and tells what
they did and why.

Exit codes: 0 done, 1 it could not be done, 2 the command line is wrong. paddock
status and paddock run have more; see their help.`,
		Version: version,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, fmt.Errorf("unknown command %q", args[0]))
			}
			return nil
		},
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	socket := api.DefaultSocket
	if s := os.Getenv("PADDOCK_SOCKET"); s != "" {
		socket = s
	}
	root.PersistentFlags().StringVar(&a.socket, "socket", socket, "socket of the daemon (default from PADDOCK_SOCKET)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, err) })
	root.AddCommand(a.runCommand(), a.bridgeCommand(), a.eventsCommand(), a.explainCommand(), a.sessionsCommand(), a.reportCommand(), a.statsCommand(), a.statusCommand(), a.rulesCommand(), a.requirementsCommand(), a.hookCommand(), a.companionCommand(),
		a.approvalsCommand(), a.approveCommand(), a.denyCommand())
	root.AddCommand(commands...)
	return root
}

// usage marks an error of whoever typed the command.
func usage(cmd *cobra.Command, err error) error {
	return &exitError{ExitUsage, fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
}

// noArgs is cobra.NoArgs with the exit code of a wrong command line.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, fmt.Errorf("%s takes no argument %q", cmd.CommandPath(), args[0]))
	}
	return nil
}

// Main runs the command and returns the exit code of the process. An error is
// printed as one line.
func Main(root *cobra.Command, args []string) int {
	root.SetArgs(args)
	err := onlyCompanion(args)
	if err == nil {
		err = root.Execute()
	}
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(root.ErrOrStderr(), "paddock: %s\n", plain(text))
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return ExitError
}
