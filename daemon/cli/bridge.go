// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func (a *app) bridgeCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:                   "bridge [--listen ADDRESS] -- COMMAND [ARG...]",
		DisableFlagsInUseLine: true, // behind COMMAND they would be its own
		Short:                 "Run a command of a session that is in another network namespace, with the managed network as its proxy",
		Long: `Run a command in a network namespace whose connections cannot be redirected, such as a
container's. A proxy (HTTP and SOCKS5) listens on this namespace's loopback, and the command
is told of it by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. What goes through it is
judged like every connection of the session. It must already be a session's: see paddock run.

The exit code is the command's. 125: it was not started, for there is no managed network or
no session. 126: the command cannot be executed; 127: there is no such command.`,
		Args: aCommand,
		RunE: func(cmd *cobra.Command, args []string) error { return a.bridge(cmd, listen, args) },
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "where the proxy listens in this namespace: an address of loopback")
	cmd.Flags().SetInterspersed(false) // options after COMMAND are its own
	return cmd
}

func (a *app) bridge(cmd *cobra.Command, at string, argv []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return cannotExecute(argv[0], err)
	}
	ctx := cmd.Context()
	to, err := net.ResolveTCPAddr("tcp", at)
	if err != nil || !to.IP.IsLoopback() {
		return usage(cmd, fmt.Errorf("--listen %s: it must be an address of loopback with a port", at))
	}
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // what the daemon is handed must be one socket
	listener, err := plain.Listen(ctx, "tcp", to.String())
	if err != nil {
		return &exitError{ExitRunFailed, fmt.Errorf("%s was not started: %w", argv[0], err)}
	}
	defer listener.Close()
	l := listener.(*net.TCPListener)
	// Ours from here to the end: with us goes the bridge.
	served, err := a.client().Bridge(ctx, l)
	if err != nil {
		return &exitError{ExitRunFailed, fmt.Errorf("%s was not started: %w", argv[0], err)}
	}
	defer served.Close()

	// The terminal tells the command as well.
	signal.Ignore(syscall.SIGINT, syscall.SIGQUIT)
	child := exec.CommandContext(ctx, path)
	child.Args = argv
	child.Env = append(withoutProxies(os.Environ()), proxyVariables(l.Addr().String())...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, cmd.OutOrStdout(), cmd.ErrOrStderr()
	err = child.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code := exit.ExitCode()
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			code = 128 + int(status.Signal())
		}
		return &exitError{code: code}
	}
	if err != nil {
		return cannotExecute(argv[0], err)
	}
	return nil
}

// proxyVariables tell programs of a proxy; of this namespace's own loopback they need none.
func proxyVariables(at string) []string {
	var out []string
	for _, v := range []struct{ name, value string }{
		{"HTTP_PROXY", "http://" + at}, {"HTTPS_PROXY", "http://" + at}, {"ALL_PROXY", "socks5h://" + at}, {"NO_PROXY", "localhost,127.0.0.1,::1"},
	} {
		out = append(out, v.name+"="+v.value, strings.ToLower(v.name)+"="+v.value)
	}
	return out
}

func withoutProxies(env []string) []string {
	var out []string
	for _, v := range env {
		if name, _, _ := strings.Cut(v, "="); !strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
			out = append(out, v)
		}
	}
	return out
}
