// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon"
)

// DaemonCommands makes `paddock daemon`, the system service, and the hidden
// `paddock helper`, which the daemon starts for itself.
func DaemonCommands(version string) []*cobra.Command {
	return []*cobra.Command{newDaemonCommand(version), newHelperCommand()}
}

func newDaemonCommand(version string) *cobra.Command {
	c := daemon.Config{Version: version}
	var debug bool
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Run the system service (as root)",
		Long: `Run the system service: read the requirements, put the kernel side into force, prove
every gate, govern the agents that run and that start.

An orderly stop leaves governed processes governed: programs in the kernel stay in
force, and what would need an answer is killed. Use --detach-on-stop for an
instance that must leave nothing behind.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.HoldGrace <= 0 {
				return usage(cmd, fmt.Errorf("--hold-grace %v: it must be more than 0", c.HoldGrace))
			}
			if err := c.Check(); err != nil {
				return usage(cmd, err)
			}
			level := slog.LevelInfo
			if debug {
				level = slog.LevelDebug
			}
			c.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding Paddock's own program: %w", err)
			}
			c.Helper = []string{self, helperName}
			return runService(cmd.Context(), c)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&c.Root, "root", "/", "directory below which requirements, agents' managed configuration and the resolver's files are read, as if it were /; programs and users are the machine's")
	flags.StringVar(&c.StateDir, "state-dir", daemon.DefaultStateDir, "where events and sessions are kept")
	flags.StringVar(&c.RunDir, "run-dir", daemon.DefaultRunDir, "where the socket and the lock are")
	flags.StringVar(&c.AgentsFile, "agents", "", "agent profiles to use instead of the embedded ones")
	flags.StringVar(&c.Cgroup, "cgroup", "", "cgroup v2 directory below which connections are judged (default: the root)")
	flags.StringVar(&c.PinDir, "pin-dir", "", "directory in a BPF file system for the kernel side (default: by --run-dir)")
	flags.StringVar(&c.Companion, "companion", daemon.DefaultCompanion, "program of the companion: root's, setgid, of a group of its own")
	flags.DurationVar(&c.HoldGrace, "hold-grace", daemon.DefaultHoldGrace, "how long what a person is asked about waits for the next daemon")
	flags.StringVar(&c.OTLPAddr, "otlp-address", "", "where agents' own telemetry is taken in, or \"off\" (default "+daemon.DefaultOTLPAddr+"; with --run-dir: off)")
	flags.StringVar(&c.MarkBelow, "fanotify-below", "", "directory below which opens of unreadable paths are asked about, where the kernel has nothing better (default: everywhere; with --run-dir: nowhere)")
	flags.BoolVar(&c.DetachOnStop, "detach-on-stop", false, "take the kernel side down on an orderly stop")
	flags.BoolVar(&debug, "debug", false, "log more")
	return cmd
}

const helperName = "helper"

// newHelperCommand makes the processes the daemon starts for itself.
func newHelperCommand() *cobra.Command {
	return &cobra.Command{
		Use:                helperName,
		Hidden:             true,
		DisableFlagParsing: true,
		RunE:               func(_ *cobra.Command, args []string) error { return daemon.HelperMain(args) },
	}
}

// program is what the service manager drives.
type program struct {
	daemon *daemon.Daemon
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of the daemon, once ended
}

// Start begins without waiting, as the service manager wants it.
func (p *program) Start(service.Service) error {
	go func() {
		p.err = p.daemon.Run(p.ctx, daemon.NotifyReady)
		close(p.ended)
	}()
	return nil
}

// Stop takes the daemon down and waits for it.
func (p *program) Stop(service.Service) error {
	daemon.NotifyStopping()
	p.cancel()
	<-p.ended
	return p.err
}

// wait returns when a signal, or the daemon itself, ends the service.
func (p *program) wait() {
	signals, stop := signal.NotifyContext(p.ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	select {
	case <-signals.Done():
	case <-p.ended:
	}
}

func runService(ctx context.Context, c daemon.Config) error {
	p := &program{daemon: daemon.New(c), ended: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(ctx)
	defer p.cancel()
	svc, err := service.New(p, &service.Config{
		Name: "paddock", DisplayName: "Paddock", Description: "Governs AI coding agents on this machine",
		Option: service.KeyValue{"RunWait": p.wait},
	})
	if err != nil {
		return fmt.Errorf("preparing the service: %w", err)
	}
	return svc.Run()
}
