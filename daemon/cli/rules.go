// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/policy/rulesfile"
)

func (a *app) rulesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Try out rules before they are in force",
		Long: `Try out rules: which commands are allowed, which need approval, which are forbidden.

Both commands read the files they are given, and explain those of this machine where it is
given none. They do not ask the daemon and change nothing; what is in force says paddock
status.

  check    one command, word by word: the same answer as codex execpolicy check
  explain  a line of shell: every command in it, and the rule that catches it`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.rulesCheckCommand(), a.rulesExplainCommand())
	return cmd
}

func (a *app) rulesCheckCommand() *cobra.Command {
	var files []string
	var resolve, pretty bool
	cmd := &cobra.Command{
		Use:                   "check --rules FILE... [--resolve-host-executables] [--pretty] -- COMMAND...",
		DisableFlagsInUseLine: true,
		Short:                 "Check one command against .rules files, as codex execpolicy check does",
		Long: `Check one command against .rules files. Output and exit codes are those of
codex execpolicy check, byte for byte, so that a script for the one works with the other:
a JSON object with every rule that matches and, if there is one, the strictest decision.

The words of COMMAND are taken as they are. Nothing is split: 'git push' in quotes is one
word, and "bash -c 'git push'" is a command of bash. For a line of shell, see
paddock rules explain.

Exit codes: 0 the files could be read, whatever the decision is; 1 they could not; 2 the
command line is wrong.`,
		Example: `  paddock rules check --rules team.rules -- git push --force
  paddock rules check -r team.rules -r mine.rules --resolve-host-executables --pretty -- /usr/bin/git push`,
		Args: func(cmd *cobra.Command, args []string) error {
			for _, word := range args {
				if !utf8.ValidString(word) {
					return usage(cmd, errors.New("invalid UTF-8 was detected in one or more arguments"))
				}
			}
			switch {
			case len(files) == 0:
				return usage(cmd, errors.New("--rules FILE is missing"))
			case len(args) == 0:
				return usage(cmd, errors.New("the command to check is missing"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := loadRules(files)
			if err != nil {
				return err
			}
			return printRaw(cmd.OutOrStdout(), append(rulesfile.JSON(p.Check(args, resolve), pretty), '\n'))
		},
	}
	rulesFlag(cmd, &files)
	cmd.Flags().BoolVar(&resolve, "resolve-host-executables", false, "a program that is a path also stands for its name, within what host_executable() says")
	cmd.Flags().BoolVar(&pretty, "pretty", false, "indent the JSON")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func rulesFlag(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVarP(files, "rules", "r", nil, "a .rules `FILE`; may be given several times")
	offer(cmd, "rules", filesOf("rules"))
}

// loadRules reads rules files from disk. Names of programs in them are relative to
// the working directory and the home of whoever asks.
func loadRules(files []string) (*rulesfile.Policy, error) {
	sources := make([]rulesfile.Source, len(files))
	for i, name := range files {
		data, err := readFile(name, rulesfile.MaxSource)
		if err != nil {
			return nil, fmt.Errorf("failed to read policy at %s: %w", name, err)
		}
		sources[i] = rulesfile.Source{Name: name, Data: data}
	}
	var env rulesfile.Env
	env.Dir, _ = os.Getwd()        // without one, relative names are no programs
	env.Home, _ = os.UserHomeDir() // likewise
	p, err := rulesfile.Load(env, sources...)
	if err != nil {
		return nil, fmt.Errorf("failed to parse policy at %w", err)
	}
	return p, nil
}

// readFile reads a file of up to limit bytes, and one byte more of a longer one:
// whoever parses it says that it is too long.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO nobody writes to must not hold us
	if err != nil {
		return nil, plainError(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	return data, plainError(err)
}

// plainError takes from an error what its caller says already: operation and path.
func plainError(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// printRaw writes what a program reads as it is, and what a terminal shows without
// what a terminal acts on. As JSON both are the same.
func printRaw(w io.Writer, data []byte) error {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			data = safeJSON(data)
		}
	}
	_, err := w.Write(data)
	return err
}
