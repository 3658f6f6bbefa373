// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/policy/rulesfile"
	"github.com/seed-649e9bbc/paddock/daemon/policy/shell"
	"github.com/seed-649e9bbc/paddock/mdm"
)

func (a *app) rulesExplainCommand() *cobra.Command {
	var ruleFiles, requirementFiles []string
	var from sourceFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:                   "explain [--rules FILE]... [--requirements FILE]... [--root DIR] [--as NAME=VALUE,...] [--json] -- 'SHELL TEXT'",
		DisableFlagsInUseLine: true,
		Short:                 "Show every command in a line of shell, and the rule that catches each",
		Long: `Show every command that a text of shell would run: in pipes and lists, in subshells and
$(...), behind env, xargs, sudo, timeout and their like, in bash -c and in here-documents.
For each: what is decided, the rule with its file and line, and what an agent would see.

Nothing is run. What cannot be known before it runs (a variable, eval of one, a script, the
output of a command) is said to be unknown: it is judged when it runs, by the program and
the arguments the kernel sees. It is never called allowed.

Rules come from .rules files and from the [rules] of requirements files; those of
requirements count first, and the strictest always wins. What no rule matches gets the
decision the requirements have for that, or is allowed. Without --rules and --requirements
they are those of this machine: what paddock requirements show reads, and the .rules files
that are in force beside it. The daemon is not asked.

Exit codes: 0 the files and the text could be read, whatever is decided; 1 they could not;
2 the command line is wrong.`,
		Example: `  paddock rules explain -- 'cd x && git push'
  paddock rules explain --rules team.rules -- 'cd /src && git push --force | tee log'
  paddock rules explain --requirements /etc/codex/requirements.toml --json -- "bash -c 'rm -rf build'"`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(ruleFiles)+len(requirementFiles) > 0 && (cmd.Flags().Changed("root") || cmd.Flags().Changed("as")):
				return usage(cmd, errors.New("--root and --as are about a machine, --rules and --requirements about files: give the one or the other"))
			case len(args) == 0:
				return usage(cmd, errors.New("the shell text is missing"))
			case len(args) > 1:
				return usage(cmd, errors.New("the shell text is one argument: put it into quotes"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			req, files, err := loadFiles(requirementFiles, ruleFiles)
			if len(ruleFiles)+len(requirementFiles) == 0 {
				req, files, err = loadMachine(cmd, &from)
			}
			if err != nil {
				return err
			}
			commands, err := shell.Commands(args[0])
			if err != nil {
				return fmt.Errorf("the text cannot be read as shell: %w", err)
			}
			e := explain(policy.Compile(rulesfile.Combine(req, files), req.Unmatched), commands)
			e.Notes = append(slices.Clone(req.Warnings), files.Warnings()...)
			if req.ModeSet && req.Mode == policy.Observe {
				e.Notes = append(e.Notes, "these requirements only observe: what is forbidden is recorded, and runs")
			}
			if asJSON {
				data, err := json.MarshalIndent(e, "", "  ")
				if err != nil {
					return err
				}
				return printRaw(cmd.OutOrStdout(), append(data, '\n'))
			}
			return e.print(cmd.OutOrStdout())
		},
	}
	rulesFlag(cmd, &ruleFiles)
	cmd.Flags().StringArrayVar(&requirementFiles, "requirements", nil, "a requirements.toml `FILE`; may be given several times, low to high")
	offer(cmd, "requirements", filesOf("toml"))
	from.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func loadFiles(requirementFiles, ruleFiles []string) (*policy.Requirements, *rulesfile.Policy, error) {
	req, err := loadRequirements(requirementFiles)
	if err != nil {
		return nil, nil, err
	}
	files, err := loadRules(ruleFiles)
	return req, files, err
}

// loadMachine reads what a machine requires. What holds instead of a file that cannot
// be used only the daemon knows.
func loadMachine(cmd *cobra.Command, from *sourceFlags) (*policy.Requirements, *rulesfile.Policy, error) {
	subject, err := from.subject(cmd)
	if err != nil {
		return nil, nil, err
	}
	seen := look(from.root, subject)
	files, incidents := mdm.ReadRules(from.root)
	faults := seen.faults
	for _, i := range incidents {
		faults = append(faults, i.Err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, nil, fmt.Errorf("what this machine requires cannot be used, so something else is in force (paddock status):\n%w", err)
	}
	req := *seen.merged
	for _, err := range seen.unseen {
		req.Warnings = append(slices.Clip(req.Warnings), err.Error())
	}
	if len(seen.layers)+len(files.Rules()) == 0 {
		req.Warnings = append(slices.Clip(req.Warnings), "nothing is required on this machine: whatever an agent runs is recorded, and runs")
	}
	return &req, files, nil
}

func loadRequirements(files []string) (*policy.Requirements, error) {
	layers := make([]*policy.Requirements, len(files))
	for i, name := range files {
		data, err := readFile(name, mdm.MaxFile)
		if err != nil {
			return nil, fmt.Errorf("reading requirements %s: %w", name, err)
		}
		if len(data) > mdm.MaxFile {
			return nil, fmt.Errorf("reading requirements %s: %w", name, mdm.ErrTooLarge)
		}
		if layers[i], err = policy.Parse(name, data); err != nil {
			return nil, err
		}
	}
	return policy.Merge(layers...), nil
}

// Decisions of an explanation that are none of policy's.
const (
	decisionUnknown = "unknown" // judged when it runs
	decisionNone    = "none"    // no program runs
)

// explanation is what paddock rules explain prints.
type explanation struct {
	Commands []explained `json:"commands"`
	Notes    []string    `json:"notes,omitempty"`
}

// explained is one command of the text.
type explained struct {
	Line     int      `json:"line"`
	Within   []string `json:"within,omitempty"`
	Words    []string `json:"words"`
	Unknown  string   `json:"unknown,omitempty"` // why words is not all
	Decision string   `json:"decision"`          // allow, prompt, forbidden, unknown, none
	Reason   string   `json:"reason"`
	Rule     string   `json:"rule,omitempty"`
	Origin   string   `json:"origin,omitempty"` // file:line of the rule
	Agent    string   `json:"agent,omitempty"`  // what its standard error gets
}

func explain(rules *policy.Rules, commands []shell.Command) explanation {
	e := explanation{Commands: make([]explained, len(commands))}
	for i, c := range commands {
		x := explained{Line: c.Line, Within: c.Within, Words: c.Words, Unknown: c.Unknown}
		if x.Words == nil {
			x.Words = []string{}
		}
		switch c.Kind {
		case shell.Builtin:
			x.Decision, x.Reason = decisionNone, "the shell does it itself: no program runs, no rule applies"
		case shell.Function:
			x.Decision, x.Reason = decisionNone, "a function of this text: what it runs is listed where it is defined"
		case shell.Hidden:
			x.Decision, x.Reason = decisionUnknown, "not known before it runs ("+c.Unknown+"): judged when it runs"
		case shell.Program:
			x.judge(rules, c)
		}
		e.Commands[i] = x
	}
	return e
}

// judge asks the rules. Further words can only make the answer stricter, so of a
// command that is not known to its end only "forbidden" is certain.
func (x *explained) judge(rules *policy.Rules, c shell.Command) {
	v := rules.Decide(policy.Command{Names: c.Words[:1], Args: c.Words[1:]})
	if v.Matched {
		x.Rule, x.Origin = v.Rule.String(), v.Rule.Origin()
	}
	if c.Unknown != "" && v.Decision != policy.Forbidden {
		x.Decision = decisionUnknown
		x.Reason = "its end is not known before it runs (" + c.Unknown + "): judged when it runs"
		if v.Decision == policy.Prompt {
			x.Reason += "; what is known already needs approval: " + v.Reason
		}
		return
	}
	x.Decision, x.Reason = v.Decision.String(), v.Reason
	if v.Decision != policy.Allow {
		words := append([]string{filepath.Base(c.Words[0])}, c.Words[1:]...)
		x.Agent = "paddock: blocked `" + strings.Join(words, " ") + "`: " + v.Reason
	}
}

func (e *explanation) print(w io.Writer) error {
	if len(e.Commands) == 0 {
		fmt.Fprintln(w, "no command in it")
	}
	for i, c := range e.Commands {
		if i > 0 {
			fmt.Fprintln(w)
		}
		line := commandLine(c.Words, 200)
		if c.Unknown != "" {
			line = strings.TrimSpace(line + " …")
		}
		where := fmt.Sprintf("line %d", c.Line)
		if len(c.Within) > 0 {
			where += ", in " + plain(strings.Join(c.Within, ", "))
		}
		fmt.Fprintf(w, "%s: %s\n  %s: %s\n", where, line, heading(c.Decision), plain(c.Reason))
		switch c.Decision {
		case policy.Forbidden.String():
			fmt.Fprintf(w, "  an agent sees: %s\n", plain(c.Agent))
		case policy.Prompt.String():
			fmt.Fprintf(w, "  an agent sees nothing until somebody answers; without approval: %s\n", plain(c.Agent))
		}
	}
	for _, note := range e.Notes {
		fmt.Fprintf(w, "\nNote: %s\n", plain(note))
	}
	return nil
}

func heading(decision string) string {
	return map[string]string{
		policy.Allow.String(): "ALLOWED", policy.Prompt.String(): "NEEDS APPROVAL", policy.Forbidden.String(): "FORBIDDEN",
		decisionUnknown: "UNKNOWN", decisionNone: "NOT A PROGRAM",
	}[decision]
}
