// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/companion"
)

const companionName = "companion"

func (a *app) companionCommand() *cobra.Command {
	var bus string
	var debug bool
	cmd := &cobra.Command{
		Use:   companionName,
		Short: "Show notifications of what agents wait for (started at login)",
		Long: `Show what the agents of this user wait for as notifications with buttons, and send what is
pressed to the daemon. It runs for as long as the user is logged in; a service of the user
starts it.

What cannot be shown (no notification server, none that is to be believed) is printed.
paddock approvals shows the same questions in a terminal.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := slog.LevelInfo
			if debug {
				level = slog.LevelDebug
			}
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			client := a.client()
			if setgid() {
				// It speaks for a person: where it listens and asks is not for its environment to
				// say.
				if bus != "" || cmd.Flags().Changed("socket") {
					return errors.New("as the installed companion it takes neither --bus nor --socket")
				}
				client = api.NewClient(api.DefaultSocket)
			}
			screen, shutdown, err := companion.Desktop(ctx, client, companion.DesktopOptions{Bus: bus, Setgid: setgid(), Log: log})
			if err != nil {
				return err
			}
			defer shutdown()
			companion.New(companion.Options{
				Queue: client, Screen: screen, UID: uint32(os.Getuid()), Log: log, Terminal: cmd.ErrOrStderr(),
			}).Run(ctx)
			return nil
		},
	}
	cmd.Flags().StringVar(&bus, "bus", "", "address of the session bus (default: that of the user)")
	cmd.Flags().BoolVar(&debug, "debug", false, "log more")
	return cmd
}

// setgid reports whether the program got its group from its file.
func setgid() bool { return os.Getgid() != os.Getegid() }

// onlyCompanion refuses every other command in the companion's own program: the daemon
// takes what that says for a person's answer, so `companion approve ID` must not be one.
func onlyCompanion(args []string) error {
	if setgid() && (len(args) == 0 || args[0] != companionName) {
		return &exitError{ExitUsage, errors.New("this is the program of the companion: it has no other command than companion")}
	}
	return nil
}
