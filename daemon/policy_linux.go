// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/mdm"
)

// applyFirst puts the first requirements into force. What cannot be applied is
// replaced by the strictest there is: a daemon with no policy is none.
func (d *Daemon) applyFirst(r mdm.Result) error {
	err := d.apply(r, r.Requirements)
	if err == nil {
		return nil
	}
	d.reject(r, err)
	if err := d.apply(r, policy.Strictest()); err != nil {
		return fmt.Errorf("applying the strictest requirements: %w", err)
	}
	return nil
}

// applyNext reacts to changed requirements. What cannot be applied leaves the
// generation before in force.
func (d *Daemon) applyNext(ctx context.Context, r mdm.Result) {
	if !d.applyInOrder(r) {
		return
	}
	d.exporters.Configure(sinks(r.Requirements))
	if err := d.enforcer.Prove(ctx); err != nil && ctx.Err() == nil {
		d.config.Log.Error("a gate is not proven under the new policy", "error", err)
	}
}

// applyInOrder puts r into force, unless something newer is.
func (d *Daemon) applyInOrder(r mdm.Result) bool {
	d.applying.Lock()
	defer d.applying.Unlock()
	if !d.newer(r) {
		return false
	}
	if err := d.apply(r, r.Requirements); err != nil {
		d.reject(r, err)
		return false
	}
	return true
}

func (d *Daemon) apply(r mdm.Result, requirements *policy.Requirements) error {
	if err := d.network.prepare(context.Background(), requirements); err != nil {
		return err
	}
	generation, err := d.enforcer.Apply(requirements)
	if err != nil {
		return err
	}
	d.network.apply(requirements, generation)
	d.mu.Lock()
	rejected := d.policy.rejected
	if requirements == r.Requirements {
		rejected = ""
	}
	// Programs may have changed since: then it is a newer one.
	d.policy = inForce{result: r, applied: requirements, generation: max(generation, d.policy.generation), rejected: rejected}
	d.mu.Unlock()
	d.store.Redact(redaction(requirements))
	for _, incident := range r.Incidents { // the loader has logged them, and the warnings
		d.record(d.rejectedEvent(incident.Source, incident.Err))
	}
	d.record(d.appliedEvent(r, requirements, generation))
	d.config.Log.Info("policy in force", "generation", generation, "mode", requirements.Mode.String(),
		"rules", len(requirements.Rules), "layers", strings.Join(sources(r), ", "))
	return nil
}

// refreshed notes that the policy in force has another number.
func (d *Daemon) refreshed(generation uint32) {
	d.mu.Lock()
	d.policy.generation = generation
	p := d.policy
	d.mu.Unlock()
	d.record(d.appliedEvent(p.result, p.applied, generation))
}

func (d *Daemon) reject(r mdm.Result, err error) {
	d.config.Log.Error("requirements are not in force", "error", err)
	d.record(d.rejectedEvent(strings.Join(sources(r), ", "), err))
	d.mu.Lock()
	d.policy.rejected = err.Error()
	d.mu.Unlock()
}

func sources(r mdm.Result) []string {
	var out []string
	for _, l := range r.All() {
		out = append(out, l.Source)
	}
	return out
}
