// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

func (a *app) requirementsExplainCommand() *cobra.Command {
	var from sourceFlags
	cmd := &cobra.Command{
		Use:   "explain KEY [--root DIR] [--as NAME=VALUE,...]",
		Short: "Explain a key of requirements.toml, and its value here",
		Long: `Explain a key of requirements.toml: what it means, which values it may have, who enforces
it, what holds where several layers have it, and the value on this machine with the file
and line that set it. KEY may go down into tables, with dots.

Exit codes: 0 done, whether the key is set or not; 1 a layer cannot be used; 2 there is no
such key.`,
		Example: `  paddock requirements explain allowed_sandbox_modes
  paddock requirements explain experimental_network.domains
  paddock requirements explain paddock.mode --as host=build-7.example.com`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, errors.New("give one key"))
			}
			return nil
		},
		ValidArgsFunction: oneKey,
		RunE: func(cmd *cobra.Command, args []string) error {
			subject, err := from.subject(cmd)
			if err != nil {
				return err
			}
			names, err := document.SplitKey(args[0])
			if err != nil {
				return usage(cmd, fmt.Errorf("%s: %w", args[0], err))
			}
			key, way, bad, possible := codex.Find(policy.Keys(), names)
			if bad != "" {
				return usage(cmd, errors.New(unknownKey(bad, possible)))
			}
			seen := look(from.root, subject)
			if err := explainKey(cmd.OutOrStdout(), key, way, &seen); err != nil {
				return err
			}
			return seen.failure()
		},
	}
	from.add(cmd)
	return cmd
}

func unknownKey(bad string, possible []string) string {
	text := fmt.Sprintf("there is no key %q", bad)
	if meant, ok := document.Nearest(bad, possible); ok {
		return text + fmt.Sprintf("; did you mean %q?", meant)
	}
	if len(possible) > 0 && len(possible) <= 20 {
		text += " (there is " + strings.Join(possible, ", ") + ")"
	}
	return text
}

func explainKey(w io.Writer, key codex.Key, way []codex.Field, seen *looked) error {
	f := way[len(way)-1]
	dotted := ""
	for _, step := range way {
		dotted = document.Join(dotted, step.Name)
	}
	fmt.Fprintf(w, "%s\n", plain(dotted))
	if f.Meaning != "" {
		fmt.Fprintf(w, "  %s\n", plain(f.Meaning))
	}
	fmt.Fprintln(w)
	merge := key.Merge
	switch {
	case merge != "":
	case key.Shape.Form == codex.Table || key.Shape.Form == codex.Map:
		merge = "key by key; of each, the highest layer's value"
	default:
		merge = "the highest layer's value"
	}
	rows := [][]string{{"value", f.Shape.Values()}, {"enforced by", key.Enforced.String()}, {"several layers", merge}}
	if len(f.Aliases) > 0 {
		rows = append(rows, []string{"also called", strings.Join(f.Aliases, ", ")})
	}
	if f.Required {
		rows = append(rows, []string{"required", "yes"})
	}
	if key.LocalOnly {
		rows = append(rows, []string{"sources", "the machine's own; cloud layers cannot set it"})
	}
	if err := printTable(w, "  ", rows); err != nil {
		return err
	}
	for _, part := range []struct {
		title  string
		fields []codex.Field
	}{{"Keys", f.Shape.Inner()}, {"Values", f.Shape.Words()}} {
		var rows [][]string
		for _, inner := range part.fields {
			rows = append(rows, []string{inner.Name, inner.Meaning})
		}
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", part.title)
		if err := printTable(w, "  ", rows); err != nil {
			return err
		}
	}
	var here [][]string
	for _, v := range policy.Values(seen.merged, seen.layers...) {
		if rest, ok := strings.CutPrefix(v.Key, dotted); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			here = append(here, []string{v.Key, compact(v.Value), origin(v.Source, v.Line)})
		}
	}
	if len(here) == 0 {
		here = [][]string{{"not set"}}
	}
	fmt.Fprintln(w, "\nHere")
	if err := printTable(w, "  ", here); err != nil {
		return err
	}
	if len(way) == 1 && key.Example != "" {
		fmt.Fprintln(w, "\nExample")
		for line := range strings.Lines(key.Example) {
			fmt.Fprintf(w, "  %s\n", strings.TrimRight(line, "\n"))
		}
	}
	return printProblems(w, seen)
}

func printProblems(w io.Writer, seen *looked) error {
	var rows [][]string
	for _, err := range seen.problems() {
		rows = append(rows, []string{err.Error()})
	}
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nProblems")
	return printTable(w, "  ", rows)
}
