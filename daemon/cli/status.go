// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/api"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON, counters bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what is in force, and whether it is proven",
		Long: `Show what is in force: requirements, the mechanism behind each gate and whether a canary
was stopped by it, which agents are covered, and whether a record was lost.

Exit codes: 0 all of it is proven and nothing is wrong; 3 the daemon runs, but a gate is
not proven, records were lost, an agent is not covered, or requirements could not be used;
1 the daemon cannot be asked.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.client().Status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), s)
			} else {
				err = a.printStatus(cmd.OutOrStdout(), &s, counters)
			}
			if err != nil {
				return err
			}
			if len(s.Problems()) > 0 {
				return &exitError{code: ExitProblems}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&counters, "counters", false, "also every counter")
	return cmd
}

func (a *app) printStatus(w io.Writer, s *api.Status, counters bool) error {
	fmt.Fprintf(w, "paddock %s: mode %s, process %d, kernel %s, since %s\n", plain(s.Version), plain(s.Mode), s.PID, plain(s.Kernel), s.Started.In(a.zone).Format(timeFormat))
	fmt.Fprintf(w, "%d sessions live\n", s.SessionsLive)
	if s.Intake.Address != "" {
		fmt.Fprintf(w, "agents' telemetry is taken in at %s (OTLP over HTTP and gRPC)\n", plain(s.Intake.Address))
	}
	if n := s.Network; n != nil {
		fmt.Fprintf(w, "the managed network's proxy, for clients that use one, is at %s (HTTP and SOCKS5)\n", plain(n.Proxy))
		fmt.Fprintf(w, "connections of sessions in other network namespaces are %s, but for what goes over paddock bridge (%s)\n", plain(n.Namespaces), plain(n.Bridge))
	}

	parts := []struct {
		title string
		rows  [][]string
	}{
		{fmt.Sprintf("Requirements (generation %d, %d rules)", s.Policy.Generation, s.Policy.Rules), layerRows(&s.Policy)},
		{"Gates", a.gateRows(s.Gates)},
		{"Agents", agentRows(s.Agents)},
		{"Events go to", a.sinkRows(s.Sinks)},
		{"Records: what must be equal for nothing to be lost", identityRows(s.Identities)},
		{"Problems", problemRows(s.Problems())},
	}
	if counters {
		var rows [][]string
		for _, name := range slices.Sorted(maps.Keys(s.Counters)) {
			rows = append(rows, []string{name, strconv.FormatUint(s.Counters[name], 10)})
		}
		parts = slices.Insert(parts, 5, parts[0])
		parts[5].title, parts[5].rows = "Counters", rows
	}
	for _, part := range parts {
		if len(part.rows) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", part.title)
		if err := printTable(w, "  ", part.rows); err != nil {
			return err
		}
	}
	return nil
}

func layerRows(p *api.PolicyStatus) [][]string {
	var rows [][]string
	switch {
	case p.Strictest:
		rows = append(rows, []string{"the strictest, built in: nothing else could be read"})
	case len(p.Layers) == 0:
		rows = append(rows, []string{"none: the defaults apply"})
	}
	if p.LastKnown {
		rows = append(rows, []string{"of a file that is broken now, what it said before applies"})
	}
	for _, l := range p.Layers {
		rows = append(rows, []string{l.Source, l.Path, l.Digest})
	}
	return rows
}

func (a *app) gateRows(gates []api.Gate) [][]string {
	var rows [][]string
	for _, g := range gates {
		proven, checked := "NOT PROVEN", "never"
		if g.Proven {
			proven = "proven"
		}
		if !g.Checked.IsZero() {
			checked = g.Checked.In(a.zone).Format(timeFormat)
		}
		rows = append(rows, []string{g.Gate, g.Tier, proven, checked, g.Detail})
	}
	return rows
}

func agentRows(agents []api.AgentCoverage) [][]string {
	var rows [][]string
	for _, agent := range agents {
		rows = append(rows, []string{agent.Name, agent.Coverage})
	}
	return rows
}

func (a *app) sinkRows(sinks []api.SinkStatus) [][]string {
	var rows [][]string
	for _, s := range sinks {
		last := "no success yet"
		if !s.Success.IsZero() {
			last = "last success " + s.Success.In(a.zone).Format(timeFormat)
		}
		rows = append(rows, []string{
			s.Name, s.Type, s.Where, s.State, fmt.Sprintf("%d waiting, %d sent, %d rejected, %d lost", s.Waiting, s.Exported, s.Rejected, s.Dropped),
			last, s.Error,
		})
	}
	return rows
}

func identityRows(identities []api.Identity) [][]string {
	var rows [][]string
	for _, i := range identities {
		holds := "holds"
		if !i.Holds {
			holds = "DOES NOT HOLD"
		}
		rows = append(rows, []string{i.Name, fmt.Sprintf("%d = %d", i.Left, i.Right), holds})
	}
	return rows
}

func problemRows(problems []string) [][]string {
	var rows [][]string
	for _, p := range problems {
		rows = append(rows, []string{p})
	}
	return rows
}
