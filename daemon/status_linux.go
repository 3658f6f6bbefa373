// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

var _ api.Backend = (*Daemon)(nil)

// Status says what is in force and whether anything was lost.
func (d *Daemon) Status(ctx context.Context) (api.Status, error) {
	d.mu.Lock()
	p, intake := d.policy, d.intake
	d.mu.Unlock()
	s := api.Status{
		Version: d.config.Version, PID: os.Getpid(), Mode: p.applied.Mode.String(), Started: d.started,
		Kernel: ebpf.KernelRelease(), SessionsLive: d.sessions.Live(), Intake: intake, Network: d.network.status(),
		Policy: api.PolicyStatus{
			Generation: uint64(p.generation), Rules: len(p.applied.Rules),
			LastKnown: p.result.LastKnownGood, Strictest: p.result.Strictest || p.applied != p.result.Requirements,
		},
	}
	for _, l := range p.result.Layers {
		s.Policy.Layers = append(s.Policy.Layers, api.PolicyLayer{Source: l.Source, Path: l.Path, Digest: l.Digest})
	}
	for _, i := range p.result.Incidents {
		s.Policy.Incidents = append(s.Policy.Incidents, fmt.Sprintf("%s: %v", i.Source, i.Err))
	}
	if p.rejected != "" {
		s.Policy.Incidents = append(s.Policy.Incidents, p.rejected)
	}
	for _, g := range d.enforcer.Gates() {
		s.Gates = append(s.Gates, api.Gate{Gate: g.Gate, Tier: g.Tier, Proven: g.Proven, Checked: g.Checked, Detail: g.Detail})
	}
	s.Agents = d.coverage(p)
	for _, sink := range d.exporters.Status() {
		s.Sinks = append(s.Sinks, api.SinkStatus{
			Name: sink.Name, Type: string(sink.Format), Where: sink.Endpoint, State: string(sink.State), Error: sink.Error, Success: sink.Success,
			Exported: sink.Exported, Waiting: sink.Waiting, Rejected: sink.Dead, Dropped: sink.Dropped,
		})
	}
	var err error
	s.Counters, s.Identities, err = d.account(ctx)
	return s, err
}

func (d *Daemon) coverage(p inForce) []api.AgentCoverage {
	var out []api.AgentCoverage
	governed := map[string]bool{}
	for _, name := range d.enforcer.Agents() {
		governed[name] = true
	}
	for _, name := range d.enforcer.Profiles.Names() {
		coverage := api.NotCovered
		if governed[name] {
			coverage = api.Enforced
			if p.applied.Mode == policy.Observe {
				coverage = api.Observed
			}
		}
		out = append(out, api.AgentCoverage{Name: name, Coverage: coverage})
	}
	return out
}

// settleLimit is how long the books may take to balance: what is on its way
// while they are read belongs to no side.
const settleLimit = 500 * time.Millisecond

// account reads every counter and checks that they add up.
func (d *Daemon) account(ctx context.Context) (map[string]uint64, []api.Identity, error) {
	deadline := time.Now().Add(settleLimit)
	for {
		counters, store, err := d.counters()
		if err != nil {
			return nil, nil, err
		}
		identities := balance(counters, store)
		if d.receiver != nil {
			i := d.receiver.Identity()
			identities = append(identities, api.Identity{Name: i.Name, Left: i.Left, Right: i.Right, Holds: i.Holds()})
		}
		ok := true
		for _, i := range identities {
			ok = ok && i.Holds
		}
		if ok || time.Now().After(deadline) {
			return counters, identities, nil
		}
		select {
		case <-ctx.Done():
			return counters, identities, nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Sessions lists sessions, newest first.
func (d *Daemon) Sessions(context.Context) ([]session.Session, error) { return d.sessions.List(), nil }

// Events returns stored events and, with follow, those to come.
func (d *Daemon) Events(ctx context.Context, q telemetry.Query, follow bool) iter.Seq2[telemetry.Event, error] {
	if follow {
		return d.store.Follow(ctx, q)
	}
	return func(yield func(telemetry.Event, error) bool) {
		if err := d.store.Flush(ctx); err != nil {
			yield(telemetry.Event{}, err)
			return
		}
		events, err := d.store.Query(ctx, q)
		if err != nil {
			yield(telemetry.Event{}, err)
			return
		}
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Adopt makes a session of the process at the other end of the socket.
func (d *Daemon) Adopt(_ context.Context, p api.Peer, r api.RunRequest) (api.RunResponse, error) {
	agent := r.Agent
	if agent == "" {
		agent = d.enforcer.AgentOf(r.Argv, r.Cwd)
	}
	s, err := d.enforcer.Adopt(p.PID, agent, r.Argv)
	if err != nil {
		return api.RunResponse{}, err
	}
	box, err := d.enforcer.Sandbox(s)
	return api.RunResponse{SessionID: s.ID, Sandbox: box}, err
}

// Governed says whether a process belongs to a session.
func (d *Daemon) Governed(pid int) bool { return d.enforcer.Governed(pid) }
