// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
	"github.com/seed-649e9bbc/paddock/mdm"
)

func (a *app) requirementsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "requirements",
		Aliases: []string{"requirement"},
		Short:   "What administrators require: show, explain and check it",
		Long: `What administrators require of agents, in requirements.toml and the other places Codex
reads. These commands read the files themselves and do not ask the daemon; what the daemon
has in force, and since when, says paddock status.

  show     the values that hold on this machine, or would on another, and who set each
  explain  what a key means, what it may be, who enforces it, and its value here
  lint     check files before they are rolled out
  schema   a JSON Schema for editors`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.requirementsShowCommand(), a.requirementsExplainCommand(), a.requirementsLintCommand(), a.requirementsSchemaCommand())
	return cmd
}

// looked is what the files of a machine come to.
type looked struct {
	layers []*policy.Requirements
	merged *policy.Requirements
	// faults are the layers that cannot be used.
	faults []error
	// unseen are those that whoever asks may not look at.
	unseen []error
}

// look reads the requirements under root as they are for subject.
func look(root string, subject policy.Subject) looked {
	var out looked
	found, incidents := mdm.Read(root)
	for _, i := range incidents {
		if errors.Is(i.Err, mdm.ErrUnseen) {
			out.unseen = append(out.unseen, i.Err)
		} else {
			out.faults = append(out.faults, i.Err)
		}
	}
	for _, l := range found {
		layer, err := policy.ParseLayer(l, subject)
		if err != nil {
			out.faults = append(out.faults, err)
			continue
		}
		out.layers = append(out.layers, layer)
	}
	out.merged = policy.Merge(out.layers...)
	return out
}

// sourceFlags say where the requirements are, and whom they are for.
type sourceFlags struct {
	root string
	as   []string
}

func (f *sourceFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.root, "root", "/", "read the files below this directory, as if it were /")
	offer(cmd, "root", directories)
	cmd.Flags().StringSliceVar(&f.as, "as", nil, "show what would hold for host=NAME, user=NAME, group=NAME, machine-id=ID; several with commas")
	offer(cmd, "as", asWhom)
}

// subject is this machine and user, unless the flags say another.
func (f *sourceFlags) subject(cmd *cobra.Command) (policy.Subject, error) {
	if _, err := os.Stat(f.root); err != nil && f.root != "" { // where nothing is, nothing would be required
		return policy.Subject{}, usage(cmd, fmt.Errorf("--root: %w", err))
	}
	s := mdm.Subject(f.root)
	asked, person := policy.Subject{}, policy.Person{}
	for _, word := range f.as {
		name, value, ok := strings.Cut(word, "=")
		switch {
		case !ok || value == "":
			return s, usage(cmd, fmt.Errorf("--as %s: write it as NAME=VALUE", word))
		case name == "host":
			asked.Host = value
		case name == "user":
			person.User = value
		case name == "group":
			person.Groups = append(person.Groups, value)
		case name == "machine-id":
			asked.MachineID = value
		default:
			return s, usage(cmd, fmt.Errorf("--as %s: there is host, user, group and machine-id", word))
		}
	}
	if len(f.as) > 0 { // another machine: nothing of this one counts
		if person.User != "" || len(person.Groups) > 0 {
			asked.People = []policy.Person{person}
		}
		return asked, nil
	}
	if u, err := user.Current(); err == nil && (f.root == "" || f.root == "/") {
		s.Home = u.HomeDir
	}
	return s, nil
}

func (a *app) requirementsShowCommand() *cobra.Command {
	var from sourceFlags
	var asJSON, asCodex bool
	cmd := &cobra.Command{
		Use:   "show [--json [--codex]] [--root DIR] [--as NAME=VALUE,...]",
		Short: "Show what is required, with the source of every value",
		Long: `Show what the files on this machine require, all layers together, with the file and line
that set each value. A layer that cannot be used is named; the daemon then goes on with
what that layer said before, which is not shown here.

With --codex, the JSON is what "codex app-server --print-startup-config" prints about
these files: the requirements as Codex understands them, or the error it refuses them
with.

Exit codes: 0 done; 1 a layer cannot be used, or Codex would not start; 2 the command line
is wrong.`,
		Example: `  paddock requirements show
  paddock requirements show --as host=build-7.example.com,user=alice,group=eng
  paddock requirements show --json | jq '.values[] | select(.source != "default")'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asCodex && !asJSON {
				return usage(cmd, errors.New("--codex is a form of --json: give both"))
			}
			subject, err := from.subject(cmd)
			if err != nil {
				return err
			}
			seen := look(from.root, subject)
			switch {
			case asCodex:
				return showCodex(cmd.OutOrStdout(), &seen)
			case asJSON:
				err = printJSON(cmd.OutOrStdout(), seen.data())
			default:
				err = seen.print(cmd.OutOrStdout())
			}
			if err != nil {
				return err
			}
			return seen.failure()
		},
	}
	from.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&asCodex, "codex", false, "with --json: in the shape of Codex's own start-up configuration")
	return cmd
}

// problems are all reasons not to be content.
func (s *looked) problems() []error {
	out := slices.Clone(s.faults)
	if s.merged.CodexError != nil {
		out = append(out, fmt.Errorf("with these layers Codex does not start: %w", s.merged.CodexError))
	}
	return out
}

func (s *looked) failure() error {
	if len(s.problems()) > 0 {
		return &exitError{code: ExitError}
	}
	return nil
}

type shownLayer struct {
	Source string `json:"source"`
	Kind   string `json:"kind"`
}

type shownCohort struct {
	Name    string `json:"name"`
	Source  string `json:"source"`
	Line    int    `json:"line"`
	Applied bool   `json:"applied"`
	Why     string `json:"why"`
}

type shown struct {
	Layers   []shownLayer   `json:"layers"`
	Cohorts  []shownCohort  `json:"cohorts"`
	Values   []policy.Value `json:"values"`
	Warnings []string       `json:"warnings"`
	Problems []string       `json:"problems"`
}

func (s *looked) data() shown {
	out := shown{[]shownLayer{}, []shownCohort{}, policy.Values(s.merged, s.layers...), []string{}, []string{}}
	for _, l := range s.layers {
		out.Layers = append(out.Layers, shownLayer{l.Layer.Name, l.Layer.Kind.String()})
	}
	for _, c := range s.merged.Cohorts {
		out.Cohorts = append(out.Cohorts, shownCohort{c.Name, c.Source, c.Line, c.Applied, c.Why})
	}
	out.Warnings = append(out.Warnings, s.merged.Warnings...)
	for _, err := range s.unseen {
		out.Warnings = append(out.Warnings, err.Error())
	}
	for _, err := range s.problems() {
		out.Problems = append(out.Problems, err.Error())
	}
	return out
}

func (s *looked) print(w io.Writer) error {
	data := s.data()
	var layers, cohorts, values [][]string
	for _, l := range data.Layers {
		layers = append(layers, []string{l.Source, l.Kind})
	}
	if len(layers) == 0 {
		layers = [][]string{{"none: the defaults hold"}}
	}
	for _, c := range data.Cohorts {
		in := "no"
		if c.Applied {
			in = "YES"
		}
		cohorts = append(cohorts, []string{c.Name, in, c.Why, origin(c.Source, c.Line)})
	}
	for _, v := range data.Values {
		values = append(values, []string{v.Key, compact(v.Value), origin(v.Source, v.Line)})
	}
	for _, part := range []struct {
		title string
		rows  [][]string
	}{
		{"Layers, from low to high", layers},
		{"Cohorts", cohorts},
		{"Values", values},
		{"Warnings", column(data.Warnings)},
		{"Problems", column(data.Problems)},
	} {
		if len(part.rows) == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\n", part.title)
		if err := printTable(w, "  ", part.rows); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	return nil
}

func column(lines []string) [][]string {
	var rows [][]string
	for _, l := range lines {
		rows = append(rows, []string{l})
	}
	return rows
}

func origin(source string, line int) string {
	if line == 0 {
		return source
	}
	return source + ":" + strconv.Itoa(line)
}

// compact writes a value in one line.
func compact(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}

// showCodex prints what Codex would print of the same files.
func showCodex(w io.Writer, s *looked) error {
	if problems := s.problems(); len(problems) > 0 {
		var said *codex.Error
		detail := problems[0].Error()
		if errors.As(problems[0], &said) && said.Codex != "" {
			detail = said.Codex
		}
		out := map[string]any{"error": map[string]any{
			"code":    -32600,
			"data":    map[string]any{"reason": "configLoad", "filePath": nil, "line": nil, "column": nil, "detail": detail},
			"message": "failed to load configuration: " + detail,
		}}
		if err := printJSON(w, out); err != nil {
			return err
		}
		return &exitError{code: ExitError}
	}
	var requirements any
	if s.merged.Codex != nil {
		if shown := s.merged.Codex.JSON(); shown != nil {
			requirements = shown
		}
	}
	return printJSON(w, map[string]any{
		"appServerVersion":   strings.TrimPrefix(codex.Version, "codex-cli "),
		"configRequirements": map[string]any{"supportsIndependentSpeedModes": true, "requirements": requirements},
	})
}
