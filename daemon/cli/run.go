// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/api"
)

// aCommand takes any arguments, the first of which is the command to run.
func aCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usage(cmd, errors.New("no command to run"))
	}
	return nil
}

func (a *app) runCommand() *cobra.Command {
	var agent string
	cmd := &cobra.Command{
		Use:                   "run [--agent NAME] -- COMMAND [ARG...]",
		DisableFlagsInUseLine: true, // behind COMMAND they would be its own
		Short:                 "Run a command as a session",
		Long: `Run a command as a session: it and everything it starts are governed.

The command takes the place of paddock: its terminal, its signals and its exit code
are its own. It is not started when it would not be governed: then the exit code is
125. 126: the command cannot be executed; 127: there is no such command.

Where the kernel has no better boundary, the command runs in a Landlock domain: nothing
can be mounted in it, and no privileges be gained.`,
		Args: aCommand,
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd, agent, args) },
	}
	cmd.Flags().StringVar(&agent, "agent", "", "name the session carries (default: that of the agent the command is, else run)")
	cmd.Flags().SetInterspersed(false) // options after COMMAND are its own
	return cmd
}

func (a *app) run(cmd *cobra.Command, agent string, argv []string) error {
	// Before the session begins: a typing error is not worth one.
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return cannotExecute(argv[0], err)
	}
	cwd, err := os.Getwd()
	if err != nil {
		cwd = "" // deleted: only a label
	}
	session, err := a.client().Run(cmd.Context(), api.RunRequest{Agent: agent, Argv: argv, Cwd: cwd})
	if err == nil && session.Sandbox != nil {
		err = session.Sandbox.Restrict()
	}
	if err != nil {
		return &exitError{ExitRunFailed, fmt.Errorf("%s was not started, for it would not be governed: %w", argv[0], err)}
	}
	return cannotExecute(argv[0], a.execute(path, argv, os.Environ()))
}

func cannotExecute(name string, err error) error {
	code := ExitRunNoExec
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code = ExitRunNotFound
	}
	var lookup *exec.Error
	if errors.As(err, &lookup) {
		err = lookup.Err
	}
	return &exitError{code, fmt.Errorf("executing %s: %w", name, err)}
}
