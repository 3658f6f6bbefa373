// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/ebpf"
	"github.com/seed-649e9bbc/paddock/mdm"
)

// resource says which machine the events are of, in OpenTelemetry's words.
func (d *Daemon) resource() map[string]string {
	host, _ := os.Hostname()
	return map[string]string{
		"service.name": "paddock", "service.version": d.config.Version,
		"host.name": host, "os.type": "linux", "os.version": ebpf.KernelRelease(),
	}
}

func (d *Daemon) startEvent() telemetry.Event {
	return telemetry.Event{Name: telemetry.NameDaemonStart, Severity: telemetry.Info, Attrs: map[string]any{
		telemetry.AttrVersion: d.config.Version, telemetry.AttrProcessPID: int64(os.Getpid()),
	}}
}

// storeOptions has the store count in memory that outlives the daemon, but not the machine.
func (d *Daemon) storeOptions() telemetry.Options {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return telemetry.Options{} // then nobody can tell how much a daemon that was killed had in memory
	}
	return telemetry.Options{Account: filepath.Join(d.config.RunDir, "events.account"), Boot: string(boot)}
}

// killedEvent tells of what the daemon before took from the kernel and did not store, if it did not stop in order.
func (d *Daemon) killedEvent(ctx context.Context) []telemetry.Event {
	last, err := d.store.Query(ctx, telemetry.Query{Newest: true, Limit: 1})
	if err != nil || len(last) == 0 || last[0].Name == telemetry.NameDaemonStop {
		return nil
	}
	lost, known := d.store.LostBefore()
	if known && lost == 0 {
		return nil
	}
	gap := telemetry.Event{Name: telemetry.NameTelemetryGap, Severity: telemetry.Warn, Attrs: map[string]any{
		telemetry.AttrGapCause: telemetry.GapKilled, telemetry.AttrGapFrom: last[0].Time.UTC().Format(time.RFC3339Nano),
	}}
	if known {
		gap.Attrs[telemetry.AttrGapCount] = int64(lost)
	}
	return []telemetry.Event{gap}
}

func (d *Daemon) stopEvent() telemetry.Event {
	e := d.startEvent()
	e.Name = telemetry.NameDaemonStop
	return e
}

func (d *Daemon) appliedEvent(r mdm.Result, requirements *policy.Requirements, generation uint32) telemetry.Event {
	var digests, provenance []string
	managed := false
	for _, l := range r.All() {
		digests = append(digests, l.Digest)
		said := ""
		if l.Provenance != policy.Absent {
			said, managed = l.Provenance.String(), true
		}
		provenance = append(provenance, said)
	}
	ev := telemetry.Event{Name: telemetry.NamePolicyApplied, Severity: telemetry.Info, Attrs: map[string]any{
		telemetry.AttrPolicyGeneration: int64(generation),
		telemetry.AttrMode:             requirements.Mode.String(),
		telemetry.AttrPolicyRules:      int64(len(requirements.Rules)),
		telemetry.AttrPolicySources:    sources(r),
		telemetry.AttrPolicyDigests:    digests,
		telemetry.AttrPolicyStrictest:  r.Strictest || requirements != r.Requirements,
		telemetry.AttrPolicyLastKnown:  r.LastKnownGood,
	}}
	if managed {
		ev.Attrs[telemetry.AttrPolicyProvenance] = provenance
	}
	return ev
}

func (d *Daemon) rejectedEvent(source string, err error) telemetry.Event {
	return telemetry.Event{Name: telemetry.NamePolicyRejected, Severity: telemetry.Error, Attrs: map[string]any{
		telemetry.AttrPolicySource: source, telemetry.AttrErrorMessage: err.Error(),
	}}
}
