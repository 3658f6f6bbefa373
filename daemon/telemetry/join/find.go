// SPDX-License-Identifier: Apache-2.0

package join

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// find returns the events a subject may mean, oldest first.
func find(ctx context.Context, from Events, s Subject) ([]telemetry.Event, error) {
	q := telemetry.Query{Session: s.Session, Newest: true, Limit: maxMatches}
	switch s.Kind {
	case KindPID:
		q.PID, _ = strconv.ParseInt(s.Value, 10, 64)
		events, err := from.Query(ctx, q)
		return best(events), err
	case KindEvent:
		q.ID = s.Value
		return from.Query(ctx, q)
	case KindCall:
		q.Call = s.Value
		return from.Query(ctx, q)
	case KindHost:
		return findHost(ctx, from, q, s.Value)
	case KindFile:
		return findFile(ctx, from, q, s.Value)
	default:
		return findCommand(ctx, from, q, s.Value)
	}
}

// best prefers what a process executed to what else is told of it.
func best(events []telemetry.Event) []telemetry.Event {
	execs := slices.DeleteFunc(slices.Clone(events), func(e telemetry.Event) bool { return !isExec(&e) })
	if len(execs) > 0 {
		return execs
	}
	return events
}

func isExec(e *telemetry.Event) bool {
	return e.Name == telemetry.NameProcessExec || e.Name == telemetry.NameHoldKilled
}

func findHost(ctx context.Context, from Events, q telemetry.Query, value string) ([]telemetry.Event, error) {
	host, port := hostPort(value)
	fields := []*string{&q.Host, &q.Address}
	if _, err := netip.ParseAddr(host); err == nil {
		slices.Reverse(fields)
	}
	var out []telemetry.Event
	for _, field := range fields {
		q.Host, q.Address = "", ""
		*field = host
		events, err := from.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		out = append(out, events...)
	}
	out = slices.DeleteFunc(out, func(e telemetry.Event) bool {
		v := view{&e}
		have := v.number(telemetry.AttrDestinationPort)
		if have == 0 {
			have = v.number(telemetry.AttrServerPort)
		}
		return port != 0 && have != port
	})
	slices.SortFunc(out, func(a, b telemetry.Event) int { return int(a.Seq - b.Seq) })
	// What a process did says more than what the agent's proxy says of it.
	if own := slices.DeleteFunc(slices.Clone(out), func(e telemetry.Event) bool {
		return e.Name != telemetry.NameNetworkDecision && e.Name != telemetry.NameNetworkConnection
	}); len(own) > 0 {
		return own, nil
	}
	return out, nil
}

func findFile(ctx context.Context, from Events, q telemetry.Query, path string) ([]telemetry.Event, error) {
	q.Path = path
	events, err := from.Query(ctx, q)
	if err != nil || len(events) > 0 {
		return events, err
	}
	q.Path, q.Command = "", base(path)
	events, err = from.Query(ctx, q)
	return slices.DeleteFunc(events, func(e telemetry.Event) bool {
		v := view{&e}
		return v.text(telemetry.AttrProcessExecutablePath) != path && v.text(telemetry.AttrCalledAs) != path
	}), err
}

// findCommand looks for a program by its name, which has an index; then among the
// newest commands by what they were called; then in what the agents say they ran.
func findCommand(ctx context.Context, from Events, q telemetry.Query, words string) ([]telemetry.Event, error) {
	fields := strings.Fields(words)
	if len(fields) == 0 {
		return nil, nil
	}
	matches := func(e telemetry.Event) bool {
		args := view{&e}.list(telemetry.AttrProcessCommandArgs)
		if len(fields) == 1 || len(args) == 0 { // refused before its arguments were read
			return view{&e}.program() == base(fields[0]) || len(args) > 0 && base(args[0]) == base(fields[0])
		}
		return strings.Contains(strings.Join(args, " "), words)
	}
	not := func(e telemetry.Event) bool { return !isExec(&e) || !matches(e) }
	byName := q
	byName.Command = base(fields[0])
	events, err := from.Query(ctx, byName)
	if err != nil {
		return nil, err
	}
	if events = slices.DeleteFunc(events, not); len(events) > 0 {
		return events, nil
	}
	recent := q
	recent.Names, recent.Limit = []string{telemetry.NameProcessExec}, maxOfCall
	if events, err = from.Query(ctx, recent); err != nil {
		return nil, err
	}
	if events = slices.DeleteFunc(events, not); len(events) > 0 {
		return events, nil
	}
	told := q
	told.Names = []string{telemetry.NameAgentToolResult}
	events, err = from.Query(ctx, told)
	return slices.DeleteFunc(events, func(e telemetry.Event) bool {
		return !strings.Contains(command(view{&e}.text(telemetry.AttrToolArguments)), words)
	}), err
}
