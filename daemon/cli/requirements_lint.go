// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
	"github.com/seed-649e9bbc/paddock/mdm"
)

// Exit codes of paddock requirements lint.
const (
	exitLintWarnings = 1 // with --strict: there are warnings
	exitLintErrors   = 2 // a file cannot be used, or the command line is wrong
)

func (a *app) requirementsLintCommand() *cobra.Command {
	var strict, asJSON bool
	cmd := &cobra.Command{
		Use:   "lint [--strict] [--json] FILE...",
		Short: "Check requirements files before they are rolled out",
		Long: `Check requirements files. Each is checked for itself, and all together as layers, the first
one being the lowest: a fragment that is only good beside another is checked with it. A
file called managed_config.toml is read as what Codex had before; - is standard input.

An error is what makes Codex or Paddock refuse a file. A warning is what has no effect, or
probably not the one that was meant.

Exit codes: 0 clean, or only warnings; 1 warnings, with --strict; 2 errors, a file that
cannot be read, or a wrong command line.`,
		Example: `  paddock requirements lint --strict requirements.toml
  paddock requirements lint base.toml team-fragment.toml`,
		ValidArgsFunction: filesOf("toml"),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(cmd, errors.New("give at least one file"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var layers []codex.Layer
			for _, name := range args {
				data, err := readAtMost(cmd.InOrStdin(), name)
				if err != nil {
					return &exitError{exitLintErrors, err}
				}
				layers = append(layers, layerOf(name, data))
			}
			findings := policy.Lint(policy.Subject{}, layers...)
			if asJSON {
				if findings == nil {
					findings = []policy.Finding{}
				}
				if err := printJSON(cmd.OutOrStdout(), findings); err != nil {
					return err
				}
			} else {
				printFindings(cmd.OutOrStdout(), findings)
			}
			code := 0
			for _, f := range findings {
				switch {
				case f.Error:
					code = exitLintErrors
				case strict && code == 0:
					code = exitLintWarnings
				}
			}
			if code != 0 {
				return &exitError{code: code}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings count: exit with 1")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// readAtMost reads a file of at most what Paddock reads.
func readAtMost(stdin io.Reader, name string) ([]byte, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("reading requirements: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, mdm.MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading requirements from %s: %w", name, err)
	}
	if len(data) > mdm.MaxFile {
		return nil, fmt.Errorf("reading requirements from %s: %w", name, mdm.ErrTooLarge)
	}
	return data, nil
}

// layerOf makes a layer of a file that will lie in /etc/codex.
func layerOf(name string, data []byte) codex.Layer {
	l := codex.Layer{Name: name, Data: data, Dir: "/etc/codex"}
	if name == "-" {
		l.Name = "standard input"
	}
	if filepath.Base(name) == "managed_config.toml" {
		l.Kind = codex.Legacy
	}
	return l
}

func printFindings(w io.Writer, findings []policy.Finding) {
	for _, f := range findings {
		kind := "warning"
		if f.Error {
			kind = "error"
		}
		place := f.Source
		if f.Line > 0 {
			place = fmt.Sprintf("%s:%d:%d", f.Source, f.Line, f.Column)
		}
		key := ""
		if f.Key != "" && f.Error {
			key = f.Key + ": "
		}
		fmt.Fprintf(w, "%s: %s: %s\n", plain(place), kind, plain(key+f.Problem))
	}
}

func (a *app) requirementsSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON Schema of requirements.toml, for editors",
		Long: `Print a JSON Schema (2020-12) of requirements.toml: every key Codex knows, and [paddock].
Editors that know TOML complete and check keys with it; with Taplo or Even Better TOML,
write "#:schema ./requirements.schema.json" into the first line of the file.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return printJSON(cmd.OutOrStdout(), policy.Schema()) },
	}
}
